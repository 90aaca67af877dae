#!/usr/bin/env python3
"""The same programs on this host, in a domain of each engine, and in QEMU's software emulation (same kernel, same RAM disk), by turns in one run.

  bench/engines/run.py [--rounds N] [--engines kvm,software] [--no-qemu] [--only programs,system,devices] [--json]

Prints the median of the rounds, each figure's ratio to QEMU's, and for the programs the geometric mean of the ratio to the host. Ratios are of times, so that
below 1 is faster: those of figures "a second" are turned round.

devices: a disk that is a file in the host's page cache (raw-file; in QEMU virtio-blk with its defaults), and two guests on a network (switch; two QEMU with virtio-net that
a socket of the host's joins, for which nobody has to be root). boot-second is a second domain beside an idle first one of the same kernel, from its own start to its first
user line; QEMU's second is a process of its own, so its boot stands there again: the plain one, without drivers for virtio.
Needs gcc with a static libc, qemu-system-x86_64 of 7.2 or newer for the network (-netdev stream; Debian: gcc, libc6-dev, qemu-system-x86) and `./tessera guest get debian`.
"""
import argparse
import json
import math
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import debian_guest

MARK = "engine-bench "
END, FAILED = MARK + "end", MARK + "failed"
UP = "tessera-guest: up"
PARTS = ["programs", "system", "devices"]
SYSTEM = ["getpid", "page-fault", "munmap-1000", "fork-exit", "fork-exec-exit", "pipe-round-trip"]
PROGRAMS = ["integer", "memset-memcpy", "chase-64M", "chase-L1", "sha256", "qsort", "interpreter", "nbody", "fib", "virtual-calls", "getppid-1M", "stride"]
DISK, NETWORK = ["read-4K-1", "read-4K-32"], ["ping", "tcp"]
RATES = ["/s", "Mbit/s"]
MEMORY = 512
# The disk's file; how long the first domain has before the second starts.
DISK_BYTES, HEAD_START = 256 << 20, 20
# Far more seconds than anything here takes.
LIMIT = 900


def follow(command, end, expected):
    """Runs a command until its end line: seconds to the first user line where it has one, and what it printed, which must have what is expected."""
    begun = time.monotonic()
    up = None
    lines = []
    process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    limit = threading.Timer(LIMIT, process.kill)
    limit.start()
    try:
        for raw in process.stdout:
            line = raw.decode(errors="replace").strip()
            lines.append(line)
            if UP in line and up is None:
                up = time.monotonic() - begun
            if end in line or FAILED in line:
                break
        else:
            raise SystemExit(f"run.py: {command[0]} ended, or was ended after {LIMIT} s, without '{end}':\n" + "\n".join(lines[-15:]))
    finally:
        limit.cancel()
        process.kill()
        process.wait()
    return figures(command[0], lines, expected, {"boot": (up, "s")} if up is not None else {})


def figures(who, lines, expected, found):
    """What a program printed, values and units by name, beside what is found already."""
    found = dict(found)
    for line in lines:
        if FAILED in line:
            raise SystemExit(f"run.py: {who}: {line[line.find(MARK):]}; it ends with:\n" + "\n".join(lines[-15:]))
        at = line.find(MARK)
        parts = line[at + len(MARK):].split() if at >= 0 else []
        if len(parts) == 3:
            found[parts[0]] = (float(parts[1]), parts[2])
    if missing := [key for key in expected if key not in found]:
        raise SystemExit(f"run.py: {who} did not say {', '.join(missing)}; it ends with:\n" + "\n".join(lines[-15:]))
    return found


