using System.Runtime.CompilerServices;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Memory;

namespace Tessera.Kernel.Memory;

/// <summary>
/// One domain's frames: exclusive type with its count, pinned mark and general references of each (paper, section 3.3.3). They are one
/// run of numbers, so that whose a frame is needs no looking up.
/// </summary>
/// <remarks>
/// Any thread. Type, pinned mark and type count share one word that only compare-and-swap changes: no locks, no allocation. 16 bytes a frame.
/// </remarks>
public sealed class FrameTable : IFrameTable
{
    private readonly Mfn _first;
    private readonly FrameState[] _states;
    private readonly IGuestMachine? _machine;
    private IFrameTypeWatcher? _watcher;

    /// <summary>A run of frames without type or reference.</summary>
    /// <param name="first">Its first frame.</param>
    /// <param name="frames">How many, at least 1.</param>
    /// <param name="machine">The machine whose CPUs reach them; null where none does.</param>
    public FrameTable(Mfn first, long frames, IGuestMachine? machine = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(frames, 1);
        (_first, _states, _machine) = (first, new FrameState[frames], machine);
    }

    /// <summary>Nothing is held on any frame, as it must be when the MMU has been released.</summary>
    /// <exception cref="InvalidOperationException">A type or reference is still held on one: a defect of the MMU plugin.</exception>
    public void RequireIdle()
    {
        for (long index = 0; index < _states.Length; index++)
        {
            ref FrameState state = ref _states[index];
            if (state is not { Word: 0, References: 0 })
            {
                throw new InvalidOperationException(
                    $"{_first + index} is still in use: type {FrameState.TypeIn(state.Word)} held {FrameState.CountIn(state.Word)} times, " +
                    $"{state.References} references. " +
                    "The MMU must be released before its frames are freed.");
            }
        }
    }

    /// <summary>Tells of type changes from now on; null ends it.</summary>
    internal void Watch(IFrameTypeWatcher? watcher) => Volatile.Write(ref _watcher, watcher);

    /// <inheritdoc/>
    public bool Has(Mfn frame) => (ulong)(frame.Value - _first.Value) < (ulong)_states.Length;

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
    public TypeReference TakeType(Mfn frame, FrameType type)
    {
        ref FrameState state = ref Find(frame);
        if (Unsafe.IsNullRef(ref state))
            return TypeReference.NotOwner;
        TypeReference reference = state.TakeType(type);
        if (reference == TypeReference.TakenFirst && type != FrameType.Writable)
            TypeChanged(frame, type);
        return reference;
    }

    /// <inheritdoc/>
    public bool DropType(Mfn frame)
    {
        ref FrameState state = ref Find(frame);
        if (Unsafe.IsNullRef(ref state))
            throw new InvalidOperationException($"{frame} is not the domain's, so no type is held on it.");
        // The type stays as it is while the reference that is given back is held.
        ulong word = Volatile.Read(ref state.Word);
        bool last = state.DropType(frame);
        if (last && FrameState.TypeIn(word) != FrameType.Writable)
            TypeChanged(frame, FrameType.None);
        return last;
    }

    /// <inheritdoc/>
    public bool TakeReference(Mfn frame)
    {
        ref FrameState state = ref Find(frame);
        if (Unsafe.IsNullRef(ref state))
            return false;
        _ = Interlocked.Increment(ref state.References);
        return true;
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

    /// <summary>The frames that are pinned, each with its type.</summary>
    public IEnumerable<(Mfn Frame, FrameType Type)> Pinned()
    {
        for (long index = 0; index < _states.Length; index++)
        {
            ulong word = Volatile.Read(ref _states[index].Word);
            if (FrameState.IsPinnedIn(word))
                yield return (_first + index, FrameState.TypeIn(word));
        }
    }

    /// <summary>
    /// A frame begins or ends to be a table (frames that leave the domain are held as one, too). A CPU that has not followed the latest
    /// changes could still write it, or take for entries what is written next: it has to follow before anybody goes on.
    /// </summary>
    private void TypeChanged(Mfn frame, FrameType type)
    {
        _machine?.Synchronize();
        Volatile.Read(ref _watcher)?.TypeChanged(frame, type);
    }

    // A guest can name any number: nothing here may throw or index outside.
    private ref FrameState Find(Mfn frame)
    {
        ulong index = (ulong)(frame.Value - _first.Value);
        if (index >= (ulong)_states.Length)
            return ref Unsafe.NullRef<FrameState>();
        return ref _states[index];
    }
}
