using System.Diagnostics;
using Tessera.Sdk;
using Tessera.Sdk.Memory;

namespace Tessera.Kernel.Memory;

/// <summary>
/// A domain's frames that it does not have now: given back, or not granted yet. They keep their numbers, hold no host memory, and
/// nothing can map or use them.
/// </summary>
/// <remarks>Guarded by the domain's gate.</remarks>
internal sealed class Balloon(Lock gate, DomainMemory memory, FrameTable frames, GuestWrites writes)
{
    private readonly Stack<Mfn> _frames = new();
    private Mfn _emptied = Mfn.None;
    private long _emptiedCount;
    private long _released;

    /// <summary>How many frames are in it; any thread.</summary>
    public int Count => _frames.Count;

    /// <summary>
    /// Frames that the domain holds of the machine's and has not taken out yet: the rest of what a long call was granted.
    /// </summary>
    public long Granted { get; private set; }

    /// <summary>A domain that is being built starts with so many frames: those behind them are in the balloon.</summary>
    public void StartWith(long ramFrames)
    {
        for (long index = memory.RamFrames - 1; index >= ramFrames; index--)
        {
            Mfn frame = DomainMemory.First + index;
            _ = frames.TakeType(frame, FrameType.Descriptors);
            memory.SetPfn(frame, DomainMemory.InvalidPfn);
            _frames.Push(frame);
        }
    }

    /// <summary>What is in it, in the order in which it came.</summary>
    public IEnumerable<Mfn> Frames => _frames.Reverse();

    /// <summary>Puts a frame in that was in the balloon of the domain that this one goes on from.</summary>
    /// <returns>False when it is in use; nothing changed.</returns>
    public bool TryRestore(Mfn frame)
    {
        if (frames.TakeType(frame, FrameType.Descriptors) != TypeReference.TakenFirst)
            return false;
        memory.SetPfn(frame, DomainMemory.InvalidPfn);
        _frames.Push(frame);
        Empty(frame);
        return true;
    }

    /// <summary>A frame leaves the domain.</summary>
    /// <returns>False when it is none of the domain's memory, or in use; nothing changed.</returns>
    public bool TryGiveBack(Mfn frame)
    {
        Debug.Assert(gate.IsHeldByCurrentThread);
        if ((ulong)(frame.Value - DomainMemory.First.Value) >= (ulong)memory.RamFrames || frames.ReferencesOf(frame) != 0)
            return false;
        // The type reference makes sure that nothing maps or types the frame, and keeps it so while it is away. One that is away
        // already, or a descriptor table, has it.
        TypeReference reference = frames.TakeType(frame, FrameType.Descriptors);
        if (reference == TypeReference.Taken)
            _ = frames.DropType(frame);
        if (reference != TypeReference.TakenFirst)
            return false;
        _frames.Push(frame);
        _released++;
        memory.SetPfn(frame, DomainMemory.InvalidPfn);
        Empty(frame);
        return true;
    }

    /// <summary>So many frames were granted.</summary>
    public void Grant(long count)
    {
        Debug.Assert(gate.IsHeldByCurrentThread);
        Granted += count;
    }

    /// <summary>The frame that comes next; none when nothing is granted.</summary>
    public Mfn Next => Granted > 0 && _frames.TryPeek(out Mfn frame) ? frame : Mfn.None;

    /// <summary>The next frame comes into the domain, as a pseudo-physical one.</summary>
    public void TakeNext(ulong pfn)
    {
        Debug.Assert(gate.IsHeldByCurrentThread);
        Mfn frame = _frames.Pop();
        Granted--;
        _ = frames.DropType(frame);
        memory.SetPfn(frame, pfn);
    }

    /// <summary>
    /// A call is over: the host has the memory of what was given back, and what was granted beyond need is no longer held.
    /// </summary>
    /// <param name="keepsGrant">The call goes on later, with the rest of what was granted.</param>
    /// <returns>How many frames the domain holds no longer.</returns>
    public long Settle(bool keepsGrant)
    {
        Debug.Assert(gate.IsHeldByCurrentThread);
        DiscardRun();
        long unneeded = keepsGrant ? 0 : Granted;
        long released = _released + unneeded;
        (_released, Granted) = (0, Granted - unneeded);
        return released;
    }

    /// <summary>The domain is dead: nothing is held on the frames any more.</summary>
    public void Close()
    {
        foreach (Mfn frame in _frames)
            _ = frames.DropType(frame);
        _frames.Clear();
    }

    /// <summary>
    /// Empties a frame, together with its neighbours: balloon drivers give back runs, and each request to the host costs every machine
    /// of the process.
    /// </summary>
    private void Empty(Mfn frame)
    {
        if (_emptiedCount > 0 && frame == _emptied + _emptiedCount)
        {
            _emptiedCount++;
        }
        else if (_emptiedCount > 0 && frame + 1 == _emptied)
        {
            (_emptied, _emptiedCount) = (frame, _emptiedCount + 1);
        }
        else
        {
            DiscardRun();
            (_emptied, _emptiedCount) = (frame, 1);
        }
    }

    private void DiscardRun()
    {
        if (_emptiedCount > 0)
            writes.Discard(_emptied, _emptiedCount);
        _emptiedCount = 0;
    }
}
