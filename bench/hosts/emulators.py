"""The two emulators, each of which gives a kernel what the other does not: Bochs has VT-x with EPT, QEMU has SVM with nested paging."""
import os
import pathlib
import platform
import subprocess
import time

from image import Missing, root

# Bochs's debugger asks before it starts; QEMU's clock counts instructions. What the machine's kernel is told in both.
kernel_words = "console=ttyS0 panic=-1 mitigations=off nokaslr tsc=reliable"

# The emulated machine says every five seconds of its own that it lives, which is some seconds of an idle host. Only one that hangs is silent for so long.
silence_limit = 1800

# How QEMU looks at a task state segment's type before it lets ring 3 use a port: shr $8; and $15; cmp $9. SVM's state holds 11, "busy", as the manual
# wants it, so each permitted `out` of a guest faults. With 13 for 15, 9 and 11 are both seen as 9.
io_check = bytes.fromhex("c1e80883e00f83f809")
io_check_cure = bytes.fromhex("c1e80883e00d83f809")


def fetch(folder, packages):
    """Unpacks Debian packages below a folder, without installing them."""
    done = subprocess.run([root / ".ci" / "fetch", folder, *packages], stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Missing(done.stderr.strip())
    return folder


def environment(tools):
    """For programs of those packages."""
    libraries = f"{tools}/usr/lib/{platform.machine()}-linux-gnu"
    path = ":".join(filter(None, [f"{tools}/usr/bin", os.environ.get("PATH")]))
    return {**os.environ, "PATH": path, "LD_LIBRARY_PATH": ":".join(filter(None, [libraries, os.environ.get("LD_LIBRARY_PATH")])), "LTDL_LIBRARY_PATH": f"{libraries}/bochs/plugins"}


class Bochs:
    """A Haswell with VT-x and EPT, as it is in Debian."""

    name = "VT-x"
    module = "kvm-intel"
    paging = "ept"
    options = ""
    # What comes out wrong because the emulator is: case, row, why.
    faults = {}
    packages = ["bochs", "bochs-term", "bochsbios", "vgabios", "grub-pc-bin", "grub-common", "xorriso", "busybox-static"]

    def __init__(self, folder, tools):
        self.folder, self.tools = folder, tools

    def command(self, kernel, initrd, words):
        """Makes a bootable disc; the command that runs it."""
        tree = self.folder / "disc"
        (tree / "boot" / "grub").mkdir(parents=True, exist_ok=True)
        for name, source in (("vmlinuz", kernel), ("initrd", initrd)):
            target = tree / "boot" / name
            target.unlink(missing_ok=True)
            try:
                os.link(source, target)
            except OSError:
                target.write_bytes(source.read_bytes())
        # One processor, of which the kernel need not look for others.
        (tree / "boot" / "grub" / "grub.cfg").write_text(f"linux /boot/vmlinuz {words} nosmp\ninitrd /boot/initrd\nboot\n")
        disc = self.folder / "disc.iso"
        made = subprocess.run(
            ["grub-mkrescue", "-d", self.tools / "usr/lib/grub/i386-pc", "--locales=", "--fonts=", "--themes=", "-o", disc, tree],
            env=environment(self.tools), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if made.returncode != 0:
            raise Missing(f"grub-mkrescue: {made.stdout.strip()}")
        settings = self.folder / "bochsrc"
        settings.write_text(f"""\
plugin_ctrl: unmapped=1, biosdev=1, speaker=0, extfpuirq=1, parallel=0, serial=1
romimage: file={self.tools}/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file={self.tools}/usr/share/vgabios/vgabios.bin
cpu: model=corei7_haswell_4770, count=1, ips=100000000, reset_on_triple_fault=0
memory: guest=2048, host=2048
display_library: rfb, options="timeout=0"
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path={disc}, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev={self.folder}/serial.txt
clock: sync=none
pci: enabled=1, chipset=i440fx
log: {self.folder}/bochs.log
panic: action=report
error: action=ignore
info: action=ignore
debug: action=ignore
""")
        return [self.tools / "usr/bin/bochs-bin", "-q", "-f", settings]

    @staticmethod
    def answers():
        """What is typed at the emulator: "continue", however often its debugger asks."""
        return subprocess.Popen(["yes", "c"], stdout=subprocess.PIPE)


class Qemu:
    """An EPYC with SVM and nested paging; a copy of QEMU with one byte changed."""

    name = "SVM"
    module = "kvm-amd"
    paging = "npt"
    options = ",nested=0,avic=0,vgif=0"
    faults = {("doctor", "hardware breakpoint"): "debug registers of a guest do not strike under TCG"}
    packages = ["qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios", "busybox-static"]

    def __init__(self, folder, tools):
        self.folder, self.tools = folder, tools

    def command(self, kernel, initrd, words):
        """Cures a copy of the program; the command that runs it."""
        program = self.tools / "usr/bin/qemu-system-x86_64"
        code = program.read_bytes()
        if code.count(io_check) != 1:
            raise Missing(
                f"a QEMU whose check of a task state segment's type is known: {program} has the bytes {io_check.hex(' ')} {code.count(io_check)} times instead of once, "
                "so it is of another version or was compiled otherwise. 7.2+dfsg-7+deb12u18+b3 has them; look for helper_check_io in its target/i386/tcg")
        cured = self.folder / "qemu-system-x86_64"
        cured.write_bytes(code.replace(io_check, io_check_cure))
        cured.chmod(0o755)
        modules = f"{self.tools}/usr/lib/{platform.machine()}-linux-gnu/qemu"
        return [
            "env", f"QEMU_MODULE_DIR={modules}", cured, "-L", self.tools / "usr/share/qemu", "-L", self.tools / "usr/share/seabios",
            "-M", "q35", "-accel", "tcg,thread=single,tb-size=1024",
            # The clock counts instructions, and idle time is skipped: on a busy host the machine would live-lock otherwise.
            "-icount", "shift=1,sleep=off",
            # iretq in user mode faults under SMAP there.
            "-cpu", "EPYC-v1,-smap,-smep", "-smp", "1", "-m", "3G", "-kernel", kernel, "-initrd", initrd, "-append", words,
            "-display", "none", "-nodefaults", "-no-reboot", "-serial", f"file:{self.folder}/serial.txt",
        ]

    @staticmethod
    def answers():
        """Nothing is typed at it."""
        return None


def run(emulator, command):
    """Runs it until the machine says that it is done; its serial line."""
    serial = emulator.folder / "serial.txt"
    serial.unlink(missing_ok=True)
    answers = emulator.answers()
    with open(emulator.folder / "emulator.log", "wb") as log:
        process = subprocess.Popen(
            ["nice", "-n", "10", *command], cwd=emulator.folder, env=environment(emulator.tools),
            stdin=answers.stdout if answers else subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            size, changed = 0, time.monotonic()
            while True:
                ended = process.poll() is not None
                text = serial.read_bytes() if serial.exists() else b""
                if b"\n@done " in text:
                    return text.decode(errors="replace")
                if ended:
                    raise RuntimeError(f"the emulator ended by itself with {process.returncode}: {log.name}\n{tail(text)}")
                if len(text) != size:
                    size, changed = len(text), time.monotonic()
                if time.monotonic() - changed > silence_limit:
                    raise RuntimeError(f"the machine has said nothing for {silence_limit} s: {serial}\n{tail(text)}")
                time.sleep(1)
        finally:
            for child in filter(None, (process, answers)):
                child.kill()
                child.wait()


def tail(text):
    lines = [line for line in text.decode(errors="replace").splitlines() if not line.startswith("@data ")]
    return "\n".join(lines[-20:])
