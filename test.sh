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
    ./tessera guest get "$guest" >"$results/guest-$guest.log" 2>&1 || echo "guest get $guest: $(tail -n 1 "$results/guest-$guest.log")"
done

run_project() {
    local name began=$SECONDS status
    name=$(basename "$1" .csproj)
    echo "== $name"
    dotnet test "$1" -c Release --no-build --nologo -v quiet --logger "trx;LogFileName=$PWD/$results/$name.trx" 2>&1 | tee "$results/$name.log"
    status=${PIPESTATUS[0]}
    [ "$status" -eq 0 ] || echo "$status" >"$results/$name.status"
    echo "$((SECONDS - began)) s"
}

# The emulated host takes its time, on one CPU and politely: it begins first and goes on beside the others. In a process group of its own, so that it
# can be stopped with everything it started.
emulated=tests/Tessera.Hosts.Tests/Tessera.Hosts.Tests.csproj
set -m
run_project "$emulated" >"$results/emulated.out" 2>&1 </dev/null &
beside=$!
set +m
trap 'kill -- "-$beside" 2>/dev/null' EXIT
trap 'exit 130' INT TERM HUP
for project in tests/*/*.csproj samples/*/*.Tests/*.csproj; do
    [ "$project" = "$emulated" ] || run_project "$project"
done
wait "$beside"
cat "$results/emulated.out"
.ci/summary "$results"
