#!/usr/bin/env bash
# A hostile block frontend, 10,000,000 requests (or as many as said) with and without persistent grants: bench/block/fuzz.sh [REQUESTS [SEED]]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export TESSERA_FUZZ_REQUESTS=${1:-10000000} TESSERA_FUZZ_SEED=${2:-$RANDOM}
exec dotnet test -c Release tests/Tessera.Kernel.Tests --filter "FullyQualifiedName~BlockFuzz" --logger "console;verbosity=detailed"
