#!/usr/bin/env bash
# What a domain costs beside its memory: a thousand `spin` domains on KVM (or as many as said), created and not started: bench/guests/crowd.sh [DOMAINS]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export TESSERA_CROWD=${1:-1000}
exec dotnet test -c Release tests/Tessera.Kernel.Tests --filter "FullyQualifiedName~CrowdTests" --logger "console;verbosity=detailed"
