using System.Text;
using Tessera.Cli.Terminal;

namespace Tessera.Cli.Tests.Terminal;

internal sealed class InputPumpTests
{
    [Test]
    public void Piped_input_reaches_the_console_whole_and_its_end_ends_only_the_pump()
    {
        List<byte> got = [];
        using InputPump pump = new(new Script("echo hi\n", "\u001dpoweroff\n"), bytes => Take(got, bytes), onLeave: null);
        pump.Start();
        pump.Join();
        Assert.That(Encoding.UTF8.GetString([.. got]), Is.EqualTo("echo hi\n\u001dpoweroff\n"));
    }

    [Test]
    public void The_leave_key_leaves_after_what_was_typed_before_it()
    {
        List<byte> got = [];
        bool left = false;
        using InputPump pump = new(new Script("ab\u001dcd", "ef"), bytes => Take(got, bytes), () => left = true);
        pump.Start();
        pump.Join();
        Assert.Multiple(() =>
        {
            Assert.That(left, Is.True);
            Assert.That(Encoding.UTF8.GetString([.. got]), Is.EqualTo("ab"));
        });
    }

    [Test]
    public void The_pump_waits_while_the_guest_has_not_read()
    {
        int waiting = 0;
        int most = 0;
        using InputPump pump = new(new Script([.. Enumerable.Repeat(new string('x', 256), 40)]), bytes =>
        {
            // Each look finds that the guest has read a ring's worth.
            waiting = Math.Max(0, waiting - 1024) + bytes.Length;
            most = Math.Max(most, waiting);
            return waiting;
        }, onLeave: null);
        pump.Start();
        pump.Join();
        Assert.That(most, Is.LessThanOrEqualTo(1024 + 256));
    }

    [Test]
    public void A_pump_without_input_stops_when_told_to()
    {
        using InputPump pump = new(new Silence(), bytes => bytes.Length, onLeave: null);
        pump.Start();
        Assert.That(pump.Dispose, Throws.Nothing);
    }

    private static int Take(List<byte> got, ReadOnlySpan<byte> bytes)
    {
        got.AddRange(bytes);
        return 0;
    }

    private sealed class Script(params string[] pieces) : IInputSource
    {
        private readonly Queue<byte[]> _pieces = new(pieces.Select(Encoding.UTF8.GetBytes));

        public int Read(Span<byte> buffer, TimeSpan wait)
        {
            if (!_pieces.TryDequeue(out byte[]? piece))
                return 0;
            piece.CopyTo(buffer);
            return piece.Length;
        }
    }

    private sealed class Silence : IInputSource
    {
        public int Read(Span<byte> buffer, TimeSpan wait) => -1;
    }
}
