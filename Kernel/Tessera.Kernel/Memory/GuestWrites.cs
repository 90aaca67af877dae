using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Memory;

namespace Tessera.Kernel.Memory;

/// <summary>
/// The one door through which the VMM writes a domain's memory (docs/security.md lists who uses it): the frame holds the type <see cref="FrameType.Writable"/> meanwhile, so
/// that it is no page or descriptor table, and an engine that keeps track of memory is told. Any thread.
/// </summary>
internal sealed unsafe class GuestWrites(FrameTable frames, DomainMemory memory, ITracksWrites? tracker)
{
    // SAFETY: every pointer is to a frame of the domain that is held as writable when it is given out; who keeps one lets go of it before the domain's memory goes.
    private ITracksWrites? _tracker = tracker;

    /// <summary>Who is told of writes.</summary>
    public ITracksWrites? Tracker
    {
        get => Volatile.Read(ref _tracker);
        set => Volatile.Write(ref _tracker, value);
    }

    /// <summary>Writes bytes inside one frame.</summary>
    /// <returns>False when the frame is not the domain's, or is a table; nothing was written.</returns>
    public bool TryWrite(ulong machineAddress, ReadOnlySpan<byte> bytes)
    {
        Mfn frame = new((long)(machineAddress >> 12));
        int offset = (int)(machineAddress & 4095);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(bytes.Length, 4096 - offset);
        if (!TryHold(frame))
            return false;
        bytes.CopyTo(new Span<byte>(memory.PageForWriting(frame) + offset, bytes.Length));
        Tracker?.MemoryWritten(frame);
        _ = frames.DropType(frame);
        return true;
    }

    /// <summary>Begins writes that may come at any time until <see cref="End"/>. Calls nest.</summary>
    /// <returns>False when the frame is not the domain's, or is a table.</returns>
    public bool TryBegin(Mfn frame)
    {
        if (!TryHold(frame))
            return false;
        Tracker?.WritesBegin(frame);
        return true;
    }

    /// <summary>Ends what one <see cref="TryBegin"/> began.</summary>
    /// <exception cref="InvalidOperationException">Nothing was begun.</exception>
    public void End(Mfn frame)
    {
        Tracker?.WritesEnd(frame);
        _ = frames.DropType(frame);
    }

    /// <summary>The first byte of a frame between <see cref="TryBegin"/> and <see cref="End"/>.</summary>
    /// <exception cref="InvalidOperationException">The frame is not held as writable.</exception>
    public byte* Page(Mfn frame)
    {
        byte* page = memory.PageForWriting(frame);
        return frames.TypeOf(frame).Type == FrameType.Writable ? page : throw new InvalidOperationException($"{frame} is not held as writable.");
    }

    /// <summary>Empties consecutive frames that left the domain: they read as zero and take no host memory.</summary>
    public void Discard(Mfn first, long count)
    {
        memory.Discard(first, count);
        for (long index = 0; index < count; index++)
            Tracker?.MemoryWritten(first + index);
    }

    /// <summary>A frame that the MMU holds was written by it, not as a page table.</summary>
    public void Written(Mfn frame) => Tracker?.MemoryWritten(frame);

    /// <summary>The engine's machine goes: nobody is told any more.</summary>
    public void Close() => Tracker = null;

    private bool TryHold(Mfn frame) => frames.TakeType(frame, FrameType.Writable) is TypeReference.Taken or TypeReference.TakenFirst;
}
