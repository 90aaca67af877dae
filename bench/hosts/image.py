"""The emulated machine's RAM disk: busybox, the .NET runtime and its libraries, Tessera as built, two guests, KVM's modules, the cases."""
import json
import lzma
import pathlib
import re
import stat
import subprocess

root = pathlib.Path(__file__).resolve().parent.parent.parent


class Missing(Exception):
    """Something that this machine lacks, in words for a person."""


class Archive:
    """A cpio archive in the form that Linux unpacks at boot (newc)."""

    def __init__(self, path):
        self._file = open(path, "wb")
        self._inode = 0
        self._folders = set()

    def folder(self, path):
        if path in ("", ".") or path in self._folders:
            return
        self.folder(str(pathlib.PurePosixPath(path).parent))
        self._folders.add(path)
        self._entry(path, stat.S_IFDIR | 0o755, b"")

    def file(self, path, data, mode=0o644):
        self.folder(str(pathlib.PurePosixPath(path).parent))
        self._entry(path, stat.S_IFREG | mode, data)

    def link(self, path, target):
        self.folder(str(pathlib.PurePosixPath(path).parent))
        self._entry(path, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, path, major, minor):
        self.folder(str(pathlib.PurePosixPath(path).parent))
        self._entry(path, stat.S_IFCHR | 0o600, b"", major, minor)

    def tree(self, path, folder, leave_out=()):
        """A folder of this machine, links followed."""
        for source in sorted(folder.rglob("*")):
            if source.is_file() and not any(source.match(pattern) for pattern in leave_out):
                self.file(f"{path}/{source.relative_to(folder)}", source.read_bytes(), source.stat().st_mode & 0o777)

    def close(self):
        self._entry("TRAILER!!!", 0, b"")
        self._file.close()

    def _entry(self, path, mode, data, major=0, minor=0):
        name = path.encode() + b"\0"
        self._inode += 1
        # magic, inode, mode, owner, group, links, time, size, device, device of a device file, length of the name, checksum
        fields = [self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name), 0]
        self._write(b"070701" + b"".join(b"%08x" % field for field in fields) + name)
        self._write(data)

    def _write(self, data):
        self._file.write(data + b"\0" * (-len(data) % 4))


def guests(tessera):
    """The guests of the user's library by name, as that command describes them."""
    listing = subprocess.run([*tessera, "guest", "list", "--json"], capture_output=True, text=True)
    if listing.returncode != 0:
        raise Missing(f"a Tessera that runs: {listing.stderr.strip()}")
    return {entry["name"]: entry for entry in json.loads(listing.stdout)["library"] if not entry["problem"]}


def libraries(files):
    """The shared libraries that programs and libraries of this machine are linked with, the loader among them."""
    listing = subprocess.run(["ldd", *files], capture_output=True, text=True).stdout
    return sorted({pathlib.Path(word) for word in listing.split() if re.fullmatch(r"/\S+\.so[.0-9]*", word)})


def runtime():
    """The folder of the newest .NET runtime that the product runs on, and that of its program."""
    listing = subprocess.run(["dotnet", "--list-runtimes"], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^Microsoft\.NETCore\.App (10\.\S+) \[(.*)\]$", listing, re.MULTILINE)
    if not found:
        raise Missing("the .NET 10 runtime (dotnet --list-runtimes)")
    version, folder = found[-1]
    return pathlib.Path(folder) / version, pathlib.Path(folder).parent.parent


def compiled(target):
    """The program that shows, without Tessera, whether KVM's hardware breakpoints strike here; a script that says so where there is no C compiler."""
    source = pathlib.Path(__file__).with_name("breakpoint.c")
    try:
        made = subprocess.run(["cc", "-static", "-O2", source, "-o", target], capture_output=True).returncode == 0
    except FileNotFoundError:
        made = False
    return target.read_bytes() if made else b"#!/bin/busybox sh\necho not tried: no C compiler that links statically\n"


def build(path, tools, product, kernel, wanted, cases):
    """Writes the RAM disk.

    path: where to; tools: where packages were unpacked; product: Tessera as published; kernel: the guest whose kernel is the emulated machine's;
    wanted: guests that are to be there, entries of the library; cases: files of the cases by name.
    """
    archive = Archive(path)
    for folder in ("proc", "sys", "dev", "tmp", "root", "run"):
        archive.folder(folder)
    # The kernel opens it before /init can make it.
    archive.character_device("dev/console", 5, 1)
    archive.file("init", (pathlib.Path(__file__).parent / "init").read_bytes(), 0o755)
    archive.file("bin/busybox", (tools / "bin" / "busybox").read_bytes(), 0o755)

    framework, dotnet = runtime()
    program = dotnet / "dotnet"
    archive.file("usr/share/dotnet/dotnet", program.read_bytes(), 0o755)
    archive.link("usr/bin/dotnet", "/usr/share/dotnet/dotnet")
    archive.tree("usr/share/dotnet/host", dotnet / "host")
    # What only debuggers and tracers load.
    archive.tree(f"usr/share/dotnet/shared/Microsoft.NETCore.App/{framework.name}", framework, ["libmscordac*", "libmscordbi*", "libcoreclrtraceptprovider*", "createdump"])
    native = [framework / name for name in ("libcoreclr.so", "libclrjit.so", "libSystem.Native.so", "libhostpolicy.so")]
    for library in libraries([program, *native]):
        archive.file(str(library)[1:], library.read_bytes(), 0o755)

    archive.file("bin/breakpoint", compiled(path.parent / "breakpoint"), 0o755)
    archive.tree("opt/tessera/product", product, ["*.pdb", "*.xml"])
    archive.tree("opt/tessera/samples", root / "samples", ["*.cs", "*.csproj", "*.dll", "*.pdb", "obj/**/*", "bin/**/*"])
    archive.file("opt/tessera/docs/tessera.schema.json", (root / "docs" / "tessera.schema.json").read_bytes())
    for entry in wanted:
        folder = pathlib.Path(entry["folder"])
        described = json.loads((folder / "guest.json").read_text())
        # What is too large for a RAM disk is not there, so it must not be named either.
        for absent in ("rootDisk", "modules"):
            described.pop(absent, None)
        archive.file(f"cache/guests/{entry['name']}/guest.json", json.dumps(described).encode())
        for name in ("vmlinuz", "initrd.img"):
            archive.file(f"cache/guests/{entry['name']}/{name}", (folder / name).read_bytes())

    modules = {file.name.split(".")[0]: file for file in pathlib.Path(kernel["modulesPath"]).rglob("*.ko*")}
    for name in ("irqbypass", "kvm", "kvm-intel", "kvm-amd"):
        if name not in modules:
            raise Missing(f"the module {name} of {kernel['source']}")
        data = modules[name].read_bytes()
        archive.file(f"modules/{name}.ko", lzma.decompress(data) if modules[name].suffix == ".xz" else data)
    for name, text in cases.items():
        archive.file(f"cases/{name}", text.encode())
    archive.close()
