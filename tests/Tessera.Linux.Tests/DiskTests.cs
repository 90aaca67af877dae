using System.Diagnostics;
using System.Text;
using Tessera.Cli.Guests;
using Tessera.Kernel;
using Tessera.Kernel.Devices.Block;
using Tessera.Linux.Tests.Support;
using Tessera.Plugins.Block.CopyOnWrite;
using Tessera.Plugins.Block.Nbd;
using Tessera.Plugins.Block.Ram;
using Tessera.Plugins.Block.RawFile;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Linux.Tests;

/// <summary>A stock Debian from its root disk, with its own xen-blkfront, on each writable backend.</summary>
internal sealed class DiskTests
{
    private const long DiskBytes = 96 << 20;

    private readonly string _folder = Path.Combine(Path.GetTempPath(), $"tessera-disks-{Guid.NewGuid():N}");
    private Process? _server;

    [SetUp]
    public void Make() => Directory.CreateDirectory(_folder);

    [TearDown]
    public void Remove()
    {
        if (_server is not null)
        {
            _server.Kill();
            _server.WaitForExit();
            _server.Dispose();
            _server = null;
        }

        Directory.Delete(_folder, recursive: true);
    }

    [TestCase("raw-file")]
    [TestCase("raw-file, direct")]
    [TestCase("raw-file, persistent grants")]
    [TestCase("copy-on-write")]
    [TestCase("ram")]
    [TestCase("nbd")]
    public void A_file_system_is_made_filled_verified_and_found_clean(string disk)
    {
        GuestEntry guest = RequireRootDisk();
        IBlockBackend backend = Backend(disk.Split(',')[0], disk.Contains("direct", StringComparison.Ordinal));
        using LinuxMachine machine = new();
        Domain domain = Create(machine, guest, """
            set -e
            mkfs.ext4 -q /dev/xvdb
            mkdir -p /m
            mount -o discard /dev/xvdb /m
            fio --name=verify --directory=/m --rw=randrw --bsrange=512-128k --size=24m --ioengine=libaio --direct=1 --iodepth=8 --fsync=16 --verify=crc32c --verify_fatal=1 --output=/dev/null
            rm /m/verify*
            cp -a /usr/bin /m/
            sync
            umount /m
            mount -o ro /dev/xvdb /m
            diff -r --no-dereference /usr/bin /m/bin
            umount /m
            e2fsck -fn /dev/xvdb
            """);
        Disk attached = machine.Machine.AttachDisk(domain, new DiskConfiguration { Name = "xvdb", Backend = backend, PersistentGrants = disk.Contains("persistent", StringComparison.Ordinal) });
        machine.Machine.Start(domain);
        WaitForScript(machine.ConsoleOf(domain));
        BlockReading reading = attached.Read();
        Assert.Multiple(() =>
        {
            Assert.That(reading.Reads, Is.Positive);
            Assert.That(reading.WrittenBytes, Is.GreaterThan(16 << 20));
            Assert.That(reading.Flushes > 0, Is.EqualTo(attached.Geometry.VolatileCache));
            Assert.That((reading.Failed, reading.Refused, reading.BrokenRings), Is.EqualTo((0L, 0L, 0L)));
            Assert.That(machine.ConsoleOf(domain).All, Does.Not.Contain("I/O error"));
        });
    }

    [Test]
    public async Task A_disk_is_plugged_and_unplugged_while_the_guest_runs()
    {
        GuestEntry guest = RequireRootDisk();
        using LinuxMachine machine = new();
        Domain domain = Create(machine, guest, """
            set -e
            for round in 1 2 3; do
                until [ -b /dev/xvdb ]; do sleep 0.1; done
                echo round $round | dd of=/dev/xvdb bs=512 conv=sync,fsync status=none
                echo "plugged $round"
                while [ -b /dev/xvdb ]; do sleep 0.1; done
                echo "unplugged $round"
            done
            """);
        machine.Machine.Start(domain);
        LinuxConsole console = machine.ConsoleOf(domain);
        for (int round = 1; round <= 3; round++)
        {
            Disk disk = machine.Machine.AttachDisk(domain, new DiskConfiguration { Name = "xvdb", Backend = Backend("raw-file", direct: false) });
            _ = console.WaitFor($"plugged {round}");
            Assert.That(await disk.DetachAsync(TimeSpan.FromSeconds(60)), Is.True, "the guest let go of it");
            _ = console.WaitFor($"unplugged {round}");
            Assert.That(Encoding.ASCII.GetString(await File.ReadAllBytesAsync(Path.Combine(_folder, "disk")), 0, 7), Is.EqualTo($"round {round}"));
        }

        WaitForScript(console);
    }

    private static void WaitForScript(LinuxConsole console)
    {
        string output = console.WaitFor("tessera-guest: exec done, status ");
        Assert.That(console.WaitFor("\n").Trim(), Is.EqualTo("0"), () => output);
    }

    private static GuestEntry RequireRootDisk()
    {
        GuestEntry guest = LinuxGuests.Require("debian");
        if (guest.RootDiskPath is null)
            Assert.Ignore("The guest debian has no root disk: `tessera guest get debian` makes it.");
        return guest;
    }

    private static Domain Create(LinuxMachine machine, GuestEntry guest, string script)
    {
        Domain domain = machine.Create("linux", guest, arguments: $"root=/dev/xvda rw tessera.exec={Convert.ToBase64String(Encoding.ASCII.GetBytes(script + "\n"))}");
        _ = machine.Machine.AttachDisk(domain, new DiskConfiguration { Name = "xvda", Backend = new CopyOnWrite(new CopyOnWriteOptions { Base = guest.RootDiskPath! }) });
        return domain;
    }

    private IBlockBackend Backend(string name, bool direct)
    {
        string file = Path.Combine(_folder, "disk");
        switch (name)
        {
            case "raw-file":
                return new RawFile(new RawFileOptions { Path = file, Create = new ByteSize(DiskBytes), Direct = direct });
            case "ram":
                return new RamDisk(new RamOptions { Size = new ByteSize(DiskBytes) });
            case "copy-on-write":
                File.WriteAllBytes(file, new byte[1 << 20]);
                return new CopyOnWrite(new CopyOnWriteOptions { Base = file, Overlay = Path.Combine(_folder, "overlay"), Size = new ByteSize(DiskBytes) });
            default:
                return new Nbd(new NbdOptions { Uri = $"nbd+unix:///?socket={Serve(file)}" });
        }
    }

    private string Serve(string file)
    {
        using (FileStream disk = File.Create(file))
            disk.SetLength(DiskBytes);
        string socket = Path.Combine(_folder, "socket");
        try
        {
            _server = Process.Start(new ProcessStartInfo("nbdkit", ["--foreground", "--unix", socket, "file", file]))!;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            Assert.Ignore("nbdkit is not installed (apt-get install nbdkit libnbd0).");
        }

        Assert.That(SpinWait.SpinUntil(() => File.Exists(socket) || _server!.HasExited, TimeSpan.FromSeconds(60)) && !_server!.HasExited, Is.True, "nbdkit did not start");
        return socket;
    }
}
