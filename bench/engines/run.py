#!/usr/bin/env python3
"""The same programs on this host, in a domain of each engine, and in QEMU's software emulation (same kernel, same RAM disk), by turns in one run.

  bench/engines/run.py [--rounds N] [--engines kvm,software] [--no-qemu] [--only programs|system] [--json]

Prints the median of the rounds and each figure's ratio to QEMU's, and for the programs the geometric mean of the ratio to the host.
Needs gcc with a static libc, qemu-system-x86_64 (Debian: gcc, libc6-dev, qemu-system-x86) and `./tessera guest get debian`.
"""
import argparse
import base64
import gzip
import json
import math
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

root = pathlib.Path(__file__).resolve().parent.parent.parent
cache = pathlib.Path(os.environ.get("TESSERA_CACHE") or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "tessera")
guest = cache / "guests" / "debian"
MARK = "engine-bench "
UP = "tessera-guest: up"
PROGRAMS = ["integer", "memset-memcpy", "chase-64M", "chase-L1", "sha256", "qsort", "interpreter", "nbody", "fib", "virtual-calls", "getppid-1M", "stride"]
MEMORY = 512


def archive(files):
    """A cpio archive (newc), which a Linux takes behind its RAM disk."""
    out = b""
    for number, (name, mode, data) in enumerate(files + [("TRAILER!!!", 0, b"")], 1):
        encoded = name.encode() + b"\0"
        fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0]
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + encoded
        out += head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)
    return out


def follow(command, end):
    """Runs a command until its end line: seconds to the first user line, and what it printed."""
    begun = time.monotonic()
    up = None
    lines = []
    process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        for raw in process.stdout:
            line = raw.decode(errors="replace").strip()
            lines.append(line)
            if UP in line and up is None:
                up = time.monotonic() - begun
            if end in line:
                break
        else:
            raise SystemExit(f"run.py: {command[0]} ended without '{end}':\n" + "\n".join(lines[-15:]))
    finally:
        process.kill()
        process.wait()
    found = {"boot": (up, "s")} if up is not None else {}
    for line in lines:
        at = line.find(MARK)
        parts = line[at + len(MARK):].split() if at >= 0 else []
        if len(parts) == 3:
            found[parts[0]] = (float(parts[1]), parts[2])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", default="kvm,software")
    parser.add_argument("--no-qemu", action="store_true")
    parser.add_argument("--only", choices=["programs", "system"], help="measure only these")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not (guest / "vmlinuz").exists():
        raise SystemExit("run.py: no guest 'debian': ./tessera guest get debian")
    engines = [name for name in arguments.engines.split(",") if name != "kvm" or os.access("/dev/kvm", os.R_OK | os.W_OK)]
    subprocess.run([root / "tessera", "guest", "list"], check=True, stdout=subprocess.DEVNULL)
    work = pathlib.Path(tempfile.mkdtemp())
    try:
        program = work / "engine-bench"
        subprocess.run(["gcc", "-O2", "-static", "-o", program, pathlib.Path(__file__).with_name("programs.c"), "-lm"], check=True)
        initrd = work / "initrd"
        # Each archive of a RAM disk begins at a multiple of four bytes.
        own = (guest / "initrd.img").read_bytes()
        initrd.write_bytes(own + b"\0" * (-len(own) % 4) + gzip.compress(archive([("engine-bench", 0o100755, program.read_bytes())])))
        words = json.loads((guest / "guest.json").read_text())["commandLine"].replace("console=hvc0", "").strip()
        only = [arguments.only] if arguments.only else []
        extra = "tessera.exec=" + base64.b64encode(" ".join(["/engine-bench", *only]).encode()).decode()
        words += " " + extra
        cli = ["dotnet", root / "artifacts" / "product" / "cli" / "tessera.dll", "boot", "debian", "--initrd", initrd, "--memory", f"{MEMORY}MiB", "--seconds", "900", "--cmdline", extra]
        hosts = {"native": lambda: follow([program, *only], MARK + "end")}
        for engine in engines:
            hosts[engine] = lambda engine=engine: follow([*cli, "--engine", engine], MARK + "end")
        if not arguments.no_qemu:
            hosts["qemu"] = lambda: follow(
                ["qemu-system-x86_64", "-accel", "tcg", "-nographic", "-no-reboot", "-m", MEMORY, "-kernel", guest / "vmlinuz", "-initrd", initrd, "-append", "console=ttyS0 " + words],
                MARK + "end")
        rounds = {name: [] for name in hosts}
        for number in range(arguments.rounds):
            for name, measure in hosts.items():
                print(f"round {number + 1} of {arguments.rounds}: {name}", file=sys.stderr)
                rounds[name].append(measure())
        report(rounds, arguments.json)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def report(rounds, as_json):
    medians = {host: {key: statistics.median(found[key][0] for found in all_found) for key in all_found[0]} for host, all_found in rounds.items()}
    if as_json:
        print(json.dumps(medians, indent=2))
        return
    units = {key: unit for all_found in rounds.values() for found in all_found for key, (_, unit) in found.items()}
    order = [key for key in ["boot", *[key for key in units if key not in PROGRAMS and key != "boot"], *PROGRAMS] if key in units]
    hosts = list(medians)
    print(f"{'':16}" + "".join(f"{host:>11}" for host in hosts) + f"{'of QEMU':>10}{'of native':>11}")
    for key in order:
        values = "".join(f"{medians[host][key]:11.3f}" if key in medians[host] else f"{'':11}" for host in hosts)
        ours = medians.get("software", {}).get(key)
        of = [f"{ours / medians[other][key]:10.2f}" if ours and medians.get(other, {}).get(key) else "" for other in ("qemu", "native")]
        print(f"{key + ' ' + units[key]:16}{values}{of[0]:>10}{of[1]:>11}")
    for host in hosts:
        if host != "native":
            ratios = [medians[host][key] / medians["native"][key] for key in PROGRAMS if key in medians[host]]
            print(f"{host}: {math.exp(statistics.fmean(map(math.log, ratios))):.2f} of native over the {len(ratios)} programs")


main()
