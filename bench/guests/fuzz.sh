#!/usr/bin/env bash
# The hostile built-in guest beside two that mind their business, 10,000,000 random hypercalls (or as many as said):
# bench/guests/fuzz.sh [--engine kvm|software] [CALLS [SEED]]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
if [ "${1:-}" = --engine ]; then
    [ $# -ge 2 ] || { echo "bench/guests/fuzz.sh: --engine takes kvm or software" >&2; exit 2; }
    export TESSERA_TEST_ENGINES=$2
    shift 2
fi
export TESSERA_FUZZ_CALLS=${1:-10000000} TESSERA_FUZZ_SEED=${2:-$RANDOM}
exec dotnet test -c Release tests/Tessera.Kernel.Tests --filter "FullyQualifiedName~A_million_random_hypercalls" --logger "console;verbosity=detailed"
