using Tessera.Sdk;
using Tessera.Sdk.Cpu;

namespace Tessera.Kernel.Memory;

/// <summary>
/// Which frames of a domain were written since the log was last taken: by its own code, as the engine finds, by the MMU, and by the VMM
/// through <see cref="GuestWrites"/>. For copying its memory while it runs. Without a log nothing of this is there.
/// </summary>
/// <remarks>Writes are noted by any thread. Begun, taken and ended by one thread, while no vCPU of the domain is in guest code.</remarks>
internal sealed class DirtyLog : ITracksWrites, IDisposable
{
    private readonly DomainMemory _memory;
    private readonly GuestWrites _writes;
    private readonly MmuHost _mmuHost;
    private readonly ILogsDirtyFrames _engine;
    private readonly ITracksWrites? _tracker;
    private readonly Func<IEnumerable<Mfn>> _open;
    private readonly ulong[] _byVmm;

    /// <summary>Begins a log, empty but for the frames that are open.</summary>
    /// <param name="memory">The domain's memory.</param>
    /// <param name="writes">The door to it.</param>
    /// <param name="mmuHost">Where its MMU writes.</param>
    /// <param name="engine">Its machine.</param>
    /// <param name="open">Frames that somebody may be writing now without a word: every one that <see cref="GuestWrites.TryBegin"/> was called for.</param>
    public DirtyLog(DomainMemory memory, GuestWrites writes, MmuHost mmuHost, ILogsDirtyFrames engine, Func<IEnumerable<Mfn>> open)
    {
        (_memory, _writes, _mmuHost, _engine, _open) = (memory, writes, mmuHost, engine, open);
        _byVmm = new ulong[Elements];
        _tracker = writes.Tracker;
        engine.StartLog();
        writes.Tracker = this;
        mmuHost.Log = this;
    }

    /// <summary>How long a bitmap is, in elements of 64 frames.</summary>
    public int Elements => (int)((_memory.Region.Frames + 63) / 64);

    /// <summary>Takes the log.</summary>
    /// <param name="bitmap"><see cref="Elements"/> long; overwritten: bit n % 64 of element n / 64 is the domain's frame n.</param>
    public void Take(Span<ulong> bitmap)
    {
        // What is open stays open until it is noted by its end, so that it is in this log or in the next.
        IEnumerable<Mfn> open = _open();
        _engine.TakeLog(DomainMemory.First, bitmap);
        for (int element = 0; element < _byVmm.Length; element++)
            bitmap[element] |= Interlocked.Exchange(ref _byVmm[element], 0);
        foreach (Mfn frame in open)
            bitmap[Element(frame)] |= Bit(frame);
        // Behind the domain's frames lie the VMM's.
        int last = (int)_memory.TotalFrames / 64;
        bitmap[last] &= (1UL << ((int)_memory.TotalFrames % 64)) - 1;
        bitmap[(last + 1)..].Clear();
    }

    /// <inheritdoc/>
    public void MemoryWritten(Mfn frame)
    {
        Note(frame);
        _tracker?.MemoryWritten(frame);
    }

    /// <inheritdoc/>
    public void WritesBegin(Mfn frame) => _tracker?.WritesBegin(frame);

    /// <inheritdoc/>
    public void WritesEnd(Mfn frame)
    {
        Note(frame);
        _tracker?.WritesEnd(frame);
    }

    /// <summary>The MMU has changed a page-table entry.</summary>
    public void EntryWritten(ulong entryAddress) => Note(new Mfn((long)(entryAddress >> 12)));

    /// <summary>Ends it, if its domain has not ended before.</summary>
    public void Dispose()
    {
        if (_writes.Tracker != this)
            return;
        _mmuHost.Log = null;
        _writes.Tracker = _tracker;
        _engine.StopLog();
    }

    private void Note(Mfn frame) => Interlocked.Or(ref _byVmm[Element(frame)], Bit(frame));

    private static int Element(Mfn frame) => (int)((frame.Value - DomainMemory.First.Value) / 64);

    private static ulong Bit(Mfn frame) => 1UL << (int)((frame.Value - DomainMemory.First.Value) % 64);
}
