#!/usr/bin/env bash
# A hostile network frontend, 10,000,000 slots (or as many as said) beside each of two neighbours: bench/net/fuzz.sh [REQUESTS [SEED]]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export TESSERA_FUZZ_REQUESTS=${1:-10000000} TESSERA_FUZZ_SEED=${2:-$RANDOM}
exec dotnet test -c Release tests/Tessera.Kernel.Tests --filter "FullyQualifiedName~NetFuzz" --logger "console;verbosity=detailed"
