"""What is tried inside the emulated machines, and what must come of it.

A case is a script for busybox's shell, with `tessera` and its own folder, files beside it in /cases, and a check, which gives rows: what was looked at,
what was found, what is expected, and whether that is so.
"""
import dataclasses
import json
import typing


class Row(typing.NamedTuple):
    what: str
    found: str
    expected: str
    good: bool


@dataclasses.dataclass
class Case:
    name: str
    script: str
    check: typing.Callable
    short: bool = False
    files: dict = dataclasses.field(default_factory=dict)
    guest: str = ""


def spin(name, weight=256):
    return {"name": name, "guest": "spin", "weight": weight}


def result(files, name="result.json"):
    return json.loads(files[name])


def domains(files, name="result.json"):
    return {domain["name"]: domain for domain in result(files, name)["domains"]}


def shares(files, tolerance):
    """Of quickstart.json, in per cent: 1:2:4."""
    found = [100 * domain["share"] for domain in result(files)["domains"]]
    due = [100 / 7, 200 / 7, 400 / 7]
    return Row(
        "shares of weights 1, 2, 4", " ".join(f"{share:.1f}" for share in found) + " %", " ".join(f"{share:.1f}" for share in due) + f" %, within {tolerance}",
        all(abs(share - entitled) <= tolerance for share, entitled in zip(found, due)))


# doctor: what it must find on any host with hardware virtualization

findings = {
    "syscall": "enters its stub in ring 0",
    "vector instruction with CR0.TS set": "raises #NM",
    "hardware breakpoint in ring 3": "strikes",
    "RDTSC in ring 3, against the host's": "the host's",
}


def check_doctor(files, status, machine):
    if status != 0:
        yield Row("exit code", str(status), "0", False)
        return
    engine = result(files)["engine"]
    found = {finding["probe"]: finding["finding"] for finding in engine["findings"]}
    if not machine.shadow:
        yield Row("strategy", engine["strategy"], "… reads guest page tables itself …", "reads guest page tables itself" in engine["strategy"])
    for probe, expected in findings.items():
        finding = found.get(probe, "not probed")
        yield Row(probe, finding, expected, finding == expected)
    raw = files["breakpoint"].strip()
    yield Row("hardware breakpoint, by breakpoint.c", raw, "strikes", raw == "strikes" or raw.startswith("not tried"))


# Built-in guests

builtins = {
    "machine": {"pcpus": 1},
    "domains": [
        spin("spin"),
        {"name": "beat", "guest": "beat", "guestOptions": {"period": "10 ms"}},
        {"name": "burst", "guest": "burst", "guestOptions": {"period": "100 ms", "duty": 20}},
        {"name": "paging", "guest": "paging", "guestOptions": {"rounds": 50}},
        {"name": "hello", "guest": "hello", "guestOptions": {"message": "good morning"}},
    ],
    "duration": "5 s",
}


def check_builtins(files, status, machine):
    found = domains(files)
    yield Row("exit code", str(status), "0", status == 0)
    yield Row("spin", f"{found['spin']['work']} units", "some", found["spin"]["work"] > 0)
    # A guest whose clock is wrong sleeps once and for ever.
    for name, least in (("beat", 100), ("burst", 20)):
        wakes = found[name]["wakes"]
        yield Row(name, f"{wakes} wakes in 5 s", f"{least} or more", wakes >= least)
    # Rounds before the measuring began are not counted.
    yield Row("paging", f"{found['paging']['work']} rounds, {found['paging']['exitReason']}", "40 to 50 rounds, poweroff", 40 <= found["paging"]["work"] <= 50 and found["paging"]["exitReason"] == "poweroff")
    said = [line for line in found["hello"]["consoleTail"] if line == "good morning"]
    yield Row("hello", f"{len(said)} line, {found['hello']['exitReason']}", "1 line, poweroff", (len(said), found["hello"]["exitReason"]) == (1, "poweroff"))


# The directed attacks: mode, seeds, whether the attacker must die (docs/guests.md)

attacks = [
    ("map-foreign", [0], False),
    ("write-table", [0], False),
    ("bad-trap-table", [0, 1, 3], True),
    ("bad-trap-table", [2], False),
    ("bad-stack", [0, 1, 2, 3], True),
    ("bad-iret", [0, 1, 2, 3, 4, 5, 6, 7], False),
    ("jump-stub", [0], False),
    ("hlt-storm", [0], False),
    ("yield-storm", [0], False),
    ("event-storm", [0], False),
]


def attack(mode, seed, count=1):
    return {"name": f"{mode}-{seed}", "guest": "fuzz", "guestOptions": {"mode": mode, "seed": seed, "count": 500 if mode.endswith("storm") else count}}


