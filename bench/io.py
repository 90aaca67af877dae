#!/usr/bin/env python3
"""Disk and network of a Debian domain, by turns with the same guest in QEMU's software emulation (virtio) and, for the disk, with the host itself on the same file.

  bench/io.py [--rounds N] [--only disk|net] [--file FILE] [--json]

Prints the median of the rounds, the ratios, and how often a domain left guest mode per operation: from two runs that differ in nothing but the number of operations.
Needs fio, qemu-system-x86_64, qemu-img (Debian: fio, qemu-system-x86, qemu-utils) and `./tessera guest get debian`. The file, 1 GiB of random bytes, is made where --file says or in a temporary folder;
it is read past the host's cache (O_DIRECT) by all three.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import debian_guest
from debian_guest import word

root = debian_guest.root
guest = debian_guest.cache / "guests" / "debian"
MEMORY = 512
MIB = 1 << 20

# Name, unit, fio's rw, block size, queue depth, bytes to read on the host, in a domain, in QEMU.
DISK = [
    ("1 MiB reads in a row, 4 under way", "MiB/s", "read", MIB, 4, 4096 * MIB, 4096 * MIB, 2048 * MIB),
    ("4 KiB reads at random, 1 under way", "IOPS", "randread", 4096, 1, 64 * MIB, 64 * MIB, 64 * MIB),
    ("4 KiB reads at random, 32 under way", "IOPS", "randread", 4096, 32, 256 * MIB, 128 * MIB, 128 * MIB),
]
FEW = 4 * MIB
# Rented storage has bursts: each of the three begins after the same rest.
REST = 5
PINGS, TCP, QEMU_TCP = 2000, 2048 * MIB, 256 * MIB


def fio(device, rw, block, depth, size):
    return (f"fio --name=s --filename={device} --readonly --rw={rw} --bs={block} --direct=1 --ioengine=libaio --iodepth={depth} --size={1024 * MIB} --io_size={size} "
            "--norandommap --randrepeat=0 --output-format=terse")


def rate(text, block):
    """What fio read a second: MiB for large blocks, operations for small ones."""
    for line in text.splitlines():
        fields = line.split(";")
        if fields[0] == "3" and len(fields) > 20:
            return int(fields[6]) / 1024 if block >= MIB else float(fields[7])
    raise SystemExit(f"io.py: fio said nothing that can be read:\n{text[-2000:]}")


def run(command, **options):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", **options)
    if done.returncode != 0:
        raise SystemExit(f"io.py: {' '.join(map(str, command))[:200]} ended with {done.returncode}:\n{(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def tessera(work, domains):
    """Runs domains until all are off: each one's console and exits."""
    out = work / "out"
    shutil.rmtree(out, ignore_errors=True)
    for overlay in work.glob("*.overlay"):
        overlay.unlink()
    for domain in domains:
        domain.update(guest="debian", memory=f"{MEMORY} MiB")
        domain["cmdline"] = "root=/dev/xvda rw " + domain["cmdline"]
        domain["disks"] = [{"name": "xvda", "backend": "copy-on-write", "options": {"base": "guest:debian", "overlay": str(work / f"{domain['name']}.overlay")}}] + domain.get("disks", [])
    file = work / "run.json"
    file.write_text(json.dumps({"domains": domains, "duration": "600 s"}))
    result = json.loads(run([root / "tessera", "run", file, "--json", "--quiet", "--out", out]))
    for domain in result["domains"]:
        if domain["state"] != "shutdown":
            raise SystemExit(f"io.py: domain {domain['name']} is {domain['state']} after 10 minutes; its console ends with:\n" + "\n".join(domain["consoleTail"]))
    # An upcall is delivered on the way back from another exit.
    exits = sum(sum(domain["traps"].values()) - domain["traps"].get("upcall", 0) for domain in result["domains"])
    calls = {}
    for domain in result["domains"]:
        for kind in ("traps", "hypercalls"):
            for name, count in domain[kind].items():
                calls[(kind, name)] = calls.get((kind, name), 0) + count
    return {name["name"]: (out / f"console-{name['name']}.log").read_text(errors="replace") for name in domains}, exits, calls


