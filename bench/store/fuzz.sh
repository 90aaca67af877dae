#!/usr/bin/env bash
# Three hostile domains at the store, 10,000,000 requests (or as many as said): bench/store/fuzz.sh [REQUESTS [SEED]]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export TESSERA_FUZZ_REQUESTS=${1:-10000000} TESSERA_FUZZ_SEED=${2:-$RANDOM}
exec dotnet test -c Release tests/Tessera.Kernel.Tests --filter "FullyQualifiedName~StoreFuzz" --logger "console;verbosity=detailed"
