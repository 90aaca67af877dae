using Tessera.Kernel.Memory;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Console;

/// <summary>
/// A domain's console: the ring of public/io/console.h and the console_io hypercall, both ways, with the last output kept. The guest
/// owns its ring indexes and may set them to anything: they are read once, reduced, and never trusted for a length.
/// </summary>
public sealed unsafe class DomainConsole
{
    /// <summary>Output that is kept.</summary>
    public const int HistoryBytes = 64 * 1024;

    /// <summary>
    /// Less output than this in the ring keeps no writer waiting, so that the guest need not hear that it was taken: an event for each
    /// line costs a guest more than the line.
    /// </summary>
    private const uint WorthAnEvent = ConsoleRing.OutSize / 8;

    private readonly Lock _gate = new();
    private readonly byte[] _history = new byte[HistoryBytes];
    private readonly byte[] _scratch = new byte[ConsoleRing.OutSize];
    private readonly Queue<byte> _input = new();
    private readonly DomainMemory _memory;
    private readonly Mfn _ring;
    private readonly Action _notifyGuest;
    private long _written;
    private bool _closed;

    internal DomainConsole(DomainMemory memory, Mfn ring, Action notifyGuest)
    {
        _memory = memory;
        _ring = ring;
        _notifyGuest = notifyGuest;
    }

    /// <summary>Called with each piece of output, on the guest's own physical CPU: take it and return.</summary>
    public Action<ReadOnlyMemory<byte>>? Output { get; set; }

    /// <summary>Bytes of output so far.</summary>
    public long BytesWritten => Interlocked.Read(ref _written);

    /// <summary>Queues input for the guest, which is told; what its ring cannot take follows as it reads. The caller bounds the queue by what is answered.</summary>
    /// <returns>Bytes still queued; 0 when the domain is gone.</returns>
    public int Write(ReadOnlySpan<byte> input)
    {
        int queued;
        lock (_gate)
        {
            if (_closed)
                return 0;
            foreach (byte value in input)
                _input.Enqueue(value);
            FillInput();
            queued = _input.Count;
        }

        _notifyGuest();
        return queued;
    }

    /// <summary>The last output, at most this many bytes.</summary>
    public byte[] Tail(int bytes)
    {
        lock (_gate)
        {
            int length = (int)Math.Min(Math.Min(bytes, HistoryBytes), _written);
            byte[] tail = new byte[length];
            for (int index = 0; index < length; index++)
                tail[index] = _history[(_written - length + index) % HistoryBytes];
            return tail;
        }
    }

    /// <summary>The last lines of output as text.</summary>
    public IReadOnlyList<string> TailLines(int lines)
    {
        string[] all = System.Text.Encoding.UTF8.GetString(Tail(HistoryBytes)).Replace("\r", "", StringComparison.Ordinal).TrimEnd('\n').Split('\n');
        return all.Length <= lines ? all : all[^lines..];
    }

    /// <summary>The guest said the ring has news: drains output, refills input, and answers when either gave it something.</summary>
    internal void Notified()
    {
        bool news;
        lock (_gate)
        {
            if (_closed)
                return;
            news = DrainOutput();
            news |= FillInput();
        }

        if (news)
            _notifyGuest();
    }

    /// <summary>Takes what the guest left in the ring: it ended, and says no more.</summary>
    internal void TakeLastWords()
    {
        lock (_gate)
        {
            if (!_closed)
                _ = DrainOutput();
        }
    }

    /// <summary>The ring's memory goes away: nothing touches it after this.</summary>
    internal void Close()
    {
        lock (_gate)
            _closed = true;
    }

    /// <summary>Takes output that did not come by the ring.</summary>
    internal void Append(ReadOnlySpan<byte> output)
    {
        lock (_gate)
            Keep(output);
    }

    private ref uint Index(int offset) => ref *(uint*)(_memory.At(_ring.Address) + offset);

    /// <summary>Takes what waits; true when there was so much that the guest may wait for room.</summary>
    private bool DrainOutput()
    {
        // SAFETY: the ring frame is the domain's own; positions are reduced to the ring's size.
        byte* ring = _memory.At(_ring.Address) + ConsoleRing.Out;
        uint produced = Volatile.Read(ref Index(ConsoleRing.OutProd));
        uint consumed = Volatile.Read(ref Index(ConsoleRing.OutCons));
        uint waiting = produced - consumed;
        if (waiting == 0 || waiting > ConsoleRing.OutSize)
            return false;
        for (uint index = 0; index < waiting; index++)
            _scratch[index] = ring[(consumed + index) & (ConsoleRing.OutSize - 1)];
        Volatile.Write(ref Index(ConsoleRing.OutCons), produced);
        Keep(_scratch.AsSpan(0, (int)waiting));
        return waiting >= WorthAnEvent;
    }

    private bool FillInput()
    {
        // SAFETY: as in DrainOutput.
        byte* ring = _memory.At(_ring.Address) + ConsoleRing.In;
        uint produced = Volatile.Read(ref Index(ConsoleRing.InProd));
        uint room = ConsoleRing.InSize - (produced - Volatile.Read(ref Index(ConsoleRing.InCons)));
        if (room > ConsoleRing.InSize)
            return false;
        bool any = false;
        while (room-- > 0 && _input.TryDequeue(out byte value))
        {
            ring[produced++ & (ConsoleRing.InSize - 1)] = value;
            any = true;
        }

        if (any)
            Volatile.Write(ref Index(ConsoleRing.InProd), produced);
        return any;
    }

    private void Keep(ReadOnlySpan<byte> output)
    {
        foreach (byte value in output)
            _history[_written++ % HistoryBytes] = value;
        Output?.Invoke(output.ToArray());
    }
}
