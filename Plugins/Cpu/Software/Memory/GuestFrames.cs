using Tessera.Sdk;
using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Software.Memory;

/// <summary>
/// A machine's memory by machine address, and what each frame is to the engine: a page table that was walked, code that was translated.
/// </summary>
internal sealed unsafe class GuestFrames
{
    // SAFETY: regions are the machine's own and foreign frames shown to it, alive as long as they are listed here (the contract of IGuestMachine and IShowsForeignFrames).
    private readonly MemoryRegion[] _regions;
    private readonly Dictionary<long, nint> _foreign = [];
    private readonly byte[] _kinds;
    private readonly ulong _mainStart;
    private readonly ulong _mainBytes;
    private readonly byte* _mainHost;

    public GuestFrames(IReadOnlyList<MemoryRegion> regions)
    {
        _regions = [.. regions];
        MemoryRegion main = _regions.MaxBy(region => region.Frames);
        _mainStart = main.First.Address;
        _mainBytes = (ulong)main.Frames << 12;
        _mainHost = (byte*)main.HostAddress;
        _kinds = new byte[_regions.Length == 0 ? 0 : _regions.Max(region => region.First.Value + region.Frames)];
    }

    [Flags]
    private enum Kind : byte
    {
        /// <summary>Walked as a table of level 2 or above.</summary>
        UpperTable = 1,

        /// <summary>Holds translated code.</summary>
        Code = 2,

        /// <summary>A TLB has let it be written since it last came to hold code.</summary>
        Written = 4,

        /// <summary>Its code has run in the kernel's half of the address space.</summary>
        UpperCode = 8,

        /// <summary>Guest code may have written it since the log was last taken.</summary>
        Dirty = 16,
    }

    /// <summary>Where a machine address lies in this process; null for what the machine does not have.</summary>
    public byte* At(ulong address)
    {
        ulong offset = address - _mainStart;
        return offset < _mainBytes ? _mainHost + offset : Elsewhere(address, out _);
    }

    /// <summary>The same, and whether the guest may ever write there.</summary>
    public byte* At(ulong address, out bool writable)
    {
        ulong offset = address - _mainStart;
        writable = true;
        return offset < _mainBytes ? _mainHost + offset : Elsewhere(address, out writable);
    }

    /// <summary>Whether the frame is this domain's: what is written in it is told.</summary>
    public bool IsOwn(ulong address)
    {
        if (address - _mainStart < _mainBytes)
            return true;
        foreach (ref readonly MemoryRegion region in _regions.AsSpan())
        {
            if ((ulong)((long)(address >> 12) - region.First.Value) < (ulong)region.Frames)
                return true;
        }

        return false;
    }

    public bool HoldsCode(ulong address) => Has(address, Kind.Code);

    public void MarkCode(ulong address) => Mark(address, Kind.Code);

    public void ClearCode(ulong address) => Clear(address, Kind.Code | Kind.UpperCode);

    /// <summary>Whether a frame's code may have run in the kernel's half of the address space.</summary>
    public bool HoldsUpperCode(ulong address) => Has(address, Kind.UpperCode);

    /// <summary>Notes that code of a frame is about to run at an address.</summary>
    public void MarkRun(ulong address, ulong rip)
    {
        if ((long)rip < 0)
            Mark(address, Kind.UpperCode);
    }

    /// <summary>Notes that a TLB lets a frame be written.</summary>
    public void MarkWritten(ulong address) => Mark(address, Kind.Written | Kind.Dirty);

    /// <summary>Notes that a walk has set bits in a table.</summary>
    public void MarkDirty(ulong address) => Mark(address, Kind.Dirty);

    /// <summary>Begins the log of written frames anew.</summary>
    public void ClearDirty()
    {
        foreach (ref byte kind in _kinds.AsSpan())
            kind &= (byte)~Kind.Dirty;
    }

    /// <summary>Says which frames of a region are dirty, and clears that.</summary>
    public void TakeDirty(Mfn first, Span<ulong> bitmap)
    {
        MemoryRegion region = Array.Find(_regions, region => region.First == first && !region.IsReadOnly);
        if (region.Frames == 0 || bitmap.Length * 64L < region.Frames)
            throw new ArgumentException($"{first} does not begin a region of at most {bitmap.Length * 64L} frames that can be written.", nameof(first));
        bitmap.Clear();
        Span<byte> kinds = _kinds.AsSpan((int)first.Value, (int)region.Frames);
        for (int frame = 0; frame < kinds.Length; frame++)
        {
            if ((kinds[frame] & (byte)Kind.Dirty) == 0)
                continue;
            kinds[frame] &= (byte)~Kind.Dirty;
            bitmap[frame / 64] |= 1UL << (frame % 64);
        }
    }

    /// <summary>Whether a TLB may let a frame be written; the caller makes sure that none does any more.</summary>
    public bool TakeWritten(ulong address)
    {
        bool was = Has(address, Kind.Written);
        Clear(address, Kind.Written);
        return was;
    }

    public bool IsUpperTable(ulong address) => Has(address, Kind.UpperTable);

    public void MarkUpperTable(ulong address) => Mark(address, Kind.UpperTable);

    public void ClearUpperTable(ulong address) => Clear(address, Kind.UpperTable);

    /// <summary>Forgets all code.</summary>
    public void ClearAllCode()
    {
        foreach (ref byte kind in _kinds.AsSpan())
            kind &= (byte)~(Kind.Code | Kind.UpperCode);
    }

    /// <summary>Adds a frame of another domain.</summary>
    public bool TryShow(MemoryRegion region) => _foreign.TryAdd(region.First.Value, region.HostAddress | (region.IsReadOnly ? 1 : 0));

    /// <summary>Takes it away.</summary>
    public void Hide(Mfn frame) => _foreign.Remove(frame.Value);

    private byte* Elsewhere(ulong address, out bool writable)
    {
        long frame = (long)(address >> 12);
        foreach (ref readonly MemoryRegion region in _regions.AsSpan())
        {
            if ((ulong)(frame - region.First.Value) < (ulong)region.Frames)
            {
                writable = !region.IsReadOnly;
                return (byte*)region.HostAddress + ((frame - region.First.Value) << 12) + (address & 4095);
            }
        }

        if (_foreign.TryGetValue(frame, out nint host))
        {
            writable = (host & 1) == 0;
            return (byte*)(host & ~4095) + (address & 4095);
        }

        writable = false;
        return null;
    }

    // Frames of other domains are not counted here: nothing there is code or a table of this one.
    private bool Has(ulong address, Kind kind) => address >> 12 < (ulong)_kinds.Length && (_kinds[address >> 12] & (byte)kind) != 0;

    private void Mark(ulong address, Kind kind)
    {
        if (address >> 12 < (ulong)_kinds.Length)
            _kinds[address >> 12] |= (byte)kind;
    }

    private void Clear(ulong address, Kind kind)
    {
        if (address >> 12 < (ulong)_kinds.Length)
            _kinds[address >> 12] &= (byte)~kind;
    }
}
