using System.Runtime.InteropServices;
using System.Text;
using FsCheck;
using FsCheck.Fluent;
using Tessera.Kernel.Console;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests.Console;

/// <summary>The console's backend against a guest played by the test: nothing is lost, nothing waits, no index hurts.</summary>
internal sealed unsafe class ConsoleTests
{
    private byte* _page;
    private DomainConsole _console = null!;
    private int _notified;
    private List<byte> _seen = [];

    [SetUp]
    public void Connect()
    {
        // SAFETY: the page lives until Disconnect, and every access below is inside it.
        _page = (byte*)NativeMemory.AllocZeroed(4096);
        (_notified, _seen) = (0, []);
        _console = new DomainConsole((nint)_page, () => _notified++) { Output = output => _seen.AddRange(output.Span) };
    }

    [TearDown]
    public void Disconnect()
    {
        _console.Close();
        NativeMemory.Free(_page);
    }

    [Test]
    public void Output_comes_whole_and_in_order_whatever_its_pieces()
    {
        byte[] text = new byte[200_000];
        new Random(1).NextBytes(text);
        Random sizes = new(2);
        for (int sent = 0; sent < text.Length;)
        {
            int count = Math.Min(sizes.Next(1, 2048), text.Length - sent);
            sent += Print(text.AsSpan(sent, count));
            _console.Notified();
        }

        Assert.That(_seen, Is.EqualTo(text));
        Assert.That(_console.BytesWritten, Is.EqualTo(text.Length));
        Assert.That(_console.Tail(int.MaxValue), Is.EqualTo(text[^DomainConsole.HistoryBytes..]));
    }

    [Test]
    public void A_full_ring_is_drained_and_the_guest_told()
    {
        Assert.That(Print(new byte[5000]), Is.EqualTo(ConsoleRing.OutSize));
        _console.Notified();
        Assert.That(Print(new byte[5000]), Is.EqualTo(ConsoleRing.OutSize));
        Assert.That(_notified, Is.EqualTo(1));
    }

    [Test]
    public void Readers_follow_at_their_own_pace_and_after_the_end()
    {
        long slow = 0;
        long quick = 0;
        byte[] buffer = new byte[100_000];
        Say("one\n");
        Assert.That(Encoding.ASCII.GetString(buffer, 0, _console.Read(ref quick, buffer)), Is.EqualTo("one\n"));
        Say("two\n");
        Assert.That(_console.Read(ref quick, buffer.AsSpan(0, 2)), Is.EqualTo(2));
        Assert.That(Encoding.ASCII.GetString(buffer, 0, _console.Read(ref quick, buffer)), Is.EqualTo("o\n"));
        Assert.That(_console.Read(ref quick, buffer), Is.Zero);
        for (int line = 0; line < 20000; line++)
            Say($"line {line}\n");
        _console.Close();
        Assert.That(_console.Read(ref slow, buffer), Is.EqualTo(DomainConsole.HistoryBytes), "what is kept");
        Assert.That(slow, Is.EqualTo(_console.BytesWritten));
        Assert.That(Encoding.ASCII.GetString(buffer, 0, DomainConsole.HistoryBytes), Does.EndWith("line 19999\n"));
        Assert.That(_console.TailLines(1), Is.EqualTo(new[] { "line 19999" }));
    }

    [Test]
    public void Input_follows_as_the_guest_reads()
    {
        byte[] typed = new byte[10_000];
        new Random(3).NextBytes(typed);
        Assert.That(_console.Write(typed), Is.EqualTo(typed.Length - ConsoleRing.InSize));
        List<byte> read = [];
        while (read.Count < typed.Length)
        {
            int before = read.Count;
            while (Word(ConsoleRing.InCons) != Word(ConsoleRing.InProd))
                read.Add(_page[ConsoleRing.In + (Word(ConsoleRing.InCons)++ & (ConsoleRing.InSize - 1))]);
            Assert.That(read, Has.Count.GreaterThan(before));
            _console.Notified();
        }

        Assert.That(read, Is.EqualTo(typed));
        _console.Close();
        Assert.That(_console.Write("late"u8), Is.Zero);
    }

    [Test]
    public void Any_index_is_survived_and_the_next_output_is_seen() =>
        Prop.ForAll(Arb.From(Gen.Choose(0, 3)), Arb.From(Gen.Choose(int.MinValue, int.MaxValue)), (index, value) =>
        {
            Word(ConsoleRing.InCons + (4 * index)) = (uint)value;
            _console.Notified();
            _ = _console.Write("x"u8);
            _console.Notified();
            _seen.Clear();
            Say("after");
            Assert.That(Encoding.ASCII.GetString([.. _seen]), Is.EqualTo("after"));
            Assert.That(Word(ConsoleRing.InProd) - Word(ConsoleRing.InCons), Is.LessThanOrEqualTo(ConsoleRing.InSize));
        }).QuickCheckThrowOnFailure();

    private ref uint Word(int offset) => ref *(uint*)(_page + offset);

    private void Say(string text)
    {
        Assert.That(Print(Encoding.ASCII.GetBytes(text)), Is.EqualTo(text.Length));
        _console.Notified();
    }

    /// <summary>Writes as much as the ring takes.</summary>
    private int Print(ReadOnlySpan<byte> text)
    {
        int count = 0;
        for (; count < text.Length && Word(ConsoleRing.OutProd) - Word(ConsoleRing.OutCons) < ConsoleRing.OutSize; count++)
            _page[ConsoleRing.Out + (Word(ConsoleRing.OutProd)++ & (ConsoleRing.OutSize - 1))] = text[count];
        return count;
    }
}
