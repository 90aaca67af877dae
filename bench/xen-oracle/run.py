#!/usr/bin/env python3
"""Asks a real Xen what the guest `probe` asks, and Tessera the same; prints where they differ.

  bench/xen-oracle/run.py [--folder FOLDER] [--engine NAME]   real Xen now, Tessera now
  bench/xen-oracle/run.py --kept [--engine NAME]              Xen's kept answers, Tessera now
  bench/xen-oracle/run.py --keep [--folder FOLDER]            asks Xen and keeps its answers in xen-4.17.txt, for the test XenAnswers

Xen and its dom0 come from Debian's packages and run in QEMU's software emulation (oracle.py): no root, no virtualization, about 180 MB to fetch the first
time and 700 MB on disk, then half a minute a run. What depends on the host is kept as `*`. Exit code 1 when an answer differs without a row in the table
"Answers that differ from Xen's" of docs/xen-abi.md, which this only prints; the test checks it.
"""
import argparse
import datetime
import pathlib
import re
import subprocess
import sys
import tempfile

from oracle import MEMORY_MIB, Oracle, OracleError

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
KEPT = HERE / "xen-4.17.txt"

# What another host, or the next run, answers otherwise: the case, and which words of the answer.
VARIES = [
    (r"version 8", [1, 2, 3, 4]),  # the domain's UUID
    (r"cpuid 40000003 0", [0, 2, 3]),  # whether the counter is emulated, its rate in kHz, how often the domain was restored
    (r"cpuid 80000008 0", [2]),  # how many cores there are
    (r"event_channel_op status [12]( still)?", [3]),  # the other end's port in domain 0
    (r"instruction (vmrun|stgi|clgi)", [1]),  # which exception depends on the processor
    (r"instruction read cr2", [1]),  # where the last fault was, in the hypervisor's table
    (r"msr read 1a0", [1]),  # the processor's
    (r"cpuid 40000005 0", [1]),  # how many bits the machine's addresses have
    (r"physdev_op 23 zero", [2]),  # which interrupt is free
]


def masked(line):
    """A line of the probe with `*` for each word that varies."""
    case, _, answer = line.partition(": ")
    words = answer.split(" ")
    for pattern, places in VARIES:
        if re.fullmatch(pattern, case):
            for place in places:
                words[place] = "*"
    return f"{case}: {' '.join(words)}"


def answers(lines):
    """The answers by case."""
    return dict(line.split(": ", 1) for line in lines if ": " in line and not line.startswith("#"))


def same(kept, answer):
    """Whether an answer is the kept one."""
    expected, words = kept.split(" "), answer.split(" ")
    return len(expected) == len(words) and all(left in ("*", right) for left, right in zip(expected, words))


def argued():
    """The rows of docs/xen-abi.md: a pattern for the case, and both answers."""
    page = (ROOT / "docs/xen-abi.md").read_text(encoding="utf-8").split("## Answers that differ from Xen's", 1)[1].split("\n## ", 1)[0]
    rows = [[cell.strip().strip("`") for cell in line.strip("| ").split("|")] for line in page.split("\n") if line.startswith("|")][2:]
    return [(re.compile(re.escape(row[0]).replace(r"\*", ".*").replace(r"\?", ".")), row[1], row[2]) for row in rows]


def ask_xen(folder):
    """Real Xen's answers, and what gave them."""
    oracle = Oracle(folder)
    packages = oracle.prepare()
    with tempfile.TemporaryDirectory() as place:
        kernel = pathlib.Path(place) / "probe.elf"
        subprocess.run(["dotnet", "run", "-v", "q", str(HERE / "probe.cs"), str(kernel)], check=True)
        lines, version = oracle.run(kernel)
    source = [name for name in packages if name.startswith(("xen-hypervisor", "qemu-system-x86"))]
    return [masked(line) for line in lines], f"Xen {version}; {', '.join(source)}".replace("%3a", ":")


def ask_tessera(engine):
    """Tessera's answers."""
    command = [str(ROOT / "tessera"), "boot", "probe", "--memory", f"{MEMORY_MIB}MiB", "--engine", engine]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.replace("\r", "").split("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=str(pathlib.Path.home() / ".cache/tessera/xen-oracle"))
    # On KVM, what the processor answers by itself is the host's; the software engine is the same everywhere.
    parser.add_argument("--engine", default="software")
    parser.add_argument("--kept", action="store_true")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    if options.kept:
        lines = KEPT.read_text(encoding="utf-8").split("\n")
        print(lines[0].lstrip("# "))
    else:
        lines, source = ask_xen(options.folder)
        if options.keep:
            head = f"# {source}; {datetime.date.today()}\n# Answers of real Xen to the guest `probe`, kept by bench/xen-oracle/run.py --keep; `*` depends on the host.\n"
            KEPT.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
            print(f"kept {len(lines)} answers of {source}")
            return 0
        print(source)
    xen, tessera, rows = answers(lines), answers(ask_tessera(options.engine)), argued()
    differ = [case for case in xen if not same(xen[case], tessera.get(case, "nothing"))]
    unargued = 0
    for case in differ:
        reason = any(name.fullmatch(case) and (left == "*" or same(left, xen[case])) and (right == "*" or same(right, tessera.get(case, ""))) for name, left, right in rows)
        unargued += not reason
        print(f"{'argued ' if reason else ''}{case}: Xen {xen[case]} / Tessera {tessera.get(case, 'nothing')}")
    print(f"{len(xen)} answers, {len(differ)} differ, {unargued} of them without an argument")
    return 1 if unargued else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OracleError as error:
        sys.exit(f"run.py: {error}")
