"""Real Xen from Debian's packages, in QEMU's software emulation: fetches it, makes its dom0, runs one PV kernel under it.

Everything lies in one folder (by default ~/.cache/tessera/xen-oracle); nothing is installed and nobody needs to be root. Debian's apt and dpkg
do the work, with sources and lists of this folder's own, so that any Debian-like machine with Debian's keyring will do.
"""
import gzip
import os
import pathlib
import re
import subprocess
import time

SUITE = "bookworm"
SOURCES = [f"{SUITE} main", f"{SUITE}-backports main"]
SECURITY = f"{SUITE}-security main"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

# QEMU 7.2, the release's own, has three faults in Xen's way (iretq under SMAP, the error code of int n, MWAIT): take the backport.
QEMU = ["qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios"]
XEN = ["xen-hypervisor-4.17-amd64", "xen-utils-4.17", "busybox-static"]
PROGRAMS = ["xl", "xenstored", "xenconsoled", "xen-init-dom0"]
MODULES = ["xen-evtchn", "xen-gntdev", "xen-privcmd", "xenfs"]
BEGIN, END = "PROBE-CONSOLE-BEGIN", "PROBE-CONSOLE-END"
MEMORY_MIB = 16

INIT = f"""#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin LD_LIBRARY_PATH=/lib
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs run /run
mkdir -p /dev/pts; mount -t devpts pts /dev/pts
mkdir -p /run/xen /run/xenstored /run/lock /var/lib/xen /var/log/xen/console /tmp; ln -sf /run /var/run
for m in {' '.join(MODULES)}; do insmod /modules/$m.ko; done
mount -t xenfs xenfs /proc/xen
xenstored --pid-file /run/xenstored.pid
while [ ! -S /run/xenstored/socket ]; do sleep 0.2; done
xen-init-dom0
xenconsoled --log=guest --pid-file=/run/xenconsoled.pid
echo "XEN-VERSION $(cat /sys/hypervisor/version/major).$(cat /sys/hypervisor/version/minor)$(cat /sys/hypervisor/version/extra)"
xl create /probe.cfg
for i in $(seq 600); do xl list probe >/dev/null 2>&1 || break; sleep 0.2; done
sleep 1
echo {BEGIN}
cat /var/log/xen/console/guest-probe.log
echo {END}
sleep 1
poweroff -f
"""

CONFIG = f"""name = "probe"
type = "pv"
kernel = "/probe"
memory = {MEMORY_MIB}
vcpus = 1
on_poweroff = "destroy"
on_crash = "destroy"
on_reboot = "destroy"
"""


class OracleError(Exception):
    """What went wrong and what to do about it."""


