#!/usr/bin/env bash
# Builds everything and runs every test; ends with each failed test and its message, the skipped ones by reason, the folder of results
# (artifacts/test-results) and one line "N passed, N failed, N skipped".
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
.ci/needs tests || exit 3
# What somebody who may not install packages got instead.
[ ! -r artifacts/needs/environment ] || . artifacts/needs/environment
dotnet build Tessera.slnx -c Release --nologo -v quiet -clp:ErrorsOnly || { echo "0 passed, 1 failed, 0 skipped"; exit 1; }
results=artifacts/test-results
rm -rf "$results"
mkdir -p "$results"

# Once for all tests, which fetch them too, but not two at a time. Without them tests are skipped with the reason.
for guest in debian debian-6.12; do
    dotnet Cli/Tessera.Cli/bin/Release/net10.0/tessera.dll guest get "$guest" >"$results/guest-$guest.log" 2>&1 || echo "guest get $guest: $(tail -n 1 "$results/guest-$guest.log")"
done

for project in tests/*/*.csproj samples/*/*.Tests/*.csproj; do
    name=$(basename "$project" .csproj)
    echo "== $name"
    began=$SECONDS
    dotnet test "$project" -c Release --no-build --nologo -v quiet --logger "trx;LogFileName=$PWD/$results/$name.trx" 2>&1 | tee "$results/$name.log"
    status=${PIPESTATUS[0]}
    [ "$status" -eq 0 ] || echo "$status" >"$results/$name.status"
    echo "$((SECONDS - began)) s"
done
.ci/summary "$results"
