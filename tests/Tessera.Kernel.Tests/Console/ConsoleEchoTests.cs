using System.Text;
using Tessera.Kernel.Console;

namespace Tessera.Kernel.Tests.Console;

/// <summary>What a guest writes to both of Xen's consoles is shown once, and nothing that it wrote is missing.</summary>
internal sealed class ConsoleEchoTests
{
    [Test]
    public void A_line_that_comes_both_ways_is_shown_once() =>
        Assert.That(Show("!--- Test\n", ".--- Test\n", "!Result: ", ".Result: ", "!good\n", ".good\n", ".only here\n", "!only there\n"), Is.EqualTo("--- Test\nResult: good\nonly here\nonly there\n"));

    [Test]
    public void Linuxs_early_lines_are_shown_once() =>
        Assert.That(Show("![0.0] Linux\n[0.1] Xen\n", ".(early) [0.0] Linux\r\n(early) [0.1] Xen\r\n", ".(early) alone\n"), Is.EqualTo("[0.0] Linux\n[0.1] Xen\n(early) alone\n"));

    [Test]
    public void What_only_begins_alike_is_shown_whole() =>
        Assert.That(Show("!# make all\n", ".# make", ". clean\n"), Is.EqualTo("# make all\n# make clean\n"));

    [Test]
    public void The_same_line_by_the_ring_again_is_another_line() =>
        Assert.That(Show("!tick\n", ".tick\ntick\n"), Is.EqualTo("tick\ntick\n"));

    [Test]
    public void A_line_too_long_to_remember_is_shown_both_times()
    {
        string line = new string('x', 300) + "\n";
        Assert.That(Show("!" + line, "." + line), Is.EqualTo(line + line));
    }

    /// <summary>Whatever comes in whatever pieces, all of the ring's lines are there, in their order, but for those that were shown before.</summary>
    [Test]
    public void Nothing_is_lost_and_nothing_made_up()
    {
        Random random = new(5);
        for (int round = 0; round < 2_000; round++)
        {
            List<string> pieces = [];
            StringBuilder ring = new();
            StringBuilder other = new();
            for (int count = random.Next(30); count > 0; count--)
            {
                string piece = string.Concat(Enumerable.Range(0, random.Next(1, 6)).Select(_ => "ab\n(\r"[random.Next(5)]));
                bool isRing = random.Next(2) == 0;
                pieces.Add((isRing ? "." : "!") + piece);
                _ = (isRing ? ring : other).Append(piece);
            }

            pieces.Add(".zzz\n");
            string shown = Show([.. pieces]);
            int missing = ring.Length + other.Length + 4 - shown.Length;
            Assert.That(missing, Is.InRange(0, ring.Length), $"{string.Join('|', pieces)} gave {shown}");
            Assert.That(shown, Does.EndWith("zzz\n"));
        }
    }

    /// <summary>What a reader sees: pieces that begin with ! come by console_io, those with . by the ring.</summary>
    private static string Show(params string[] pieces)
    {
        ConsoleEcho echo = new();
        StringBuilder shown = new();
        foreach (string piece in pieces)
        {
            byte[] bytes = Encoding.ASCII.GetBytes(piece[1..]);
            if (piece[0] == '!')
            {
                echo.Said(bytes);
                _ = shown.Append(piece[1..]);
                continue;
            }

            byte[] room = new byte[bytes.Length + ConsoleEcho.MostHeld];
            _ = shown.Append(Encoding.ASCII.GetString(room, 0, echo.Filter(bytes, room)));
        }

        return shown.ToString();
    }
}
