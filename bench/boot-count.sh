#!/usr/bin/env bash
# A fetched Debian guest booted again and again, to its root disk and its power-off; prints each time from start to end, and "20 of 20". Ends with 1 if one failed.
#   bench/boot-count.sh [GUEST] [TIMES] [--engine NAME] ...        what comes after TIMES goes to tessera boot
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
guest=${1:-debian} times=${2:-20} good=0 bad="BUG:|Oops|WARNING: CPU|Call Trace|stalls on|lockup -"
shift $(($# < 2 ? $# : 2))
words="tessera.exec=$(echo "dmesg | grep -E '$bad'; poweroff -f" | base64 -w 0)"
"$root/tessera" guest list >/dev/null
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for number in $(seq "$times"); do
    start=$(date +%s%N) code=0
    dotnet "$root/artifacts/product/cli/tessera.dll" boot "$guest" --root --seconds 180 --cmdline "$words" "$@" </dev/null >"$log" 2>&1 || code=$?
    said="boot $number: $((($(date +%s%N) - start) / 1000000)) ms"
    if [ "$code" = 0 ] && grep -aq "tessera-guest: root is" "$log" && grep -aq "the domain ended: poweroff" "$log" && ! grep -aqE "$bad" "$log"; then
        good=$((good + 1))
        echo "$said"
    else
        echo "$said, failed with $code; its console ends with:"
        tail -n 20 "$log"
    fi
done
echo "$good of $times"
[ "$good" = "$times" ]
