using System.IO.Compression;
using System.Text;
using Tessera.GuestLibrary;

namespace Tessera.Cli.Tests.Guests;

[TestFixture]
internal sealed class GuestInitramfsTests
{
    private static readonly string[] Applets = ["sbin/init", "bin/sh", "bin/busybox", "bin/cttyhack"];

    private static readonly GuestModules Modules = new()
    {
        Release = "6.1.0-1-cloud-amd64",
        Files = new Dictionary<string, byte[]> { ["modules.dep"] = [1, 2], ["kernel/xen-blkfront.ko"] = [3] },
    };

    private static byte[] Built(IEnumerable<string> applets)
    {
        using MemoryStream stream = new();
        GuestInitramfs.Write(stream, "busybox program"u8, applets, Modules);
        return stream.ToArray();
    }

    private static List<CpioReader.Entry> Unpacked()
    {
        using GZipStream gzip = new(new MemoryStream(Built(Applets)), CompressionMode.Decompress);
        using MemoryStream plain = new();
        gzip.CopyTo(plain);
        return CpioReader.Read(plain.ToArray());
    }

    [Test]
    public void It_holds_what_the_first_process_needs()
    {
        List<CpioReader.Entry> entries = Unpacked();

        Assert.Multiple(() =>
        {
            Assert.That(entries.Single(e => e.Path == "init").Mode & 0x1ff, Is.EqualTo(0x1ed));
            Assert.That(entries.Single(e => e.Path == "dev/console").Minor, Is.EqualTo(1));
            Assert.That(Encoding.UTF8.GetString(entries.Single(e => e.Path == "bin/sh").Data), Is.EqualTo("/bin/busybox"));
            Assert.That(entries.Single(e => e.Path == "bin/busybox").Data, Is.EqualTo("busybox program"u8.ToArray()));
            Assert.That(entries.Select(e => e.Path), Is.SupersetOf(new[] { "proc", "sys", "dev", "tmp", "etc/inittab", "sbin/init" }));
            Assert.That(entries.Single(e => e.Path == "lib/modules/6.1.0-1-cloud-amd64/kernel/xen-blkfront.ko").Data, Is.EqualTo(new byte[] { 3 }));
            Assert.That(
                Encoding.ASCII.GetString(entries.Single(e => e.Path == "etc/modprobe.d/tessera.conf").Data),
                Is.EqualTo("options xen-blkfront max_indirect_segments=256\n"),
                "as many as blkback takes");
            Assert.That(entries.Single(e => e.Path == "etc/udhcpc/default.script").Mode & 0x1ff, Is.EqualTo(0x1ed), "what becomes of a lease");
            Assert.That(entries.Select(e => e.Path), Is.Unique);
        });
    }

    [Test]
    public void The_first_command_of_init_prints_the_first_line()
        => Assert.That(GuestInit.Script, Does.StartWith($"#!/bin/sh\necho '{GuestInit.FirstLine}'\n"));

    [Test]
    public void The_same_input_gives_the_same_bytes_in_whatever_order_it_comes()
        => Assert.That(Built(Applets), Is.EqualTo(Built(Applets.Reverse())));

    [Test]
    public void A_script_travels_as_one_word_of_the_command_line()
    {
        string word = GuestInit.ExecArgument("echo \"a b\" ; poweroff -f\n");

        Assert.That(word, Does.Not.Contain(" ").And.StartsWith("tessera.exec="));
        Assert.That(Encoding.UTF8.GetString(Convert.FromBase64String(word["tessera.exec=".Length..])), Is.EqualTo("echo \"a b\" ; poweroff -f\n"));
    }
}
