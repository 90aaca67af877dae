#!/usr/bin/env python3
"""Debian's stress-ng in a domain: the stressors of the classes, one after the other, each with its own checks (--verify) and a look at the kernel's log after it.
Prints a line for each class and each failure; ends with 1 if there was one. Fetch the guest first: ./tessera guest get debian

  bench/guests/stress.py [--engine auto|kvm|software] [--guest NAME] [--class NAME,...] [--only NAME,...] [--pathological] [--seconds N] [--qemu] [--i386] [--keep DIR] [--json]

--qemu runs the same under QEMU's software emulation instead, the same kernel with virtio: what fails there too is not the engine's fault. --i386 takes the 32-bit
program (Debian: apt, dpkg, e2fsprogs). Not run are those in EXCLUDED, with the reason, and in EXCLUDED_IN for one guest's kernel. Counted as skipped are those that stress-ng
itself leaves out: since the kernel or the machine lacks something, since a resource was not enough (its exit code 3), or, without --pathological, since they may hang a machine.
After a hang or the guest's death a new guest goes on with the next stressor.
"""
import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import debian_guest

CLASSES = ["cpu", "memory", "vm", "os", "scheduler", "interrupt", "pipe"]
EXCLUDED = {
    "io-uring": "stress-ng 0.15's own fault: it wants the state of a file that it has removed (in QEMU too)",
    "memhotplug": "Linux's driver of Xen's balloon keeps the memory that comes back online: those behind it would have a fifth of theirs",
}
# The same for one guest's kernel.
EXCLUDED_IN = {"debian-6.12": {"madvise": "it has the kernel declare its own memory broken, which kills it where the kernel can (in QEMU too)"}}
# A guest sees the caches of the host, which may be larger than what it has of memory.
OPTIONS = {"prefetch": "--prefetch-l3-size 4m", "stream": "--stream-l3-size 4m"}
MEMORY = 1024
# Seconds on top of a stressor's own until it is told to end, and until the guest counts as hung.
PATIENCE, HUNG = 60, 150
# Seconds that tessera has after SIGTERM: more than its own limit of an orderly stop.
STOP = 90
SUSPICIOUS = "BUG:|Oops|WARNING: CPU|general protection|invalid opcode|Call Trace|stalls on|lockup -|blocked for more|Bad page|bad pmd|Bad rss|data corruption|list_.* corruption|double fault|traps:.*kernel|EXT4-fs error|I/O error|unable to handle"
NOT_ASKED, NOT_HERE = "not without --pathological", "not supported here"
SKIPPED = {3: "lacks a resource", 4: NOT_HERE}
SKIPS = [NOT_ASKED, *SKIPPED.values()]


def script(stressors, seconds, options):
    """What the guest runs."""
    cases = "".join(f"    {name}) more='{words}' ;;\n" for name, words in OPTIONS.items())
    return f"""exec 2>&1
cd /tmp
dmesg -C
for s in {' '.join(stressors)}; do
    echo "stress: begin $s"
    case $s in
{cases}    *) more= ;;
    esac
    timeout -k 20 -s INT {seconds + PATIENCE} stress-ng --$s 1 $more --timeout {seconds}s --verify --temp-path /tmp {options} >/run/said 2>&1
    code=$?
    [ $code = 0 ] && ! grep -q skip /run/said || grep -vE 'setting to|dispatching|run completed|successful run|defaulting' /run/said | tail -n 12 | cut -c 1-300 | sed 's/^/stress: said /'
    dmesg -c >/run/log
    ! grep -qE '{SUSPICIOUS}' /run/log || grep -E -m 1 -A 30 '{SUSPICIOUS}' /run/log | sed 's/^/stress: kernel /'
    echo "stress: end $s $code"
done
echo "stress: done"
poweroff -f
"""


def listing():
    return "exec 2>&1\n" + "".join(f"stress-ng --class {name}?\n" for name in CLASSES) + "echo 'stress: done'\npoweroff -f\n"


