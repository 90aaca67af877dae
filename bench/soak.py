#!/usr/bin/env python3
"""A machine that runs for long: thirty built-in domains of all kinds, three Debian kernels and a hostile guest under one scheduler, and whether the VMM's memory stays where it is.
Fetch the guest first: ./tessera guest get debian

  bench/soak.py [--minutes N] [--engine auto|kvm|software] [--scheduler NAME] [--no-linux] [--keep DIR]

Prints the resident memory of the process in kB every half minute, and the medians of the second and the last quarter of the time (the first is boot and warming up). Fails when
the run does, when a domain but the hostile one ended, or when the last median is more than five per cent and 32 MB above the other.
"""
import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

root = pathlib.Path(__file__).resolve().parent.parent


def configuration(chosen):
    domains = [
        {"name": "spin", "count": 8, "guest": "spin"},
        {"name": "beat", "count": 8, "guest": "beat"},
        {"name": "burst", "count": 7, "guest": "burst", "guestOptions": {"period": "200 ms", "duty": 10}},
        {"name": "paging", "count": 7, "guest": "paging"},
        {"name": "fuzz", "guest": "fuzz", "guestOptions": {"mode": "random", "seed": chosen.seed, "count": 0}},
    ]
    if not chosen.no_linux:
        domains.append({"name": "linux", "count": 3, "guest": "debian", "memory": "128 MiB", "weight": 1024, "cmdline": "tessera.load=cpu"})
    return {"machine": {"engine": chosen.engine, "pcpus": 1}, "scheduler": chosen.scheduler, "domains": domains, "duration": f"{chosen.minutes * 60} s"}


def descendants(pid):
    """The process that runs guests is a child of the shell script's."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    return [pid] + [each for child in children.read_text().split() for each in descendants(int(child))]


def resident(pid):
    total = 0
    for each in descendants(pid):
        try:
            lines = pathlib.Path(f"/proc/{each}/status").read_text().splitlines()
        except FileNotFoundError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return total


def watch(process, seconds):
    """Kilobytes over time, as pairs."""
    start, samples, said = time.monotonic(), [], -30.0
    while process.poll() is None:
        now = time.monotonic() - start
        try:
            samples.append((now, resident(process.pid)))
        except FileNotFoundError:
            break
        if now - said >= 30:
            said = now
            print(f"{now:7.0f} s {samples[-1][1]:9} kB", flush=True)
        time.sleep(min(2.0, max(0.2, seconds / 200)))
    return samples


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--engine", default="auto", choices=["auto", "kvm", "software"])
    parser.add_argument("--scheduler", default="bvt")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-linux", action="store_true")
    parser.add_argument("--keep", type=pathlib.Path)
    chosen = parser.parse_args()
    folder = chosen.keep or pathlib.Path(tempfile.mkdtemp(prefix="tessera-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "soak.json"
    config.write_text(json.dumps(configuration(chosen)))
    out = folder / "run"
    # Built before the clock starts.
    subprocess.run([root / "tessera", "--version"], check=True, stdout=subprocess.DEVNULL)
    process = subprocess.Popen([root / "tessera", "run", config, "--out", out, "--quiet"], stdout=subprocess.DEVNULL)
    samples = watch(process, chosen.minutes * 60)
    failed = process.wait() != 0
    result = json.loads((out / "result.json").read_text()) if (out / "result.json").exists() else None
    if not chosen.keep:
        shutil.rmtree(folder)
    if result is None:
        sys.exit("there is no result")
    for domain in result["domains"]:
        if domain["state"] in ("crashed", "shutdown") and domain["guest"] != "fuzz":
            print(f"{domain['name']} ended: {domain['exitReason']}")
            failed = True
    end = samples[-1][0]
    early = statistics.median(kb for at, kb in samples if end / 4 <= at < end / 2)
    late = statistics.median(kb for at, kb in samples if at >= end * 3 / 4)
    grew = late > early * 1.05 and late - early > 32 << 10
    print(f"resident: {early:.0f} kB in the second quarter, {late:.0f} kB in the last: {'GREW' if grew else 'flat'}")
    sys.exit(1 if failed or grew else 0)


if __name__ == "__main__":
    main()
