#!/usr/bin/env bash
# The translator's walls (docs/security.md): random code with hostile page tables on the software engine, 100,000,000 instructions (or as many as said):
# bench/guests/walls.sh [INSTRUCTIONS [SEED]]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export TESSERA_WALLS=${1:-100000000} TESSERA_WALLS_SEED=${2:-$RANDOM}
exec dotnet test -c Release tests/Tessera.Engine.Software.Tests --filter "FullyQualifiedName~WallsTests" --logger "console;verbosity=detailed"
