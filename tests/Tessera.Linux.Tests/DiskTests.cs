using System.Globalization;
using System.Text;
using Tessera.GuestLibrary;
using Tessera.Kernel.Devices;
using Tessera.Kernel.Devices.Block;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Machines;
using Tessera.Linux.Tests.Support;
using Tessera.Plugins.Block.CopyOnWrite;
using Tessera.Plugins.Block.Nbd;
using Tessera.Plugins.Block.Ram;
using Tessera.Plugins.Block.RawFile;
using Tessera.Plugins.Block.Throttle;
using Tessera.Sdk;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Linux.Tests;

/// <summary>A stock Debian from its root disk, with its own xen-blkfront, on each writable backend.</summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.First))]
internal sealed class DiskTests(string engine)
{
    private const long DiskBytes = 96 << 20;

    private readonly SharedThings _shared = new();
    private readonly string _folder = Path.Combine(Path.GetTempPath(), $"tessera-disks-{Guid.NewGuid():N}");
    private NbdServer? _server;

    [SetUp]
    public void Make() => Directory.CreateDirectory(_folder);

    [TearDown]
    public void Remove()
    {
        _server?.Dispose();
        _server = null;
        Directory.Delete(_folder, recursive: true);
    }

    [TestCase("raw-file")]
    [TestCase("raw-file, direct")]
    [TestCase("raw-file, persistent grants")]
    [TestCase("copy-on-write")]
    [TestCase("ram")]
    [TestCase("nbd")]
    [TestCase("throttle")]
    [TestCase("checksum")]
    public void A_file_system_is_made_filled_verified_and_found_clean(string disk)
    {
        GuestEntry guest = LinuxGuests.RequireRootDisk();
        IBlockBackend backend = Backend(disk.Split(',')[0], disk.Contains("direct", StringComparison.Ordinal));
        using LinuxMachine machine = new(engine);
        Domain domain = Create(machine, guest, """
            set -e
            mkfs.ext4 -q /dev/xvdb
            mkdir -p /m
            mount -o discard /dev/xvdb /m
            echo "filling it"
            fio --name=verify --directory=/m --rw=randrw --bsrange=512-128k --size=24m --ioengine=libaio --direct=1 --iodepth=8 --fsync=16 --verify=crc32c --verify_fatal=1 --output=/dev/null
            rm /m/verify*
            echo "copying to it"
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
        foreach (string moment in new[] { "filling it", "copying to it" })
        {
            // A server that dies and comes back must not be noticed, though it loses what it was not told to make stable.
            _ = machine.ConsoleOf(domain).WaitFor(moment);
            _server?.Restart();
        }

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
        GuestEntry guest = LinuxGuests.RequireRootDisk();
        using LinuxMachine machine = new(engine);
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
            Assert.That(await disk.DetachAsync(Hang.Limit), Is.True, "the guest let go of it");
            _ = console.WaitFor($"unplugged {round}");
            Assert.That(Encoding.ASCII.GetString(await File.ReadAllBytesAsync(Path.Combine(_folder, "disk")), 0, 7), Is.EqualTo($"round {round}"));
        }

        WaitForScript(console);
    }

    [TestCase("raw-file")]
    [TestCase("throttle")]
    public void A_disk_grows_while_its_file_system_is_mounted(string backend)
    {
        GuestEntry guest = LinuxGuests.RequireRootDisk();
        using LinuxMachine machine = new(engine);
        Domain domain = Create(machine, guest, $$"""
            set -e
            mkfs.ext4 -q /dev/xvdb
            mkdir -p /m
            mount /dev/xvdb /m
            echo "made it"
            until [ "$(blockdev --getsize64 /dev/xvdb)" = {{2 * DiskBytes}} ]; do sleep 0.1; done
            resize2fs /dev/xvdb
            fio --name=fill --directory=/m --rw=write --bs=1m --size={{DiskBytes + (DiskBytes / 2)}} --fallocate=none --verify=crc32c --verify_fatal=1 --output=/dev/null
            umount /m
            e2fsck -fn /dev/xvdb
            """);
        Disk disk = machine.Machine.AttachDisk(domain, new DiskConfiguration { Name = "xvdb", Backend = Backend(backend, direct: false) });
        machine.Machine.Start(domain);
        _ = machine.ConsoleOf(domain).WaitFor("made it");
        Assert.That(disk.Grow(), Is.EqualTo(DiskBytes), "nothing has happened yet");
        using (FileStream file = new(Path.Combine(_folder, "disk"), FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
            file.SetLength(2 * DiskBytes);
        Assert.That(disk.Grow(), Is.EqualTo(2 * DiskBytes));
        WaitForScript(machine.ConsoleOf(domain));
        Assert.That(() => domain.Disks[0].Grow(), Throws.TypeOf<DeviceException>().With.Message.Contains("xvda").And.Message.Contains("does not grow"));
    }

    [Test]
    public void A_throttle_gives_a_guest_no_more_than_its_tokens()
    {
        const int Iops = 300;
        const int BytesPerSecond = 8 << 20;
        const double Burst = 0.1;
        const int SmallWrites = 700;
        const int LargeWrites = 400;
        const int LargeBytes = 64 << 10;
        GuestEntry guest = LinuxGuests.RequireRootDisk();
        using LinuxMachine machine = new(engine);
        // Kilobytes written and the milliseconds it took, by fio's own count and the guest's clock.
        Domain domain = Create(machine, guest, $$"""
            set -e
            load() { fio --name=$1 --filename=/dev/$2 --rw=randwrite --bs=$3 --number_ios=$4 --size=64m --ioengine=libaio --iodepth=8 --direct=1 --output-format=terse --terse-version=3 | cut -d';' -f47,50; }
            echo "small $(load small xvdb 4k {{SmallWrites}})."
            echo "large $(load large xvdc 64k {{LargeWrites}})."
            """);
        Nanoseconds burst = Nanoseconds.FromSeconds(Burst);
        Disk small = Attach("xvdb", new ThrottleOptions { Iops = Iops, Burst = burst });
        Disk large = Attach("xvdc", new ThrottleOptions { BytesPerSecond = new ByteSize(BytesPerSecond), Burst = burst });
        machine.Machine.Start(domain);
        LinuxConsole console = machine.ConsoleOf(domain);
        (double smallBytes, double smallSeconds) = Count("small ");
        (double largeBytes, double largeSeconds) = Count("large ");
        WaitForScript(console);
        using (Assert.EnterMultipleScope())
        {
            Assert.That((smallBytes, largeBytes), Is.EqualTo(((double)SmallWrites * 4096, (double)LargeWrites * LargeBytes)));
            Assert.That((small.Read().Writes, large.Read().WrittenBytes), Is.EqualTo(((long)SmallWrites, (long)LargeWrites * LargeBytes)));
            // A busy host makes it take longer, nothing makes it take less: tokens saved up, one request on credit, a hundredth between two clocks.
            Assert.That(smallSeconds * 1.01, Is.GreaterThan((SmallWrites - (Iops * Burst) - 1) / Iops));
            Assert.That(largeSeconds * 1.01, Is.GreaterThan((largeBytes - (BytesPerSecond * Burst) - LargeBytes) / BytesPerSecond));
        }

        Disk Attach(string name, ThrottleOptions options) => machine.Machine.AttachDisk(domain, new DiskConfiguration
        {
            Name = name,
            Backend = new Throttle(options, new RamDisk(new RamOptions { Size = new ByteSize(DiskBytes) }), _shared, TimeProvider.System),
        });

        (double Bytes, double Seconds) Count(string name)
        {
            _ = console.WaitFor(name);
            double[] numbers = [.. console.WaitFor(".").Split(';').Select(number => double.Parse(number, CultureInfo.InvariantCulture))];
            TestContext.Out.WriteLine($"{name}: {numbers[0]} KiB in {numbers[1]} ms");
            return (numbers[0] * 1024, numbers[1] / 1000);
        }
    }

    private static void WaitForScript(LinuxConsole console)
    {
        string output = console.WaitFor("tessera-guest: exec done, status ");
        Assert.That(console.WaitFor("\n").Trim(), Is.EqualTo("0"), () => output);
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
            case "throttle":
                return new Throttle(new ThrottleOptions { Iops = 20_000, Group = "all", GroupBytesPerSecond = new ByteSize(400 << 20) }, Backend("raw-file", direct: false), _shared, TimeProvider.System);
            case "checksum":
                return new ChecksumDisk.ChecksumDisk(Backend("raw-file", direct: false));
            default:
                using (FileStream disk = File.Create(file))
                    disk.SetLength(DiskBytes);
                _server = new NbdServer("--filter=cache", "file", file, "cache=writeback");
                return new Nbd(new NbdOptions { Uri = _server.Uri });
        }
    }
}