def attack_machine(chosen):
    hostile = [attack(mode, seed) for mode, seeds, _ in chosen for seed in seeds]
    return {"machine": {"pcpus": 1}, "domains": [spin("spin"), {"name": "paging", "guest": "paging"}, *hostile], "duration": "15 s"}


def victims(found):
    for name in ("spin", "paging"):
        domain = found[name]
        yield Row(f"{name} beside them", f"{domain['state']}, {domain['work']} units", "running, some", domain["state"] in ("running", "blocked") and domain["work"] > 0)


def check_attacks(chosen):
    def check(files, status, machine):
        found = domains(files)
        for mode, seeds, dies in chosen:
            ends = [(found[f"{mode}-{seed}"]["state"], found[f"{mode}-{seed}"]["exitReason"]) for seed in seeds]
            good = all((state == "crashed" and "VMM failed" not in reason) if dies else (state, reason) == ("shutdown", "poweroff") for state, reason in ends)
            said = sorted({f"{state} ({reason})" for state, reason in ends})
            yield Row(f"{mode} {','.join(map(str, seeds))}", "; ".join(said), "dies alone" if dies else "refused: poweroff", good)
        yield from victims(found)
    return check


# A million random calls: batches of domains until there are so many; seeds go on from batch to batch

random_calls = 1_000_000
random_batch = {
    "machine": {"pcpus": 1},
    "domains": [
        spin("spin"), {"name": "paging", "guest": "paging"},
        *({"name": f"fuzz-{number}", "guest": "fuzz", "weight": 1536, "guestOptions": {"mode": "random", "seed": number, "count": 100_000}} for number in range(4)),
    ],
    "duration": "20 s",
}
random_script = f"""
calls=0 batch=0
while [ $calls -lt {random_calls} ] && [ $batch -lt 60 ]; do
    # By a seed of its own each: seeds follow the batch's number.
    set --
    for number in 0 1 2 3; do
        set -- "$@" --set "domains[$((number + 2))].guestOptions.seed=$((batch * 4 + number))"
    done
    tessera run /cases/random.json --json --quiet "$@" >result-$batch.json 2>error
    calls=$((calls + $(awk -F'[:,]' '/"name"/ {{fuzz = /fuzz/}} /"work"/ && fuzz {{sum += $2}} END {{print sum + 0}}' result-$batch.json)))
    batch=$((batch + 1))
done
"""


def check_random(files, status, machine):
    calls, died, wrong = 0, 0, []
    batches = sorted(name for name in files if name.startswith("result-"))
    for name in batches:
        found = domains(files, name)
        wrong += [f"{name}: {row.what}: {row.found}" for row in victims(found) if not row.good]
        for domain in found.values():
            if domain["name"].startswith("fuzz"):
                calls += domain["work"] or 0
                died += domain["state"] == "crashed"
                if "VMM failed" in (domain["exitReason"] or ""):
                    wrong.append(f"{name}: {domain['name']}: {domain['exitReason']}")
    yield Row("random calls", f"{calls:,} in {4 * len(batches)} domains, {died} of which died", f"{random_calls:,} or more", calls >= random_calls)
    yield Row("domains beside them", "; ".join(wrong) or "unharmed", "unharmed", not wrong)


# Debian

def debian(guest, short):
    def check(files, status, machine):
        text = files["out"].replace("\r", "")
        for what, expected in (("kernel", f"is-{machine.guests[guest]['kernelVersion']}"), ("shell", "sum-42"), ("programs", "ran-20"), ("a second of sleep", "slept-yes")):
            yield Row(what, expected.split("-", 1)[1] if f"\n{expected}\n" in text else last(text), expected.split("-", 1)[1], f"\n{expected}\n" in text)
        yield Row("end", str(status), "0 after poweroff", status == 0)
    script = f"""
cat >typed <<'TYPED'
echo is-$(uname -r)
echo sum-$((40 + 2))
i=0; while [ $i -lt 20 ]; do /bin/busybox true && i=$((i + 1)); done; echo ran-$i
a=$(cut -d. -f1 /proc/uptime); sleep 2; b=$(cut -d. -f1 /proc/uptime); [ $b -gt $a ] && echo slept-yes
poweroff -f
TYPED
tessera boot {guest} --seconds 300 <typed
"""
    return Case(guest, script, check, short, guest=guest)


def last(text):
    lines = [line for line in text.split("\n") if line.strip()]
    return lines[-1][:80] if lines else "nothing"


# Two Debian domains with a disk each, on one switch