class Machine:
    """Where the programs run: a folder, the guest and its RAM disk."""

    def __init__(self, work):
        self.work, self.guest = work, debian_guest.folder()
        here = pathlib.Path(__file__).parent
        for name, libraries in (("programs", ["-lm"]), ("devices", [])):
            subprocess.run(["gcc", "-O2", "-static", "-o", work / name, here / f"{name}.c", *libraries], check=True)
        self.initrd = work / "initrd"
        files = [(name, 0o100755, (work / name).read_bytes()) for name in ("programs", "devices")]
        self.initrd.write_bytes(debian_guest.behind((self.guest / "initrd.img").read_bytes(), [*files, *debian_guest.virtio(self.guest)]))
        self.words = json.loads((self.guest / "guest.json").read_text())["commandLine"].replace("console=hvc0", "").strip()
        self.disk = work / "disk"
        self.disk.write_bytes(os.urandom(DISK_BYTES))

    def tessera(self, *words):
        return ["dotnet", debian_guest.root / "artifacts" / "product" / "cli" / "tessera.dll", *words]

    def boot(self, engine, script, *words):
        return self.tessera("boot", "debian", "--initrd", self.initrd, "--memory", f"{MEMORY}MiB", "--seconds", LIMIT, "--cmdline", debian_guest.word(script), "--engine", engine, *words)

    def qemu(self, script, *words, more="", init=""):
        return debian_guest.qemu(self.guest, MEMORY, self.initrd, " ".join(["console=ttyS0", init, self.words, more, debian_guest.word(script)])) + ["-nographic", *map(str, words)]

    def run(self, engine, domains, duration):
        """Runs domains to their end: the result, and each one's console."""
        out = self.work / "out"
        shutil.rmtree(out, ignore_errors=True)
        config = self.work / "run.json"
        for domain in domains:
            words = f"console=hvc0 {self.words} {domain['cmdline']}".strip()
            domain.update(kernel=str(self.guest / "vmlinuz"), initrd=str(self.initrd), memory=f"{MEMORY} MiB", cmdline=words)
        config.write_text(json.dumps({"machine": {"engine": engine}, "domains": domains, "duration": duration}))
        done = subprocess.run([str(part) for part in self.tessera("run", config, "--json", "--quiet", "--out", out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=LIMIT)
        if done.returncode != 0:
            raise SystemExit(f"run.py: tessera run ended with {done.returncode}:\n{done.stderr[-2000:]}")
        return json.loads(done.stdout), {domain["name"]: (out / f"console-{domain['name']}.log").read_text(errors="replace").splitlines() for domain in domains}


def devices(machine, engine):
    """Disk, network and a second domain, in Tessera."""
    found = follow(machine.boot(engine, "/devices disk /dev/xvda", "--disk", machine.disk), END, DISK)
    found.pop("boot", None)
    nic = [{"backend": "switch", "options": {"network": "lan"}}]
    # The server waits for ever for a client that failed.
    _, consoles = machine.run(engine, [
        {"name": "server", "cmdline": "tessera.ip=10.0.0.1/24 " + debian_guest.word("/devices serve; poweroff -f"), "nics": nic},
        {"name": "client", "cmdline": "tessera.ip=10.0.0.2/24 " + debian_guest.word("/devices meet 10.0.0.1; poweroff -f"), "nics": nic}], "300 s")
    figures(f"the server on {engine}", consoles["server"], [], {})
    found.update(figures(f"the client on {engine}", consoles["client"], NETWORK, {}))
    result, _ = machine.run(engine, [{"name": "first", "cmdline": ""}, {"name": "second", "cmdline": "", "startDelay": f"{HEAD_START} s"}], "100 ms")
    boot = next(domain["bootMilliseconds"] for domain in result["domains"] if domain["name"] == "second")
    if boot is None:
        raise SystemExit(f"run.py: the second domain on {engine} has not come to its first user line")
    found["boot-second"] = (boot / 1000, "s")
    return found


def emulated(machine, script, expected, with_devices):
    """All that is measured in QEMU. A second one of it starts as the first did."""
    found = follow(machine.qemu(script), END, ["boot", *expected]) if expected else {}
    if with_devices:
        boot = found["boot"] if found else follow(machine.qemu("true"), UP, ["boot"])["boot"]
        found.update(emulated_devices(machine))
        found["boot-second"] = boot
    return found


def emulated_devices(machine):
    """Disk and network in QEMU with virtio."""
    init = "rdinit=/init.virtio"
    found = follow(machine.qemu(
        "/devices disk /dev/vda", "-drive", f"file={machine.disk},if=none,id=disk,format=raw", "-device", "virtio-blk-pci,drive=disk", init=init), END, DISK)
    link = machine.work / "link"
    link.unlink(missing_ok=True)

    def end(number, server, script):
        role = "on" if server else "off"
        return machine.qemu(
            script, "-netdev", f"stream,id=net,server={role},addr.type=unix,addr.path={link}", "-device", f"virtio-net-pci,netdev=net,mac=52:54:00:00:00:0{number}",
            init=init, more=f"tessera.ip=10.0.0.{number}/24")

    log = machine.work / "server"
    with open(log, "wb") as said:
        server = subprocess.Popen(end(1, True, "/devices serve"), stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
    try:
        while not link.exists():
            if server.poll() is not None:
                raise SystemExit(f"run.py: QEMU ended with {server.returncode} (-netdev stream needs 7.2)")
            time.sleep(0.05)
        found.update(follow(end(2, False, "/devices meet 10.0.0.1"), END, NETWORK))
    except SystemExit as failure:
        raise SystemExit(f"{failure}\nThe server's QEMU ends with:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:])) from None
    finally:
        server.kill()
        server.wait()
    found.pop("boot", None)
    return found


def measures(machine, engines, parts, with_qemu):
    """What one round does, by who is measured: functions that give figures."""
    # One run of the programs with all parts that are theirs.
    theirs = [part for part in parts if part != "devices"]
    words = theirs if len(theirs) == 1 else []
    script = " ".join(["/programs", *words])
    expected = [*(SYSTEM if "system" in parts else []), *(PROGRAMS if "programs" in parts else [])]
    hosts = {}
    if theirs:
        hosts["native"] = [lambda: follow([machine.work / "programs", *words], END, expected)]
    for engine in engines:
        hosts[engine] = [lambda engine=engine: follow(machine.boot(engine, script), END, ["boot", *expected])] if theirs else []
        if "devices" in parts:
            hosts[engine].append(lambda engine=engine: devices(machine, engine))
    if with_qemu:
        hosts["qemu"] = [lambda: emulated(machine, script, expected, "devices" in parts)]
    return hosts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", default="kvm,software")
    parser.add_argument("--no-qemu", action="store_true")
    parser.add_argument("--only", default=",".join(PARTS), help="measure only these of " + ", ".join(PARTS))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    if set(parts) - set(PARTS):
        parser.error(f"--only takes some of {', '.join(PARTS)}")
    engines = [name for name in arguments.engines.split(",") if name != "kvm" or os.access("/dev/kvm", os.R_OK | os.W_OK)]
    subprocess.run([debian_guest.root / "tessera", "guest", "list"], check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as folder:
        hosts = measures(Machine(pathlib.Path(folder)), engines, parts, not arguments.no_qemu)
        rounds = {name: [] for name in hosts}
        for number in range(arguments.rounds):
            for name, steps in hosts.items():
                print(f"round {number + 1} of {arguments.rounds}: {name}", file=sys.stderr)
                found = {}
                for measure in steps:
                    found.update(measure())
                rounds[name].append(found)
        report(rounds, arguments.json)


def report(rounds, as_json):
    medians = {host: {key: statistics.median(found[key][0] for found in all_found) for key in all_found[0]} for host, all_found in rounds.items()}
    if as_json:
        print(json.dumps(medians, indent=2))
        return
    units = {key: unit for all_found in rounds.values() for found in all_found for key, (_, unit) in found.items()}
    order = [key for key in ["boot", "boot-second", *[key for key in units if key not in PROGRAMS and not key.startswith("boot")], *PROGRAMS] if key in units]
    hosts = list(medians)
    print(f"{'':18}" + "".join(f"{host:>12}" for host in hosts) + f"{'of QEMU':>10}{'of native':>11}")
    for key in order:
        places = 0 if units[key] in RATES else 3
        values = "".join(f"{medians[host][key]:12,.{places}f}" if key in medians[host] else f"{'':12}" for host in hosts)
        ours = medians.get("software", {}).get(key)
        of = []
        for other in ("qemu", "native"):
            its = medians.get(other, {}).get(key)
            ratio = ours / its if ours and its else None
            of.append("" if ratio is None else f"{1 / ratio if units[key] in RATES else ratio:.2f}")
        print(f"{key + ' ' + units[key]:18}{values}{of[0]:>10}{of[1]:>11}")
    for host in hosts:
        ratios = [medians[host][key] / medians["native"][key] for key in PROGRAMS if key in medians[host]] if host != "native" else []
        if ratios:
            print(f"{host}: {math.exp(statistics.fmean(map(math.log, ratios))):.2f} of native over the {len(ratios)} programs")


main()
