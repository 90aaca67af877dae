using System.Diagnostics;
using Tessera.Plugins.Block.CopyOnWrite;
using Tessera.Plugins.Block.RawFile;
using Tessera.Sdk.Conformance.Block;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Block.Tests;

/// <summary>What files do besides storing: locks, sizes, holes, errors that say what to do.</summary>
internal sealed class FileTests
{
    private TemporaryFolder _folder = null!;

    [SetUp]
    public void Make() => _folder = new TemporaryFolder();

    [TearDown]
    public void Remove() => _folder.Dispose();

    [Test]
    public void A_second_writer_is_kept_out_and_readers_are_many()
    {
        using (RawFile writer = Raw())
        {
            writer.Open(BlockAccess.ReadWrite);
            using RawFile second = Raw();
            Assert.That(() => second.Open(BlockAccess.ReadWrite), Throws.TypeOf<BackendException>().With.Message.Contains("another disk has it open"));
            using RawFile reader = Raw();
            Assert.That(() => reader.Open(BlockAccess.ReadOnly), Throws.TypeOf<BackendException>().With.Message.Contains("somebody writes it"));
        }

        using RawFile one = Raw();
        using RawFile two = Raw();
        one.Open(BlockAccess.ReadOnly);
        two.Open(BlockAccess.ReadOnly);
        using RawFile late = Raw();
        Assert.That(() => late.Open(BlockAccess.ReadWrite), Throws.TypeOf<BackendException>());
    }

    [Test]
    public void A_missing_file_an_empty_file_and_a_missing_option_say_what_to_do()
    {
        using RawFile missing = new(new RawFileOptions { Path = _folder.File("none") });
        Assert.That(() => missing.Open(BlockAccess.ReadWrite), Throws.TypeOf<BackendException>().With.Message.Contains("There is no such file"));
        File.WriteAllBytes(_folder.File("empty"), []);
        using RawFile empty = new(new RawFileOptions { Path = _folder.File("empty") });
        Assert.That(() => empty.Open(BlockAccess.ReadWrite), Throws.TypeOf<BackendException>().With.Message.Contains("create"));
        using RawFile nameless = new(new RawFileOptions());
        Assert.That(() => nameless.Open(BlockAccess.ReadWrite), Throws.TypeOf<BackendException>().With.Message.Contains("path"));
    }

    [Test]
    public void What_is_written_is_in_the_file_at_its_place()
    {
        byte[] bytes = Noise(8192);
        using (RawFile raw = Raw())
        {
            raw.Open(BlockAccess.ReadWrite);
            BlockDriver driver = new(raw);
            driver.Write(4096, bytes);
            driver.Flush();
        }

        Assert.That(File.ReadAllBytes(_folder.File("disk")).AsSpan(4096, 8192).SequenceEqual(bytes), Is.True);
    }

    [Test]
    public void Disks_over_one_base_are_apart_and_the_base_stays_as_it_is()
    {
        byte[] contents = Noise(64 << 10);
        File.WriteAllBytes(_folder.File("base"), contents);
        using CopyOnWrite one = Over("one");
        using CopyOnWrite two = Over("two");
        using CopyOnWrite unnamed = Over("");
        foreach (CopyOnWrite disk in new[] { one, two, unnamed })
            disk.Open(BlockAccess.ReadWrite);
        new BlockDriver(one).Write(0, Noise(512, seed: 1));
        new BlockDriver(unnamed).Write(0, Noise(512, seed: 2));
        Assert.That(new BlockDriver(two).Read(0, 64 << 10), Is.EqualTo(contents));
        Assert.That(new BlockDriver(one).Read(0, 1024), Is.EqualTo((byte[])[.. Noise(512, seed: 1), .. contents[512..1024]]));
        Assert.That(File.ReadAllBytes(_folder.File("base")), Is.EqualTo(contents));
        Assert.That(Directory.GetFiles(_folder.Root).Select(Path.GetFileName), Is.EquivalentTo(["base", "one", "two"]));
    }

    [Test]
    public void A_new_overlay_is_not_written_through_a_link_that_somebody_left()
    {
        File.WriteAllBytes(_folder.File("base"), Noise(64 << 10));
        File.WriteAllText(_folder.File("victim"), "kept");
        File.CreateSymbolicLink(_folder.File("overlay.new"), _folder.File("victim"));
        using CopyOnWrite disk = Over("overlay");
        Assert.Multiple(() =>
        {
            Assert.That(() => disk.Open(BlockAccess.ReadWrite), Throws.TypeOf<BackendException>());
            Assert.That(File.ReadAllText(_folder.File("victim")), Is.EqualTo("kept"));
        });
    }