def per_operation(many, few, operations):
    kinds = {}
    for key in many[2]:
        count = (many[2][key] - few[2].get(key, 0)) / operations
        if count >= 0.05:
            kinds.setdefault(key[0], []).append((count, key[1]))
    return (many[1] - few[1]) / operations, {kind: ", ".join(f"{name} {count:.1f}" for count, name in sorted(found, reverse=True)) for kind, found in kinds.items()}


def ram_disk(work):
    """The guest's RAM disk with virtio's drivers."""
    (work / "initrd.img").write_bytes(debian_guest.behind((guest / "initrd.img").read_bytes(), debian_guest.virtio(guest)))


def qemu(work, script, *devices):
    words = f"console=ttyS0 quiet root=/dev/vda rw rdinit=/init.virtio {script}"
    return debian_guest.qemu(guest, MEMORY, work / "initrd.img", words) + [
        "-nographic", "-drive", f"file={debian_guest.overlay(guest, work)},if=none,id=root,cache=unsafe", "-device", "virtio-blk-pci,drive=root", *devices]


def disk_row(work, file, row, rounds):
    name, unit, rw, block, depth, on_host, in_domain, in_qemu = row
    disk = [{"name": "xvdb", "backend": "raw-file", "options": {"path": str(file), "direct": True}, "readOnly": True}]

    def domain(size):
        return tessera(work, [{"name": "io", "cmdline": word(fio("/dev/xvdb", rw, block, depth, size) + "; poweroff -f"), "disks": list(disk)}])

    ours, host, emulated = [], [], []
    few = domain(FEW)
    for _ in range(rounds):
        time.sleep(REST)
        host.append(rate(run(fio(file, rw, block, depth, on_host).split()), block))
        time.sleep(REST)
        many = domain(in_domain)
        ours.append(rate(many[0]["io"], block))
        time.sleep(REST)
        emulated.append(rate(run(qemu(
            work, word(fio("/dev/vdb", rw, block, depth, in_qemu) + "; poweroff -f"),
            "-drive", f"file={file},if=none,id=data,format=raw,cache=none,aio=native,readonly=on", "-device", "virtio-blk-pci,drive=data"), timeout=900), block))
    exits, kinds = per_operation(many, few, (in_domain - FEW) / block)
    return {"what": name, "unit": unit, "host": host, "tessera": ours, "qemu": emulated, "exits": exits, "kinds": kinds}


SERVER = "iperf3 -s -1 >/dev/null; poweroff -f"


def client(pings, size):
    return (f"until ping -c 1 -W 1 10.0.0.1 >/dev/null; do :; done; sleep 1; ping -q -c {pings} -i 0.002 10.0.0.1; iperf3 -f m -n {size} -c 10.0.0.1; poweroff -f")


def milliseconds(text):
    return float(re.search(r"rtt min/avg/max/mdev = [\d.]+/([\d.]+)/", text).group(1))


def megabits(text):
    return float(re.search(r"([\d.]+) Mbits/sec.*receiver", text).group(1))


