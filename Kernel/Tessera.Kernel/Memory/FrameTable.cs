using System.Runtime.CompilerServices;
using Tessera.Sdk;
using Tessera.Sdk.Memory;

namespace Tessera.Kernel.Memory;

/// <summary>
/// The machine's frames: owner, exclusive type with its count, pinned mark and general references of each (paper, section 3.3.3).
/// Frames are handed out in runs aligned to 2 MiB of machine address; their states lie in one chunk of 512 for each 2 MiB.
/// </summary>
/// <remarks>
/// Any thread. Owner, type, pinned mark and type count share one word that only compare-and-swap changes, so everything but
/// <see cref="Allocate"/> and <see cref="Free"/> is free of locks and allocation. 16 bytes a frame.
/// </remarks>
public sealed class FrameTable : IFrameTable
{
    private const int ChunkShift = 9;
    private const int ChunkFrames = 1 << ChunkShift;

    private readonly Lock _gate = new();
    private readonly Dictionary<DomainId, List<Run>> _runs = [];
    private readonly long _limitFrames;
    private readonly long _firstChunk;
    private FrameState[]?[] _chunks;
    private IFrameTypeWatcher?[] _watchers = [];
    private long _assignedFrames;

    /// <summary>An empty machine.</summary>
    /// <param name="reservedFrames">Frames 0 up to here are never handed out (<see cref="Sdk.Cpu.EngineFacts.ReservedFrames"/>).</param>
    /// <param name="limitFrames">How many frames all domains together may hold.</param>
    public FrameTable(long reservedFrames, long limitFrames)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(reservedFrames);
        ArgumentOutOfRangeException.ThrowIfNegative(limitFrames);
        _limitFrames = limitFrames;
        _firstChunk = ChunksFor(reservedFrames);
        _chunks = new FrameState[_firstChunk + 16][];
    }

    /// <summary>How many frames all domains may hold together.</summary>
    public long LimitFrames => _limitFrames;

    /// <summary>How many frames all domains hold now.</summary>
    public long AssignedFrames => Interlocked.Read(ref _assignedFrames);

    /// <summary>Gives a domain a contiguous run of frames without type or reference, aligned to 512 frames.</summary>
    /// <param name="owner">The domain; not 0.</param>
    /// <param name="frames">How many, at least 1.</param>
    /// <returns>The run's first frame.</returns>
    /// <exception cref="OutOfFramesException">The machine's limit would be exceeded; nothing changed.</exception>
    public Mfn Allocate(DomainId owner, long frames)
    {
        ArgumentOutOfRangeException.ThrowIfZero(owner.Value);
        ArgumentOutOfRangeException.ThrowIfLessThan(frames, 1);
        lock (_gate)
        {
            if (frames > _limitFrames - _assignedFrames)
                throw new OutOfFramesException(owner, frames, _limitFrames, _assignedFrames);
            Run run = new(new Mfn(Reserve(ChunksFor(frames)) << ChunkShift), frames);
            for (long done = 0; done < frames; done += ChunkFrames)
            {
                FrameState[] chunk = new FrameState[ChunkFrames];
                chunk.AsSpan(0, (int)Math.Min(ChunkFrames, frames - done)).Fill(new FrameState(owner));
                Volatile.Write(ref _chunks[(run.First.Value + done) >> ChunkShift], chunk);
            }

            if (!_runs.TryGetValue(owner, out List<Run>? runs))
                _runs[owner] = runs = [];
            runs.Add(run);
            Interlocked.Add(ref _assignedFrames, frames);
            return run.First;
        }
    }

    /// <summary>Takes back every frame of a domain; its MMU must have been released.</summary>
    /// <exception cref="InvalidOperationException">A type or reference is still held on one of them: a defect of the MMU plugin. Nothing was freed.</exception>
    public void Free(DomainId owner)
    {
        lock (_gate)
        {
            if (!_runs.TryGetValue(owner, out List<Run>? runs))
                return;
            foreach (Run run in runs)
            {
                for (long offset = 0; offset < run.Frames; offset++)
                    RequireIdle(owner, run.First + offset);
            }

            foreach (Run run in runs)
            {
                for (long chunk = run.First.Value >> ChunkShift, end = chunk + ChunksFor(run.Frames); chunk < end; chunk++)
                {
                    // A thread may hold the chunk a moment longer: what it sees there has no owner.
                    foreach (ref FrameState state in _chunks[chunk].AsSpan())
                        Interlocked.Exchange(ref state.Word, 0);
                    Volatile.Write(ref _chunks[chunk], null);
                }

                Interlocked.Add(ref _assignedFrames, -run.Frames);
            }

            _runs.Remove(owner);
        }
    }

    /// <summary>
    /// Takes back every frame of a domain, whatever is held on it: for one that could write its own page tables and did, so that its
    /// accounts are worth nothing. All references to its frames are its own.
    /// </summary>
    public void Seize(DomainId owner)
    {
        lock (_gate)
        {
            foreach (Run run in _runs.GetValueOrDefault(owner, []))
            {
                for (long offset = 0; offset < run.Frames; offset++)
                {
                    ref FrameState state = ref Find(run.First + offset);
                    Interlocked.Exchange(ref state.Word, FrameState.Idle(owner));
                    Interlocked.Exchange(ref state.References, 0);
                }
            }
        }

        Free(owner);
    }

    /// <summary>Whether any frame belongs to this domain.</summary>
    internal bool HasFrames(DomainId domain)
    {
        lock (_gate)
            return _runs.ContainsKey(domain);
    }

    /// <summary>Tells of type changes of a domain's frames from now on; null ends it.</summary>
    internal void Watch(DomainId domain, IFrameTypeWatcher? watcher)
    {
        lock (_gate)
        {
            IFrameTypeWatcher?[] watchers = _watchers;
            Array.Resize(ref watchers, Math.Max(watchers.Length, domain.Value + 1));
            watchers[domain.Value] = watcher;
            Volatile.Write(ref _watchers, watchers);
        }
    }

    /// <inheritdoc/>
    public bool IsOwner(DomainId domain, Mfn frame)
    {
        ref FrameState state = ref Find(frame);
        return !Unsafe.IsNullRef(ref state) && FrameState.IsOwnedBy(Volatile.Read(ref state.Word), domain);
    }

    /// <inheritdoc/>
    public (FrameType Type, long Count) TypeOf(Mfn frame)
    {
        ref FrameState state = ref Find(frame);
        if (Unsafe.IsNullRef(ref state))
            return (FrameType.None, 0);
        ulong word = Volatile.Read(ref state.Word);
        return (FrameState.TypeIn(word), FrameState.CountIn(word));
    }

    /// <inheritdoc/>
    public TypeReference TakeType(DomainId domain, Mfn frame, FrameType type)
    {
        ref FrameState state = ref Find(frame);
        if (Unsafe.IsNullRef(ref state))
            return TypeReference.NotOwner;
        TypeReference reference = state.TakeType(domain, type);
        if (reference == TypeReference.TakenFirst && type != FrameType.Writable)
            WatcherOf(domain)?.TypeChanged(frame, type);
        return reference;
    }

    /// <inheritdoc/>
    public bool DropType(Mfn frame)
    {
        ref FrameState state = ref Find(frame);
        if (Unsafe.IsNullRef(ref state))
            throw new InvalidOperationException($"{frame} does not exist, so no type is held on it.");
        // Owner and type stay as they are while the reference that is given back is held.
        ulong word = Volatile.Read(ref state.Word);
        bool last = state.DropType(frame);
        if (last && FrameState.TypeIn(word) != FrameType.Writable)
            WatcherOf(FrameState.OwnerIn(word))?.TypeChanged(frame, FrameType.None);
        return last;
    }

    /// <inheritdoc/>
    public bool TakeReference(DomainId domain, Mfn frame)
    {
        ref FrameState state = ref Find(frame);
        return !Unsafe.IsNullRef(ref state) && state.TakeReference(domain);
    }

    /// <inheritdoc/>
    public void DropReference(Mfn frame)
    {
        ref FrameState state = ref Find(frame);
        if (Unsafe.IsNullRef(ref state) || Interlocked.Decrement(ref state.References) < 0)
            throw new InvalidOperationException($"{frame} has no reference to drop.");
    }

    /// <inheritdoc/>
    public long ReferencesOf(Mfn frame)
    {
        ref FrameState state = ref Find(frame);
        return Unsafe.IsNullRef(ref state) ? 0 : Volatile.Read(ref state.References);
    }

    /// <inheritdoc/>
    public bool SetPinned(Mfn frame, bool pinned)
    {
        ref FrameState state = ref Find(frame);
        return !Unsafe.IsNullRef(ref state) && state.SetPinned(pinned);
    }

    private IFrameTypeWatcher? WatcherOf(DomainId domain)
    {
        IFrameTypeWatcher?[] watchers = Volatile.Read(ref _watchers);
        return domain.Value < watchers.Length ? watchers[domain.Value] : null;
    }

    private static long ChunksFor(long frames) => (frames + ChunkFrames - 1) >> ChunkShift;

    // First fit; grows the chunk table when no gap is wide enough.
    private long Reserve(long count)
    {
        long start = _firstChunk;
        for (long chunk = start; chunk < _chunks.Length && chunk - start < count; chunk++)
        {
            if (_chunks[chunk] is not null)
                start = chunk + 1;
        }

        if (start + count > _chunks.Length)
        {
            FrameState[]?[] larger = new FrameState[Math.Max(start + count, _chunks.Length * 2L)][];
            Array.Copy(_chunks, larger, _chunks.Length);
            Volatile.Write(ref _chunks, larger);
        }

        return start;
    }

    private void RequireIdle(DomainId owner, Mfn frame)
    {
        ref FrameState state = ref Find(frame);
        ulong word = Volatile.Read(ref state.Word);
        long references = Volatile.Read(ref state.References);
        if (word != FrameState.Idle(owner) || references != 0)
        {
            throw new InvalidOperationException(
                $"{frame} of {owner} is still in use: type {FrameState.TypeIn(word)} held {FrameState.CountIn(word)} times, {references} references. " +
                "The MMU must be released before its frames are freed.");
        }
    }

    // A guest can name any number: nothing here may throw or index outside.
    private ref FrameState Find(Mfn frame)
    {
        FrameState[]?[] chunks = Volatile.Read(ref _chunks);
        ulong index = (ulong)frame.Value >> ChunkShift;
        if (index >= (ulong)chunks.Length || Volatile.Read(ref chunks[index]) is not { } chunk)
            return ref Unsafe.NullRef<FrameState>();
        return ref chunk[frame.Value & (ChunkFrames - 1)];
    }

    private readonly record struct Run(Mfn First, long Frames);
}

/// <summary>The machine has fewer free frames than asked for.</summary>
public sealed class OutOfFramesException : Exception
{
    /// <summary>Says who asked for how much, and what there is.</summary>
    public OutOfFramesException(DomainId owner, long asked, long limit, long assigned)
        : base($"{owner} asks for {asked} frames ({asked / 256.0:0.##} MiB), but of the machine's {limit} frames ({limit / 256.0:0.##} MiB) {assigned} are in use and " +
            $"{limit - assigned} are left. Give the machine more memory or the domains less.")
    {
    }
}