    [Test]
    public void An_overlay_refuses_another_base_a_changed_base_and_damage()
    {
        File.WriteAllBytes(_folder.File("base"), Noise(64 << 10));
        using (CopyOnWrite first = Over("overlay"))
            first.Open(BlockAccess.ReadWrite);
        byte[] changed = Noise(64 << 10);
        changed[1080] ^= 1;
        File.WriteAllBytes(_folder.File("base"), changed);
        using CopyOnWrite second = Over("overlay");
        Assert.That(() => second.Open(BlockAccess.ReadWrite), Throws.TypeOf<BackendException>().With.Message.Contains("has been changed since"));
        File.WriteAllBytes(_folder.File("base"), Noise(64 << 10));
        byte[] overlay = File.ReadAllBytes(_folder.File("overlay"));
        overlay[30] ^= 1;
        File.WriteAllBytes(_folder.File("overlay"), overlay);
        using CopyOnWrite third = Over("overlay");
        Assert.That(() => third.Open(BlockAccess.ReadWrite), Throws.TypeOf<BackendException>().With.Message.Contains("damaged"));
        File.WriteAllBytes(_folder.File("overlay"), Noise(100));
        using CopyOnWrite fourth = Over("overlay");
        Assert.That(() => fourth.Open(BlockAccess.ReadWrite), Throws.TypeOf<BackendException>().With.Message.Contains("cut short"));
    }

    [Test]
    public void A_base_is_not_written_while_disks_are_over_it()
    {
        File.WriteAllBytes(_folder.File("base"), Noise(64 << 10));
        using CopyOnWrite disk = Over("overlay");
        disk.Open(BlockAccess.ReadWrite);
        using RawFile writer = new(new RawFileOptions { Path = _folder.File("base") });
        Assert.That(() => writer.Open(BlockAccess.ReadWrite), Throws.TypeOf<BackendException>());
    }

    [TestCase(512, 512, 4096)]
    [TestCase(4096, 4096, 16384)]
    public void A_block_device_says_what_its_sectors_are(int logical, int physical, int granularity)
    {
        File.WriteAllBytes(_folder.File("disk"), Noise(64 << 10));
        using RawFile raw = new(new RawFileOptions { Path = _folder.File("disk") }, () => (logical, physical, granularity));
        BlockGeometry geometry = raw.Open(BlockAccess.ReadWrite);
        Assert.That((geometry.SectorSize, geometry.PhysicalSectorSize, geometry.DiscardGranularity, geometry.Size), Is.EqualTo((logical, physical, granularity, 64L << 10)));
    }

    [Test]
    public void An_option_makes_sectors_smaller_than_the_devices_and_nothing_is_lost_by_it()
    {
        byte[] contents = Noise(64 << 10);
        File.WriteAllBytes(_folder.File("disk"), contents);
        using RawFile raw = new(new RawFileOptions { Path = _folder.File("disk"), SectorSize = 512 }, () => (4096, 4096, 4096));
        BlockGeometry geometry = raw.Open(BlockAccess.ReadWrite);
        Assert.That((geometry.SectorSize, geometry.PhysicalSectorSize), Is.EqualTo((512, 4096)));
        BlockDriver driver = new(raw);
        Assert.That(driver.Run(BlockOperation.Discard, 512, 1024), Is.EqualTo(BlockStatus.Ok), "less than a sector of the device");
        Assert.That(driver.Run(BlockOperation.Discard, 7680, 5120), Is.EqualTo(BlockStatus.Ok), "one sector of the device, and parts of two");
        Assert.That(driver.Run(BlockOperation.WriteZeroes, 20480 + 512, 512), Is.EqualTo(BlockStatus.Ok));
        contents.AsSpan(8192, 4096).Clear();
        contents.AsSpan(20480 + 512, 512).Clear();
        Assert.That(driver.Read(0, 64 << 10), Is.EqualTo(contents));
    }

    [TestCase(0, 8192, "sectors of 8192 bytes")]
    [TestCase(600, 512, "sectors of 600 bytes")]
    public void Sectors_that_cannot_be_are_refused(int option, int logical, string named)
    {
        File.WriteAllBytes(_folder.File("disk"), Noise(64 << 10));
        using RawFile raw = new(new RawFileOptions { Path = _folder.File("disk"), SectorSize = option }, () => (logical, logical, 0));
        Assert.That(() => raw.Open(BlockAccess.ReadWrite), Throws.TypeOf<BackendException>().With.Message.Contains(named).And.Message.Contains("sectorSize"));
    }

    [Test]
    public void A_loop_device_of_4096_byte_sectors_is_shown_as_one()
    {
        File.WriteAllBytes(_folder.File("disk"), Noise(1 << 20));
        if (!TryRun("losetup", out string device, "--show", "-f", "-b", "4096", _folder.File("disk")))
            Assert.Ignore("losetup cannot make a loop device here (no losetup, no root, or no /dev/loop-control).");
        try
        {
            using RawFile raw = new(new RawFileOptions { Path = device.Trim() });
            BlockGeometry geometry = raw.Open(BlockAccess.ReadWrite);
            Assert.That((geometry.SectorSize, geometry.Size), Is.EqualTo((4096, 1L << 20)));
            Assert.That(new BlockDriver(raw).Run(BlockOperation.Discard, 4096, 8192), Is.EqualTo(BlockStatus.Ok));
            using CopyOnWrite over = new(new CopyOnWriteOptions { Base = device.Trim() });
            Assert.That(() => over.Open(BlockAccess.ReadWrite), Throws.TypeOf<BackendException>(), "it is being written");
        }
        finally
        {
            _ = TryRun("losetup", out _, "-d", device.Trim());
        }
    }