class Oracle:
    """The oracle in a folder of its own."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.unpacked = self.folder / "unpacked"

    def prepare(self):
        """Fetches and unpacks what is not there yet. Returns the packages as name=version."""
        self.folder.mkdir(parents=True, exist_ok=True)
        listing = self.folder / "packages.txt"
        if not listing.exists():
            self._fetch()
            listing.write_text("\n".join(sorted(path.stem for path in (self.folder / "debs").glob("*.deb"))) + "\n", encoding="utf-8")
        return listing.read_text(encoding="utf-8").split()

    def run(self, kernel, seconds=600):
        """Boots Xen with a dom0 that runs the kernel as a domain; returns what the domain wrote to its console, as lines, and Xen's version."""
        image = self._dom0(kernel)
        serial = self.folder / "serial.log"
        serial.unlink(missing_ok=True)
        hypervisor = self.folder / "xen"
        hypervisor.write_bytes(gzip.decompress(next((self.unpacked / "boot").glob("xen-*.gz")).read_bytes()))
        linux = next((self.unpacked / "boot").glob("vmlinuz-*"))
        usr = self.unpacked / "usr"
        command = [
            str(self._loader()), "--library-path", self._libraries(), str(usr / "bin/qemu-system-x86_64"), "-L", str(usr / "share/qemu"), "-L", str(usr / "share/seabios"),
            "-accel", "tcg,thread=multi", "-cpu", "EPYC,-monitor", "-smp", "2", "-m", "2048", "-machine", "pc", "-display", "none", "-nodefaults",
            "-no-reboot", "-kernel", str(hypervisor),
            "-append", "console=com1 com1=115200,8n1 loglvl=info noreboot cpuidle=0 dom0_mem=768M,max:768M dom0_max_vcpus=1",
            "-initrd", f"{linux} console=hvc0 quiet loglevel=4 mitigations=off,{image}", "-serial", f"file:{serial}"]
        environment = dict(os.environ, QEMU_MODULE_DIR=str(usr / "lib/x86_64-linux-gnu/qemu"))
        with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL) as qemu:
            try:
                text = self._wait(qemu, serial, seconds)
            finally:
                qemu.kill()
        version = re.search(r"XEN-VERSION (\S+)", text)
        inside = text.split(BEGIN + "\n", 1)[1].split(END, 1)[0]
        return [line for line in inside.split("\n") if line], version.group(1) if version else "unknown"

    def _wait(self, qemu, serial, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(0.5)
            text = serial.read_text(encoding="utf-8", errors="replace").replace("\r", "") if serial.exists() else ""
            if END + "\n" in text:
                return text
            if qemu.poll() is not None:
                break
        raise OracleError(f"Xen or its dom0 did not get to the end: look at the end of {serial}.")

    def _libraries(self):
        return ":".join(str(self.unpacked / place) for place in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"))

    def _apt(self, tool, *arguments):
        options = {
            "Dir::Etc::SourceList": self.folder / "sources.list", "Dir::Etc::SourceParts": "-", "Dir::State::Lists": self.folder / "lists",
            "Dir::Cache": self.folder / "cache", "APT::Sandbox::User": "", "Dir::State::status": self.folder / "status", "APT::Architecture": "amd64"}
        command = [tool] + [part for key, value in options.items() for part in ("-o", f"{key}={value}")] + list(arguments)
        done = subprocess.run(command, cwd=self.folder / "debs", capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise OracleError(f"{tool} {' '.join(arguments)[:200]} failed: {done.stderr.strip()[:500]}")
        return done.stdout

    def _fetch(self):
        for name in ("debs", "lists/partial", "cache/archives/partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").write_text("", encoding="utf-8")
        lines = [f"deb [signed-by={KEYRING}] http://deb.debian.org/debian {suite}" for suite in SOURCES]
        lines.append(f"deb [signed-by={KEYRING}] http://deb.debian.org/debian-security {SECURITY}")
        (self.folder / "sources.list").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print("fetching Debian's lists and packages (about 180 MB)", flush=True)
        self._apt("apt-get", "update")
        linux = re.search(r"Depends: (linux-image-\S+)", self._apt("apt-cache", "depends", "linux-image-amd64")).group(1)
        wanted = [linux, *XEN, *[f"{name}/{SUITE}-backports" for name in QEMU]]
        closure = self._apt("apt-get", "--simulate", "--no-install-recommends", "install", *wanted)
        # Of what all that would bring onto an empty machine, shared libraries are enough: the programs run where they were unpacked.
        libraries = sorted(set(re.findall(r"^Inst ((?:lib|zlib)\S*)", closure, re.MULTILINE)))
        self._apt("apt-get", "download", *wanted, *libraries)
        self.unpacked.mkdir(exist_ok=True)
        for package in sorted((self.folder / "debs").glob("*.deb")):
            subprocess.run(["dpkg", "-x", str(package), str(self.unpacked)], check=True)

    def _dom0(self, kernel):
        files = {"init": (INIT.encode(), 0o755), "probe.cfg": (CONFIG.encode(), 0o644), "etc/xen/xl.conf": (b"autoballoon=0\n", 0o644), "probe": (pathlib.Path(kernel).read_bytes(), 0o644)}
        files["bin/busybox"] = ((self.unpacked / "bin/busybox").read_bytes(), 0o755)
        for name in PROGRAMS:
            files[f"bin/{name}"] = ((self.unpacked / "usr/lib/xen-4.17/bin" / name).read_bytes(), 0o755)
        for name, content in self._needed([self.unpacked / "usr/lib/xen-4.17/bin" / name for name in PROGRAMS]).items():
            files[f"lib/{name}"] = (content, 0o755)
        # glibc opens this one by itself when a thread ends.
        files["lib/libgcc_s.so.1"] = (next(self.unpacked.glob("lib/x86_64-linux-gnu/libgcc_s.so.1")).read_bytes(), 0o755)
        files["lib64/ld-linux-x86-64.so.2"] = (self._loader().read_bytes(), 0o755)
        for name in MODULES:
            module = next((self.unpacked / "lib/modules").rglob(f"{name}.ko"))
            files[f"modules/{name}.ko"] = (module.read_bytes(), 0o644)
        image = self.folder / "dom0.img"
        image.write_bytes(gzip.compress(archive(files, ["proc", "sys", "dev", "run", "var", "tmp", "sbin", "usr", "etc"]), 1))
        return image

    def _loader(self):
        return next(self.unpacked.glob("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"))

    def _needed(self, programs):
        """The shared libraries that programs need, by name: the packages' own loader says so."""
        found = {}
        for program in programs:
            command = [str(self._loader()), "--library-path", self._libraries(), "--list", str(program)]
            listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            for name, path in re.findall(r"^\s*(\S+) => (/\S+)", listing, re.MULTILINE):
                found[name] = pathlib.Path(path).read_bytes()
        return found


def archive(files, folders):
    """A RAM disk in cpio's "newc" format."""
    everything = {name: (b"", 0o40755) for name in folders}
    for name, (content, mode) in files.items():
        for parent in list(pathlib.PurePosixPath(name).parents)[:-1]:
            everything.setdefault(str(parent), (b"", 0o40755))
        everything[name] = (content, 0o100000 | mode)
    parts = []
    for number, (name, (content, mode)) in enumerate(sorted(everything.items()) + [("TRAILER!!!", (b"", 0))]):
        fields = [number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
        parts.append(pad(b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0") + pad(content))
    return b"".join(parts)


def pad(content):
    """Zeros up to the next multiple of four bytes."""
    return content + bytes(-len(content) % 4)
