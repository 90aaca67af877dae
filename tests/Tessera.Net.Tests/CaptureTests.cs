using System.Buffers.Binary;
using System.ComponentModel;
using System.Diagnostics;
using Tessera.Plugins.Net.Capture;
using Tessera.Sdk.Devices;

namespace Tessera.Net.Tests;

/// <summary>What stands in a capture.</summary>
internal sealed class CaptureTests
{
    private string _file = "";

    [SetUp]
    public void Name() => _file = Path.Combine(Path.GetTempPath(), $"tessera-{Guid.NewGuid():n}.pcapng");

    [TearDown]
    public void Delete() => File.Delete(_file);

    [Test]
    public void Frames_of_both_directions_stand_in_it_in_order()
    {
        byte[] sent = Record(new CaptureOptions { Path = _file });
        byte[] file = File.ReadAllBytes(_file);
        List<(uint Type, int At)> blocks = Blocks(file);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(blocks.Select(block => block.Type), Is.EqualTo(new uint[] { 0x0A0D0D0A, 1, 6, 6, 5 }));
            int first = blocks[2].At;
            Assert.That(BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan(first + 24)), Is.EqualTo(sent.Length));
            Assert.That(file.AsSpan(first + 28, sent.Length).ToArray(), Is.EqualTo(sent));
            Assert.That(Flags(file, first), Is.EqualTo(2), "outbound");
            Assert.That(Flags(file, blocks[3].At), Is.EqualTo(1), "inbound");
            Assert.That(BinaryPrimitives.ReadInt64LittleEndian(file.AsSpan(blocks[4].At + 24)), Is.EqualTo(2), "seen");
            Assert.That(BinaryPrimitives.ReadInt64LittleEndian(file.AsSpan(blocks[4].At + 36)), Is.Zero, "lost");
        }
    }

    [Test]
    public void A_snap_length_cuts_what_is_kept_and_not_what_is_sent()
    {
        byte[] sent = Record(new CaptureOptions { Path = _file, SnapLength = 64 });
        byte[] file = File.ReadAllBytes(_file);
        int first = Blocks(file)[2].At;
        Assert.That((BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan(first + 20)), BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan(first + 24))), Is.EqualTo((64, sent.Length)));
    }

    [Test]
    public void Tshark_reads_it()
    {
        _ = Record(new CaptureOptions { Path = _file });
        Process process;
        try
        {
            process = Process.Start(new ProcessStartInfo("tshark", ["-r", _file, "-T", "fields", "-e", "frame.len"]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        }
        catch (Win32Exception)
        {
            Assert.Ignore("tshark is not installed here.");
            return;
        }

        using (process)
        {
            string output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            Assert.That((process.ExitCode, output.Split('\n', StringSplitOptions.RemoveEmptyEntries)), Is.EqualTo((0, (string[])["1003", "60"])));
        }
    }

    [Test]
    public void A_file_that_cannot_be_written_is_named()
    {
        using Capture capture = new(new CaptureOptions { Path = "/nowhere/at/all.pcapng" }, new TestScope().Port(), TimeProvider.System);
        Assert.That(() => new Station(capture, 1), Throws.TypeOf<BackendException>().With.Message.Contains("/nowhere/at/all.pcapng"));
    }

    private static byte[] Record(CaptureOptions options)
    {
        TestScope scope = new();
        using Station one = new(new Capture(options, scope.Port(), TimeProvider.System), 1);
        using Station two = new(scope.Port(), 2);
        byte[] sent = Station.Frame(two.Address, one.Address, payload: new byte[989]);
        sent.AsSpan(14).Fill(7);
        one.Send(sent);
        two.Send(Station.Frame(one.Address, two.Address));
        Assert.That((one.Got.Count, two.Got[0].Bytes.Length), Is.EqualTo((1, sent.Length)));
        return sent;
    }

    private static List<(uint Type, int At)> Blocks(byte[] file)
    {
        List<(uint, int)> blocks = [];
        for (int at = 0; at < file.Length;)
        {
            int length = BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan(at + 4));
            Assert.That((length % 4, BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan(at + length - 4))), Is.EqualTo((0, length)));
            blocks.Add((BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at)), at));
            at += length;
        }

        return blocks;
    }

    private static int Flags(byte[] file, int block) => BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan(block + BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan(block + 4)) - 12));
}
