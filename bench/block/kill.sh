#!/usr/bin/env bash
# Kills the whole VMM with SIGKILL while a guest writes and synchronizes, 50 times for each backend, and looks each time for every write that was
# acknowledged. Ends with a table; the exit code is 0 when nothing was lost.
#   bench/block/kill.sh [KILLS [SEED [BACKEND...]]]      needs ./tessera guest get debian, nbdkit and libnbd0
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export TESSERA_KILLS=${1:-50} TESSERA_KILL_SEED=${2:-$RANDOM}
backends=("${@:3}")
[ ${#backends[@]} -gt 0 ] || backends=(raw-file copy-on-write nbd)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
.ci/needs tests
dotnet build -c Release --nologo -v quiet -clp:ErrorsOnly tests/Tessera.Linux.Tests || exit 1
status=0
for backend in "${backends[@]}"; do
    dotnet test -c Release --no-build --nologo tests/Tessera.Linux.Tests --filter "Name~Killing_the_machine_loses&Name~$backend" --logger "console;verbosity=normal" |
        tee -a "$log" | grep -E --line-buffered "^$backend: |Expected:|But was:|Skipped|The guest has not" || status=1
    grep -q "^RESULT $backend " "$log" || { echo "RESULT $backend failed - - $TESSERA_KILL_SEED" >>"$log"; status=1; }
done
printf '\n%-14s %7s %21s %13s %7s\n' backend kills "records acknowledged" "passes of fio" seed
awk '$1 == "RESULT" {printf "%-14s %7s %21s %13s %7s\n", $2, $3, $4, $5, $6}' "$log"
[ $status -eq 0 ] && echo "Nothing that was acknowledged was lost."
exit $status
