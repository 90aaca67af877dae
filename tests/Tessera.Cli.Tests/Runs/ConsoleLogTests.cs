using System.Text;
using Tessera.Experiments.Runs;

namespace Tessera.Cli.Tests.Runs;

internal sealed class ConsoleLogTests
{
    private long _now;

    [TestCase("[    0.000000] Linux version 6.1\n")]
    [TestCase("(early) [    0.000000] Linux version 6.1\n")]
    [TestCase("mapping kernel into physical memory\nabout to get started...\n")]
    [TestCase("\r\n\n")]
    [TestCase("no line yet")]
    public void What_the_kernel_says_is_no_user_space(string output)
    {
        ConsoleLog log = Log();
        Say(log, output);
        Assert.That(log.FirstUserLine, Is.Null);
    }

    [Test]
    public void The_first_line_of_user_space_is_dated_once()
    {
        ConsoleLog log = Log();
        Say(log, "[    0.1] kernel\r\ntess");
        _now = 5;
        Say(log, "era: up\r\n");
        _now = 9;
        Say(log, "more\n");
        Assert.That(log.FirstUserLine, Is.EqualTo(5));
    }

    [Test]
    public void The_tail_has_the_last_twenty_lines_without_control_characters()
    {
        ConsoleLog log = Log();
        for (int line = 0; line < 30; line++)
            Say(log, $"\u001b[1;32mline {line}\u001b[0m\r\n");
        Say(log, "/ # \u001b[6n");
        IReadOnlyList<string> tail = log.Tail();
        Assert.Multiple(() =>
        {
            Assert.That(tail, Has.Count.EqualTo(20));
            Assert.That(tail[0], Is.EqualTo("line 11"));
            Assert.That(tail[^1], Is.EqualTo("/ #"));
        });
    }

    [Test]
    public void An_endless_line_takes_no_endless_memory()
    {
        ConsoleLog log = Log();
        for (int piece = 0; piece < 100; piece++)
            Say(log, new string('x', 1000));
        Assert.That(log.Tail()[0], Has.Length.EqualTo(1024));
    }

    [Test]
    public void The_file_gets_every_byte_as_it_came()
    {
        ConsoleLog log = Log();
        log.Record(Limit);
        using MemoryStream file = new();
        Say(log, "\u001b[1ma\r\n");
        log.Drain(file);
        Say(log, "b");
        log.Drain(file);
        log.Drain(file);
        Assert.That(Encoding.UTF8.GetString(file.ToArray()), Is.EqualTo("\u001b[1ma\r\nb"));
    }

    [Test]
    public void Output_faster_than_the_disk_is_lost_and_said_to_be()
    {
        ConsoleLog log = Log();
        log.Record(Limit);
        for (int piece = 0; piece < 50; piece++)
            Say(log, new string('y', 100_000));
        using MemoryStream file = new();
        log.Drain(file);
        Assert.Multiple(() =>
        {
            Assert.That(file.Length, Is.LessThan(5_000_000));
            Assert.That(Encoding.UTF8.GetString(file.ToArray()), Does.Contain($"{5_000_000 - (4 << 20)} bytes"));
        });
    }

    [Test]
    public void The_file_of_a_guest_that_writes_without_end_has_a_limit_and_says_so()
    {
        ConsoleLog log = Log();
        log.Record(1000);
        using MemoryStream file = new();
        for (int piece = 0; piece < 50; piece++)
        {
            Say(log, new string('y', 300));
            log.Drain(file);
        }

        string text = Encoding.UTF8.GetString(file.ToArray());
        Assert.That((text.Count(c => c == 'y'), text.Split("machine.consoleLimit").Length), Is.EqualTo((1000 + "bytes".Count(c => c == 'y'), 2)));
        Assert.That(log.Problem, Does.Contain("1000 bytes").And.Contains("14000 bytes of output are lost"));
    }

    [Test]
    public void A_file_that_cannot_be_written_ends_its_recording_and_nothing_else()
    {
        ConsoleLog log = Log();
        log.Record(Limit);
        using FullDisk file = new();
        for (int piece = 0; piece < 3; piece++)
        {
            Say(log, "0123456789");
            log.Drain(file);
        }

        Assert.That(file.Attempts, Is.EqualTo(1));
        Assert.That(log.Problem, Does.Contain("No space left on device").And.Contains("30 bytes"));
        Assert.That(log.Tail()[0], Is.EqualTo("012345678901234567890123456789"));
    }

    private const long Limit = 64 << 20;

    private sealed class FullDisk : MemoryStream
    {
        public int Attempts { get; private set; }

        public override void Write(ReadOnlySpan<byte> buffer)
        {
            Attempts++;
            throw new IOException("No space left on device");
        }
    }

    private static void Say(ConsoleLog log, string text) => log.Append(Encoding.UTF8.GetBytes(text));

    private ConsoleLog Log() => new("test", () => _now);
}
