#!/usr/bin/env bash
# Boot of a fetched Debian guest to its first user-space line, counted from the start of the process, beside QEMU's software
# emulation of the same kernel and RAM disk, by turns. Prints each time and the median ratio.
#   bench/boot.sh [GUEST] [PAIRS]        needs qemu-system-x86_64 (Debian: qemu-system-x86) and ./tessera guest get GUEST
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
guest=${1:-debian} pairs=${2:-5} marker="tessera-guest: up"
command -v qemu-system-x86_64 >/dev/null || { echo "boot.sh: qemu-system-x86_64 is missing: apt-get install qemu-system-x86" >&2; exit 3; }
"$root/tessera" guest list >/dev/null
folder=${TESSERA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tessera}/guests/$guest
[ -e "$folder/vmlinuz" ] || { echo "boot.sh: no guest '$guest': ./tessera guest get $guest" >&2; exit 2; }
words=$(sed -n 's/.*"commandLine": "console=hvc0 \(.*\)",/\1/p' "$folder/guest.json")
out=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$out"' EXIT

# Milliseconds from the start of a command to its marker line.
until_up() {
    local start pid
    : >"$out/log"
    start=$(date +%s%N)
    "$@" </dev/null >"$out/log" 2>&1 &
    pid=$!
    until grep -aq "$marker" "$out/log"; do
        kill -0 "$pid" 2>/dev/null || { echo "boot.sh: $1 ended without '$marker':" >&2; tail -5 "$out/log" >&2; exit 1; }
        sleep 0.005
    done
    echo $((($(date +%s%N) - start) / 1000000))
    { kill "$pid" && wait "$pid"; } 2>/dev/null || true
}
qemu() {
    until_up qemu-system-x86_64 -accel tcg -nographic -no-reboot -m 256 -kernel "$folder/vmlinuz" -initrd "$folder/initrd.img" -append "$1"
}
median() { sort -n | awk '{v[NR]=$1} END{print (NR%2 ? v[(NR+1)/2] : (v[NR/2]+v[NR/2+1])/2)}'; }

printf '%10s %18s %18s\n' "tessera" "qemu, same words" "qemu, console only"
for _ in $(seq "$pairs"); do
    ours=$(until_up dotnet "$root/artifacts/product/cli/tessera.dll" boot "$guest" --memory 256MiB --seconds 60)
    same=$(qemu "console=ttyS0 $words")
    plain=$(qemu "console=ttyS0 quiet")
    printf '%7s ms %15s ms %15s ms\n' "$ours" "$same" "$plain"
    echo "$ours $same $plain" >>"$out/pairs"
done
echo "median ratio: $(awk '{print $1/$2}' "$out/pairs" | median) of qemu with the same words, $(awk '{print $1/$3}' "$out/pairs" | median) of qemu with the console only"