def net_rows(work, rounds):
    def domains(pings, size):
        nic = [{"backend": "switch", "options": {"network": "lan"}}]
        return tessera(work, [
            {"name": "server", "cmdline": "tessera.ip=10.0.0.1/24 " + word(SERVER), "nics": nic},
            {"name": "client", "cmdline": "tessera.ip=10.0.0.2/24 " + word(client(pings, size)), "nics": nic}])

    def emulated():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = work / "server.log"
        with open(log, "wb") as said:
            server = subprocess.Popen(
                [str(part) for part in qemu(
                    work, "tessera.ip=10.0.0.1/24 " + word(SERVER), "-netdev", f"socket,id=net,listen=127.0.0.1:{port}", "-device", "virtio-net-pci,netdev=net,mac=52:54:00:00:00:01")],
                stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
        try:
            return run(qemu(
                work, "tessera.ip=10.0.0.2/24 " + word(client(PINGS, QEMU_TCP)), "-netdev", f"socket,id=net,connect=127.0.0.1:{port}", "-device", "virtio-net-pci,netdev=net,mac=52:54:00:00:00:02"), timeout=900)
        except (SystemExit, subprocess.TimeoutExpired) as failure:
            raise SystemExit(f"{failure}\nThe server's QEMU ends with:\n{log.read_text(errors='replace')[-2000:]}") from None
        finally:
            server.kill()
            server.wait()

    few, pinged = domains(10, MIB), domains(PINGS, MIB)
    ping = {"what": "ping from domain to domain", "unit": "ms", "tessera": [], "qemu": [], "lower": True}
    tcp = {"what": "TCP from domain to domain", "unit": "Mbit/s", "tessera": [], "qemu": []}
    for _ in range(rounds):
        sent = domains(PINGS, TCP)
        theirs = emulated()
        for row, read in ((ping, milliseconds), (tcp, megabits)):
            row["tessera"].append(read(sent[0]["client"]))
            row["qemu"].append(read(theirs))
    ping["exits"], ping["kinds"] = per_operation(pinged, few, PINGS - 10)
    tcp["exits"], tcp["kinds"] = per_operation(sent, pinged, (TCP - MIB) / MIB)
    tcp["each"] = "MiB"
    return [tcp, ping]


def shown(row):
    middle = {who: statistics.median(row[who]) for who in ("host", "tessera", "qemu") if row.get(who)}
    ratio = {who: middle["tessera"] / middle[who] for who in ("host", "qemu") if who in middle}
    if row.get("lower"):
        ratio = {who: 1 / value for who, value in ratio.items()}
    places = 3 if row["unit"] == "ms" else 0
    cell = lambda who: f"{middle[who]:,.{places}f}" if who in middle else ""
    part = lambda who: f"{ratio[who]:.2f}" if who in ratio else ""
    return [row["what"], row["unit"], cell("host"), cell("tessera"), cell("qemu"), part("host"), part("qemu"), f"{row['exits']:.1f} / {row.get('each', 'operation')}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["disk", "net"])
    parser.add_argument("--file", type=pathlib.Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    for tool, package in (("fio", "fio"), ("qemu-system-x86_64", "qemu-system-x86"), ("qemu-img", "qemu-utils")):
        if shutil.which(tool) is None:
            print(f"io.py: {tool} is missing: apt-get install {package}", file=sys.stderr)
            return 3
    run([root / "tessera", "guest", "list"])
    if not (guest / "root.ext4").exists():
        print("io.py: the guest debian or its root disk is missing: ./tessera guest get debian", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        ram_disk(work)
        rows = []
        if arguments.only != "net":
            file = arguments.file or work / "data"
            if not file.exists():
                with open(file, "wb") as data:
                    for _ in range(1024):
                        data.write(os.urandom(MIB))
                    os.fsync(data.fileno())
            for row in DISK:
                print(f"io.py: {row[0]} ...", file=sys.stderr)
                rows.append(disk_row(work, file, row, arguments.rounds))
        if arguments.only != "disk":
            print("io.py: network ...", file=sys.stderr)
            rows += net_rows(work, arguments.rounds)
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return 0
    table = [["", "unit", "host", "tessera", "QEMU", "of the host", "of QEMU", "exits"], *map(shown, rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        print("  ".join(cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(zip(line, widths))).rstrip())
    for row in rows:
        print(f"\n{row['what']}: per {row.get('each', 'operation')}" + "".join(f"\n  {kind}: {names}" for kind, names in row["kinds"].items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
