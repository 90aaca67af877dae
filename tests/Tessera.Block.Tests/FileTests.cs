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

    private static byte[] Noise(int length, int seed = 0)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private RawFile Raw() => new(new RawFileOptions { Path = _folder.File("disk"), Create = new ByteSize(1 << 20) });

    private CopyOnWrite Over(string overlay) => new(new CopyOnWriteOptions { Base = _folder.File("base"), Overlay = overlay.Length == 0 ? "" : _folder.File(overlay) });
}
