# What a guest does until somebody kills its machine: looks whether everything that was acknowledged before the last kill is there, then
# acknowledges more. A record is acknowledged when its fsync has returned, a pass of fio when fio, which synchronizes after every write, has
# ended. Acknowledgements go to a disk of their own, past the guest's cache: what stands there, some process had been told.
import mmap
import os
import subprocess

RECORD, RECORDS, BLOCKS, SECTOR = 4096, 1024, 16, 512
RECORDS_ACKNOWLEDGED, PASSES_ACKNOWLEDGED, OUTCOME, FORMATTED = range(4)


class Ledger:
    def __init__(self):
        self.disk = os.open("/dev/xvdd", os.O_RDWR | os.O_DIRECT)
        self.page = mmap.mmap(-1, mmap.PAGESIZE)

    def write(self, line, text):
        self.page[:SECTOR] = str(text).encode()[:SECTOR].ljust(SECTOR, b"\0")
        os.pwritev(self.disk, [memoryview(self.page)[:SECTOR]], line * SECTOR)

    def number(self, line):
        os.preadv(self.disk, [memoryview(self.page)[:SECTOR]], line * SECTOR)
        return int(self.page[:SECTOR].rstrip(b"\0") or b"0")


def run(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.returncode}: {done.stdout.decode()[-300:]}")


def record(number):
    return b"record %024d\n" % number * (RECORD // 32)


def filled(number):
    return b"p%07d" % number * (RECORD // 8)


def require(path, at, wanted, allowed, name):
    found = os.pread(path, RECORD, at)
    for sector in range(0, RECORD, SECTOR):
        if found[sector:sector + SECTOR] not in (wanted[sector:sector + SECTOR], allowed[sector:sector + SECTOR]):
            raise RuntimeError(f"{name}: sector {sector // SECTOR} begins with {found[sector:sector + 32]}")


def verify(ledger):
    last = ledger.number(RECORDS_ACKNOWLEDGED)
    file = os.open("/m/records", os.O_RDONLY)
    for number in range(max(1, last - RECORDS + 1), last + 1):
        # Only the next one may have been under way, in the place of the one a round before it.
        under_way = record(last + 1) if number + RECORDS == last + 1 else record(number)
        require(file, (number - 1) % RECORDS * RECORD, record(number), under_way, f"record {number} of {last}")
    os.close(file)
    passes = ledger.number(PASSES_ACKNOWLEDGED)
    if passes > 0:
        file = os.open("/m/fio", os.O_RDONLY)
        for block in range(BLOCKS):
            require(file, block * RECORD, filled(passes), filled(passes + 1), f"block {block} of fio's pass {passes}")
        os.close(file)
    return last, passes


def write_passes():
    ledger = Ledger()
    number = ledger.number(PASSES_ACKNOWLEDGED)
    while True:
        number += 1
        # It synchronizes before each next write; after the last only when it is told to.
        run("fio", "--name=pass", "--filename=/m/fio", "--rw=randwrite", "--bs=4k", f"--size={BLOCKS * 4}k", "--fsync=1", "--verify=pattern",
            "--end_fsync=1", f'--verify_pattern="p{number:07d}"', "--do_verify=0", "--output=/dev/null")
        ledger.write(PASSES_ACKNOWLEDGED, number)


def write_records(ledger, number):
    file = os.open("/m/records", os.O_WRONLY | os.O_CREAT)
    while True:
        number += 1
        os.pwrite(file, record(number), (number - 1) % RECORDS * RECORD)
        os.fsync(file)
        ledger.write(RECORDS_ACKNOWLEDGED, number)


def main():
    ledger = Ledger()
    try:
        os.makedirs("/m", exist_ok=True)
        last = passes = 0
        if ledger.number(FORMATTED) == 0:
            run("mkfs.ext4", "-q", "/dev/xvdb")
            ledger.write(FORMATTED, 1)
        else:
            run("mount", "/dev/xvdb", "/m")
            last, passes = verify(ledger)
            run("umount", "/m")
            run("e2fsck", "-fn", "/dev/xvdb")
        run("mount", "/dev/xvdb", "/m")
        ledger.write(OUTCOME, f"verified {last} {passes}")
        if os.fork() == 0:
            write_passes()
        write_records(ledger, last)
    except Exception as problem:
        ledger.write(OUTCOME, f"lost: {problem}")


main()