    [Test]
    public void A_partial_last_sector_is_refused_with_the_cure()
    {
        string path = _folder.File("disk");
        File.WriteAllBytes(path, Noise((64 << 10) + 100));
        using (RawFile raw = Raw())
            Assert.That(() => raw.Open(BlockAccess.ReadWrite), Throws.TypeOf<BackendException>().With.Message.Contains("last 100 bytes").And.Message.Contains($"truncate -s %512 {path}"));
        File.WriteAllBytes(path, Noise(64 << 10));
        using RawFile grows = Raw();
        grows.Open(BlockAccess.ReadWrite);
        // Another program: a stream of this one would ask for the lock that the disk holds.
        Assert.That(TryRun("truncate", out _, "-s", $"{(64 << 10) + 700}", path), Is.True);
        Assert.That(grows.Grow, Throws.TypeOf<BackendException>().With.Message.Contains("last 188 bytes"));
    }

    [Test]
    public void What_a_base_has_beyond_its_last_whole_sector_is_there()
    {
        byte[] contents = Noise((64 << 10) + 100);
        File.WriteAllBytes(_folder.File("base"), contents);
        using CopyOnWrite disk = Over("overlay");
        Assert.That(disk.Open(BlockAccess.ReadWrite).Size, Is.EqualTo((64 << 10) + 512));
        BlockDriver driver = new(disk);
        Assert.That(driver.Read(64 << 10, 512), Is.EqualTo((byte[])[.. contents[(64 << 10)..], .. new byte[412]]));
        driver.Write(64 << 10, Noise(512, seed: 3));
        Assert.That(driver.Read(64 << 10, 512), Is.EqualTo(Noise(512, seed: 3)));
    }

    [TestCase("QFI\u00FB", "qcow2", "qemu-img convert -f qcow2 -O raw")]
    [TestCase("KDMV", "vmdk", "qemu-img convert -f vmdk")]
    [TestCase("vhdxfile", "vhdx", "qemu-img convert -f vhdx")]
    [TestCase("conectix", "vpc", "qemu-img convert -f vpc")]
    [TestCase("QED\0", "qed", "qemu-img convert -f qed")]
    [TestCase("<<< Oracle VM VirtualBox Disk Image >>>\n\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\u007F\u0010\u00DA\u00BE", "vdi", "qemu-img convert -f vdi")]
    [TestCase("\u00FD7zXZ\0", "packed with xz", "unxz -k")]
    [TestCase("\u001F\u008B", "packed with gzip", "gunzip -k")]
    public void A_disk_in_another_form_is_refused_with_the_cure_unless_one_insists(string beginning, string named, string cure)
    {
        byte[] contents = new byte[64 << 10];
        System.Text.Encoding.Latin1.GetBytes(beginning).CopyTo(contents, 0);
        foreach (string name in (string[])["disk", "base"])
            File.WriteAllBytes(_folder.File(name), contents);
        using (RawFile raw = Raw())
            Assert.That(() => raw.Open(BlockAccess.ReadWrite), Throws.TypeOf<BackendException>().With.Message.Contains(named).And.Message.Contains($"{cure} ").And.Message.Contains("option raw"));
        using (CopyOnWrite over = Over("overlay"))
            Assert.That(() => over.Open(BlockAccess.ReadWrite), Throws.TypeOf<BackendException>().With.Message.Contains(cure));
        using RawFile insists = new(new RawFileOptions { Path = _folder.File("disk"), Raw = true });
        Assert.That(insists.Open(BlockAccess.ReadWrite).Size, Is.EqualTo(64 << 10));
        using CopyOnWrite insistsToo = new(new CopyOnWriteOptions { Base = _folder.File("base"), Raw = true });
        Assert.That(insistsToo.Open(BlockAccess.ReadWrite).Size, Is.EqualTo(64 << 10));
    }

    private static bool TryRun(string program, out string output, params IEnumerable<string> arguments)
    {
        output = "";
        try
        {
            using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return process.ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }

    private static byte[] Noise(int length, int seed = 0)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private RawFile Raw() => new(new RawFileOptions { Path = _folder.File("disk"), Create = new ByteSize(1 << 20) });

    private CopyOnWrite Over(string overlay) => new(new CopyOnWriteOptions { Base = _folder.File("base"), Overlay = overlay.Length == 0 ? "" : _folder.File(overlay) });
}
