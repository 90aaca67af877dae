using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Console;

/// <summary>
/// A domain's console: the ring of public/io/console.h and the console_io hypercall, both ways, with the last output kept. The guest
/// owns its ring indexes and may set them to anything: they are read once, reduced, and never trusted for a length.
/// </summary>
public sealed unsafe partial class DomainConsole
{
    /// <summary>Output that is kept.</summary>
    public const int HistoryBytes = 64 * 1024;

    /// <summary>
    /// Less output than this in the ring keeps no writer waiting, so that the guest need not hear that it was taken: an event for each
    /// line costs a guest more than the line.
    /// </summary>
    private const uint WorthAnEvent = ConsoleRing.OutSize / 8;

    private readonly Lock _gate = new();
    private byte[] _history = [];
    private readonly byte[] _scratch = new byte[ConsoleRing.OutSize];
    private readonly byte[] _shown = new byte[ConsoleRing.OutSize + ConsoleEcho.MostHeld];
    private readonly ConsoleEcho _echo = new();
    private readonly Queue<byte> _input = new();
    // SAFETY: the creator says that the page stays mapped until Close has returned; every access is inside its 4096 bytes and under the gate.
    private readonly byte* _page;
    private readonly Action _notifyGuest;
    private long _written;
    private bool _closed;

    /// <param name="page">Host address of the ring's page, mapped until <see cref="Close"/> has returned.</param>
    /// <param name="notifyGuest">Raises the guest's event channel.</param>
    internal DomainConsole(nint page, Action notifyGuest)
    {
        _page = (byte*)page;
        _notifyGuest = notifyGuest;
    }

    /// <summary>Called with each piece of output, on the guest's own physical CPU: take it and return.</summary>
    public Action<ReadOnlyMemory<byte>>? Output { get; set; }

    /// <summary>Bytes of output so far.</summary>
    public long BytesWritten => Interlocked.Read(ref _written);

    /// <summary>Bytes of input that the guest's ring has not taken.</summary>
    public int Queued
    {
        get
        {
            lock (_gate)
                return _closed ? 0 : _input.Count;
        }
    }

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

    /// <summary>
    /// Copies output from a position on, which moves behind what was copied: how any number of readers follow at their own pace, also after
    /// the domain's end. What is no longer kept is skipped.
    /// </summary>
    /// <param name="position">Bytes of output before what is wanted; 0 for the beginning.</param>
    /// <param name="destination">Where to.</param>
    /// <returns>Bytes copied; 0 when there is no more yet.</returns>
    public int Read(ref long position, Span<byte> destination)
    {
        lock (_gate)
        {
            position = Math.Clamp(position, Math.Max(0, _written - HistoryBytes), _written);
            int count = (int)Math.Min(destination.Length, _written - position);
            for (int index = 0; index < count; index++)
                destination[index] = _history[(position + index) % HistoryBytes];
            position += count;
            return count;
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

    /// <summary>Takes output that did not come by the ring; where it does as well, it is shown once.</summary>
    internal void Append(ReadOnlySpan<byte> output)
    {
        lock (_gate)
        {
            _echo.Said(output);
            Keep(output);
        }
    }

    private ref uint Index(int offset) => ref *(uint*)(_page + offset);

    /// <summary>Takes what waits; true when there was so much that the guest may wait for room.</summary>
    private bool DrainOutput()
    {
        // SAFETY: positions are reduced to the ring's size.
        byte* ring = _page + ConsoleRing.Out;
        uint produced = Volatile.Read(ref Index(ConsoleRing.OutProd));
        uint consumed = Volatile.Read(ref Index(ConsoleRing.OutCons));
        uint waiting = produced - consumed;
        if (waiting > ConsoleRing.OutSize)
        {
            // Nobody can say what of it is output. From here on it is again.
            Volatile.Write(ref Index(ConsoleRing.OutCons), produced);
            return true;
        }

        if (waiting == 0)
            return false;
        for (uint index = 0; index < waiting; index++)
            _scratch[index] = ring[(consumed + index) & (ConsoleRing.OutSize - 1)];
        Volatile.Write(ref Index(ConsoleRing.OutCons), produced);
        ReadOnlySpan<byte> output = _scratch.AsSpan(0, (int)waiting);
        if (!_echo.IsIdle)
            output = _shown.AsSpan(0, _echo.Filter(output, _shown));
        if (!output.IsEmpty)
            Keep(output);
        return waiting >= WorthAnEvent;
    }

    private bool FillInput()
    {
        // SAFETY: as in DrainOutput.
        byte* ring = _page + ConsoleRing.In;
        uint produced = Volatile.Read(ref Index(ConsoleRing.InProd));
        uint consumed = Volatile.Read(ref Index(ConsoleRing.InCons));
        if (produced - consumed > ConsoleRing.InSize)
            produced = consumed;
        uint room = ConsoleRing.InSize - (produced - consumed);
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
        if (_history.Length == 0)
            _history = new byte[HistoryBytes];
        foreach (byte value in output)
            _history[_written++ % HistoryBytes] = value;
        Output?.Invoke(output.ToArray());
    }
}
