"""What benchmarks with a fetched Debian share: where it is, archives for its RAM disk, and QEMU with virtio beside it."""
import base64
import lzma
import os
import pathlib
import subprocess
import tempfile

root = pathlib.Path(__file__).resolve().parent.parent
cache = pathlib.Path(os.environ.get("TESSERA_CACHE") or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "tessera")
VIRTIO = ["virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk", "failover", "net_failover", "virtio_net"]


def folder(name="debian"):
    """The folder of a fetched guest."""
    found = cache / "guests" / name
    if not (found / "vmlinuz").exists():
        raise SystemExit(f"no guest '{name}': ./tessera guest get {name}")
    return found


def word(script):
    """The word of the command line that has a guest run a script."""
    return "tessera.exec=" + base64.b64encode(script.encode()).decode()


def archive(files):
    """A cpio archive (newc) of names, modes and bytes."""
    out = b""
    for number, (name, mode, data) in enumerate([*files, ("TRAILER!!!", 0, b"")], 1):
        encoded = name.encode() + b"\0"
        fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0]
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + encoded
        out += head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)
    return out


def behind(image, files):
    """A RAM disk with more files behind it: each archive begins at a multiple of four bytes."""
    return image + b"\0" * (-len(image) % 4) + archive(files)


def virtio(guest):
    """Files that give a guest's RAM disk virtio's drivers, which it has no use for as a Xen domain; rdinit=/init.virtio loads them."""
    found = {file.name.partition(".")[0]: file for file in (guest / "modules").rglob("*.ko*")}
    code = {name: found[name].read_bytes() for name in VIRTIO if name in found}
    files = [(f"virtio/{name}.ko", 0o100644, lzma.decompress(data) if found[name].suffix == ".xz" else data) for name, data in code.items()]
    loads = "".join(f"insmod /{name}\n" for name, _, _ in files)
    return [("virtio", 0o040755, b""), *files, ("init.virtio", 0o100755, f"#!/bin/sh\nexport PATH=/bin:/sbin:/usr/bin:/usr/sbin\n{loads}exec /init\n".encode())]


def overlay(guest, work):
    """A disk of QEMU's own over a guest's root disk."""
    path = pathlib.Path(tempfile.mktemp(prefix="root-", suffix=".qcow2", dir=work))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(guest / "root.ext4"), "-F", "raw", str(path)], check=True)
    return path


def qemu(guest, memory, initrd, words):
    """QEMU's software emulation with a guest's kernel: the first words of a command."""
    return ["qemu-system-x86_64", "-accel", "tcg", "-no-reboot", "-m", str(memory), "-kernel", str(guest / "vmlinuz"), "-initrd", str(initrd), "-append", words, "-nic", "none"]