class Guest:
    """A guest that runs a script from its second disk; its console is a file."""

    def __init__(self, chosen, work, text):
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=work))
        disk = self.folder / "script"
        over = [chosen.image] if chosen.i386 else []
        if over:
            device = "/dev/vdc" if chosen.qemu else "/dev/xvdc"
            text = f"mount -o ro {device} /mnt && cp -a /mnt/. / && umount /mnt\n{text}"
        data = text.encode()
        disk.write_bytes(data + b"\n" * (-len(data) % 4096))
        home = debian_guest.folder(chosen.guest)
        if chosen.qemu:
            initrd = self.folder / "initrd"
            initrd.write_bytes(debian_guest.behind((home / "initrd.img").read_bytes(), debian_guest.virtio(home)))
            self.console = self.folder / "console"
            command = debian_guest.qemu(home, MEMORY, initrd, "console=ttyS0 quiet root=/dev/vda rw rdinit=/init.virtio " + debian_guest.word("bash /dev/vdb")) + [
                "-display", "none", "-monitor", "none", "-serial", f"file:{self.console}",
                "-drive", f"file={debian_guest.overlay(home, self.folder)},if=none,id=root,cache=unsafe", "-device", "virtio-blk-pci,drive=root",
                "-drive", f"file={disk},if=none,id=script,format=raw,readonly=on", "-device", "virtio-blk-pci,drive=script",
                *(word for path in over for word in ("-drive", f"file={path},if=none,id=over,format=raw,readonly=on", "-device", "virtio-blk-pci,drive=over"))]
        else:
            self.console = self.folder / "out" / "console-stress.log"
            config = self.folder / "stress.json"
            config.write_text(json.dumps({
                "machine": {"engine": chosen.engine}, "duration": "never",
                "domains": [{
                    "name": "stress", "guest": chosen.guest, "memory": f"{MEMORY} MiB", "cmdline": "root=/dev/xvda rw", "script": ["bash /dev/xvdb"],
                    "disks": [
                        {"name": "xvda", "backend": "copy-on-write", "options": {"base": f"guest:{chosen.guest}", "overlay": str(self.folder / "overlay")}},
                        {"name": "xvdb", "backend": "raw-file", "options": {"path": str(disk)}, "readOnly": True},
                        *({"name": "xvdc", "backend": "raw-file", "options": {"path": str(path.resolve())}, "readOnly": True} for path in over)]}]}))
            command = ["dotnet", str(debian_guest.root / "artifacts" / "product" / "cli" / "tessera.dll"), "run", str(config), "--quiet", "--out", str(self.folder / "out")]
        self.errors = self.folder / "errors"
        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors)
        self.goes_on()

    def goes_on(self):
        """It has come further: the time in which it must do so begins anew."""
        self.since = time.monotonic()

    def lines(self, limit):
        """Whole lines of the console as they come; ends with the guest, or when it has not gone on for so many seconds."""
        rest, at = "", 0
        while True:
            ended = self.process.poll() is not None
            if self.console.exists():
                with open(self.console, "rb") as file:
                    file.seek(at)
                    new = file.read()
                at += len(new)
                *lines, rest = (rest + new.decode(errors="replace").replace("\r", "")).split("\n")
                yield from lines
            if ended or time.monotonic() - self.since > limit:
                return
            time.sleep(0.2)

    def last_words(self):
        """The end of its console, and of what was said beside it."""
        return [line for file in (self.console, self.errors) if file.exists() for line in file.read_text(errors="replace").splitlines()[-30:]]

    def end(self):
        """Ends it, if need be: code that the engine does not run, as in the result."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        result = self.folder / "out" / "result.json"
        return json.loads(result.read_text())["domains"][0].get("unknownCode") or [] if result.exists() else []


def verdict(code, said):
    """How a stressor ended, by its exit code and what was said."""
    if any(kind == "kernel" for kind, _ in said):
        return "the kernel complained"
    text = " ".join(text for _, text in said)
    if "No stress workers invoked" in text:
        return NOT_HERE if "unsupported" in text else NOT_ASKED
    if code == 0 and re.search("skipping stressor|will be skipped", text):
        return NOT_HERE
    return "passed" if code == 0 else SKIPPED.get(code) or ("did not end" if code in (124, 137) else f"ended with {code}")


def thirty_two(work):
    """A disk with Debian's 32-bit stress-ng and its libraries, to be copied over the guest's; the host's own packages stay as they are."""
    apt, files = work / "apt", work / "files"
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()
    settings = {"APT::Sandbox::User": "root", "APT::Architecture": "i386", "APT::Architectures::": "i386", "Dir::State": apt / "state", "Dir::State::status": apt / "status", "Dir::Cache": apt / "cache"}
    words = ["apt-get", "-qq", *(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))]
    # One list of several may be missing; what is needed and not there is said by the install.
    subprocess.run([*words, "update"], check=False, stderr=subprocess.DEVNULL)
    subprocess.run([*words, "install", "-y", "--no-install-recommends", "--download-only", "stress-ng"], check=True)
    for package in (apt / "cache" / "archives").glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, files], check=True)
    # Where the guest has /lib as a link, an archive of /lib would replace it.
    shutil.copytree(files / "lib", files / "usr" / "lib", symlinks=True, dirs_exist_ok=True)
    for folder in ("lib", "etc", "usr/share"):
        shutil.rmtree(files / folder, ignore_errors=True)
    image = work / "i386.ext4"
    with open(image, "wb") as disk:
        disk.truncate(128 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", files, image], check=True)
    return image


def classes(chosen, work):
    """The stressors of each class, as the guest's stress-ng has them."""
    guest = Guest(chosen, work, listing())
    found = {}
    done = False
    for line in guest.lines(HUNG):
        done |= "stress: done" in line
        if line.startswith("class '"):
            name, _, names = line[7:].partition("' stressors: ")
            found[name] = names.split()
            guest.goes_on()
    guest.end()
    if not done or not found:
        raise SystemExit("stress.py: the guest did not say which stressors it has; it ends with:\n" + "\n".join(guest.last_words()))
    return found


def run(chosen, work, stressors):
    """Runs stressors, in as many guests as it takes: for each how it ended and what was said."""
    ends, unknown = {}, {}

    def note(name, how, said, seconds):
        ends[name] = (how, said)
        if chosen.verbose:
            print(f"{name}: {how}, {seconds:.1f} s", file=sys.stderr, flush=True)

    while left := [name for name in stressors if name not in ends]:
        guest = Guest(chosen, work, script(left, chosen.seconds, "--pathological" if chosen.pathological else ""))
        current, previous, said, done = None, None, [], False
        for line in guest.lines(chosen.seconds + HUNG):
            mark, _, rest = line.partition("stress: ")[2].partition(" ")
            if mark == "begin":
                current, said = rest, []
                guest.goes_on()
            elif mark in ("said", "kernel"):
                said.append((mark, rest))
            elif mark == "end" and current:
                note(current, verdict(int(rest.split()[1]), said), [text for _, text in said], time.monotonic() - guest.since)
                current, previous = None, current
                guest.goes_on()
            elif mark == "done":
                done = True
        how = "the guest hung" if guest.process.poll() is None else "the guest died"
        took = time.monotonic() - guest.since
        for code in guest.end():
            known = unknown.setdefault(code["what"], {"what": code["what"], "bytes": code["bytes"], "count": 0})
            known["count"] += code["count"]
        if current is not None:
            note(current, how, guest.last_words(), took)
        elif not done and previous is not None:
            note(f"after {previous}", how, guest.last_words(), took)
        elif not done:
            # The next one would not come further.
            for name in left:
                note(name, f"not run: {how} before the first stressor", guest.last_words() if name == left[0] else [], took)
        if not chosen.keep:
            shutil.rmtree(guest.folder)
    return ends, list(unknown.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--guest", default="debian")
    parser.add_argument("--class", dest="classes", default=",".join(CLASSES))
    parser.add_argument("--only", help="these stressors, excluded ones too")
    parser.add_argument("--pathological", action="store_true", help="also those that stress-ng leaves out since they may hang a machine")
    parser.add_argument("--seconds", type=int, default=2, help="each stressor's time (2)")
    parser.add_argument("--qemu", action="store_true")
    parser.add_argument("--i386", action="store_true", help="Debian's 32-bit stress-ng, fetched with apt")
    parser.add_argument("--keep", type=pathlib.Path, help="where consoles and results stay")
    parser.add_argument("--verbose", action="store_true", help="say each stressor's end as it comes")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    if unknown := set(chosen.classes.split(",")) - set(CLASSES):
        parser.error(f"no class {', '.join(sorted(unknown))}; there are {', '.join(CLASSES)}")
    subprocess.run([debian_guest.root / "tessera", "guest", "list"], check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as temporary:
        work = (chosen.keep or pathlib.Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        if chosen.i386:
            chosen.image = thirty_two(work)
        groups = {"chosen": chosen.only.split(",")} if chosen.only else {name: names for name, names in classes(chosen, work).items() if name in chosen.classes.split(",")}
        excluded = EXCLUDED | EXCLUDED_IN.get(chosen.guest, {})
        wanted = list(dict.fromkeys(name for names in groups.values() for name in names if chosen.only or name not in excluded))
        ends, unknown = run(chosen, work, wanted)
    failed = {name: end for name, end in ends.items() if end[0] != "passed" and end[0] not in SKIPS}
    if chosen.json:
        print(json.dumps({"classes": groups, "ends": ends, "unknownCode": unknown}, indent=1))
        return 1 if failed else 0
    print(f"{'class':10}{'passed':>8}{'failed':>8}{'skipped':>9}{'excluded':>10}")
    for group, names in groups.items():
        how = [ends[name][0] if name in ends else None for name in names]
        counts = (how.count("passed"), sum(name in failed for name in names), sum(each in SKIPS for each in how), how.count(None))
        print(f"{group:10}{counts[0]:8}{counts[1]:8}{counts[2]:9}{counts[3]:10}")
    for name, (how, said) in failed.items():
        print(f"\n{name}: {how}" + "".join(f"\n  {line}" for line in said))
    if unknown:
        print("\nNot run by the engine: " + "; ".join(f"{code['what']} ({code['bytes']}, {code['count']} times)" for code in sorted(unknown, key=lambda code: -code["count"])[:20]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
