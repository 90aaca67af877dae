#!/usr/bin/env bash
# The translator's oracle (docs/engines.md): random instructions with random operands, here and on the host's processor, 100,000,000 instructions (or as many as said):
# bench/guests/oracle.sh [INSTRUCTIONS [SEED]]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export TESSERA_ORACLE=${1:-100000000} TESSERA_ORACLE_SEED=${2:-$RANDOM}
exec dotnet test -c Release tests/Tessera.Engine.Software.Tests --filter "FullyQualifiedName~OracleTests" --logger "console;verbosity=detailed"