device_machine = {
    "machine": {"pcpus": 1},
    "domains": [
        {
            "name": "web", "guest": "debian", "memory": "256 MiB", "cmdline": "tessera.ip=10.0.0.1/24",
            "script": [
                "dd if=/dev/urandom of=/dev/xvdb bs=1M count=4 conv=fsync 2>/dev/null",
                "echo 3 >/proc/sys/vm/drop_caches",
                "dd if=/dev/xvdb of=/tmp/data bs=1M count=4 2>/dev/null",
                "sha256sum </tmp/data >/tmp/sum",
                "httpd -p 80 -h /tmp",
            ],
        },
        {
            "name": "client", "guest": "debian", "memory": "256 MiB", "cmdline": "tessera.ip=10.0.0.2/24",
            "script": [
                "until wget -q -O /tmp/sum http://10.0.0.1/sum; do sleep 1; done",
                "wget -q -O - http://10.0.0.1/data | dd of=/dev/xvdb bs=4k conv=fsync 2>/dev/null",
                "echo 3 >/proc/sys/vm/drop_caches",
                "dd if=/dev/xvdb bs=1M count=4 2>/dev/null | sha256sum | cmp - /tmp/sum && echo the same $((2 + 2)) MiB",
            ],
        },
    ],
    "duration": "60 s",
}
for machine_domain in device_machine["domains"]:
    machine_domain["disks"] = [{"name": "xvdb", "backend": "ram", "options": {"size": "16 MiB"}}]
    machine_domain["nics"] = [{"backend": "switch", "options": {"network": "lan"}}]


def check_devices(files, status, machine):
    found = domains(files)
    tail = found["client"]["consoleTail"]
    yield Row("from disk to disk over the switch", "the same 4 MiB" if "the same 4 MiB" in tail else last("\n".join(tail)), "the same 4 MiB", "the same 4 MiB" in tail)
    for name in ("web", "client"):
        disk, nic = found[name]["disks"][0], found[name]["nics"][0]
        written, read = disk["writtenBytes"] >> 20, disk["readBytes"] >> 20
        yield Row(f"disk of {name}", f"{written} MiB written, {read} read, {disk['failed']} failed, {disk['refused']} refused", "4 or more, 4 or more, 0, 0", written >= 4 and read >= 4 and disk["failed"] + disk["refused"] == 0)
        yield Row(f"interface of {name}", f"{nic['sentFrames']} frames sent, {nic['receivedFrames']} received, {nic['refused']} refused", "some, some, 0", min(nic["sentFrames"], nic["receivedFrames"]) > 0 and nic["refused"] == 0)


# Another scheduler takes over

swap_script = """
tessera run /opt/tessera/samples/quickstart.json --seconds 40 --json --quiet --control /tmp/control >result.json &
until tessera ctl --socket /tmp/control list >/dev/null 2>&1; do sleep 1; done
tessera ctl --socket /tmp/control swap-scheduler credit
wait
"""


def check_swap(files, status, machine):
    changes = [change["what"] for change in result(files)["changes"] if change["command"] == "swap-scheduler"]
    yield Row("changes", "; ".join(changes) or last(files["out"]), "bvt … credit", len(changes) == 1 and "bvt" in changes[0] and "credit" in changes[0])
    ejected = result(files)["scheduler"]["ejected"]
    yield Row("ejections", str(ejected), "None", ejected is None)
    yield shares(files, 3)


def run_script(name, more=""):
    return f"tessera run {name} --json --quiet {more} >result.json\n"


def check_quickstart(files, status, machine):
    yield Row("exit code", str(status), "0", status == 0)
    yield shares(files, 1.5)


one_attack = [("bad-stack", [1], True)]
every_case = [
    Case("doctor", "breakpoint >breakpoint 2>&1\ntessera doctor --json >result.json\n", check_doctor, short=True),
    Case("builtins", run_script("/cases/builtins.json"), check_builtins, short=True, files={"builtins.json": builtins}),
    Case("one-attack", run_script("/cases/one-attack.json"), check_attacks(one_attack), short=True, files={"one-attack.json": attack_machine(one_attack)}),
    debian("debian", short=True),
    Case("quickstart", run_script("/opt/tessera/samples/quickstart.json"), check_quickstart),
    Case("attacks", run_script("/cases/attacks.json"), check_attacks(attacks), files={"attacks.json": attack_machine(attacks)}),
    debian("debian-6.12", short=False),
    Case("devices", run_script("/cases/devices.json"), check_devices, files={"devices.json": device_machine}, guest="debian"),
    Case("swap", swap_script, check_swap),
    Case("random", random_script, check_random, files={"random.json": random_batch}),
]
