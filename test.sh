#!/usr/bin/env bash
# Builds everything and runs every test; ends with one line "N passed, N failed, N skipped".
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
.ci/needs tests || exit 3
dotnet build Tessera.slnx -c Release --nologo -v quiet -clp:ErrorsOnly || { echo "0 passed, 1 failed, 0 skipped"; exit 1; }
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
status=0
for project in tests/*/*.csproj samples/*/*.Tests/*.csproj; do
    name=$(basename "$project" .csproj)
    echo "== $name"
    dotnet test "$project" -c Release --no-build --nologo -v quiet --logger "trx;LogFileName=$results/$name.trx" || status=1
done
count() { grep -ho "<Counters [^>]*" "$results"/*.trx 2>/dev/null | grep -o " $1=\"[0-9]*\"" | tr -dc '0-9\n' | awk '{s+=$1} END{print s+0}'; }
total=$(count total) passed=$(count passed) failed=$(count failed)
# A skipped test is named with its reason.
awk '/<UnitTestResult /{name=""} /outcome="NotExecuted"/{match($0, /testName="[^"]*"/); name=substr($0, RSTART+10, RLENGTH-11)}
    name != "" && /<Message>/{sub(/.*<Message>/, ""); sub(/<\/Message>.*/, ""); print "skipped: " name ": " $0; name=""}' "$results"/*.trx 2>/dev/null | sort | head -60
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ] || status=1
echo "$passed passed, $failed failed, $((total - passed - failed)) skipped"
exit $status
