using Tessera.Kernel.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Grants;

/// <summary>
/// A domain's grant table as it lies in memory that the guest writes too, whenever it likes: each field is read once, flags change by atomic
/// operations, and nothing read here is believed twice.
/// </summary>
internal sealed unsafe class GrantEntries(DomainMemory memory, GuestWrites writes)
{
    private const int PageBytes = 4096;
    private const uint UseMask = (uint)(GrantEntryFlags.Reading | GrantEntryFlags.Writing);

    // SAFETY: both runs of frames are the domain's for its whole life and contiguous; every index is checked by GrantTable against the frames in use,
    // entries and status words are aligned, and no access comes after the table was closed and the last pin given back.
    private readonly byte* _entries = writes.Page(memory.GrantFrame(0));
    private readonly byte* _status = writes.Page(memory.GrantStatusFrame(0));

    /// <summary>Entries in so many frames.</summary>
    public static uint CountIn(int version, int frames) => (uint)(frames * PageBytes / SizeOf(version));

    /// <summary>Status frames for so many frames of version 2.</summary>
    public static int StatusFramesFor(int frames) => (int)(((CountIn(2, frames) * GrantLayout.StatusSize) + PageBytes - 1) / PageBytes);

    /// <summary>Flags in the low half, domain in the high half.</summary>
    public uint Header(int version, uint reference) => Volatile.Read(ref *(uint*)At(version, reference));

    /// <summary>The frame granted as a whole or in part.</summary>
    public ulong Frame(int version, uint reference) => version == 1
        ? Volatile.Read(ref *(uint*)(At(1, reference) + GrantLayout.EntryFrame))
        : Volatile.Read(ref *(ulong*)(At(2, reference) + GrantLayout.Entry2Frame));

    /// <summary>Version 2: first byte and length of a sub-page grant.</summary>
    public (ushort Offset, ushort Length) SubPage(uint reference)
    {
        uint both = Volatile.Read(ref *(uint*)(At(2, reference) + GrantLayout.Entry2PageOffset));
        return ((ushort)both, (ushort)(both >> 16));
    }

    /// <summary>Version 2: whose grant is passed on, and which.</summary>
    public (ushort Domain, uint Reference) Transitive(uint reference) =>
        ((ushort)Volatile.Read(ref *(uint*)(At(2, reference) + GrantLayout.Entry2TransitiveDomain)), Volatile.Read(ref *(uint*)(At(2, reference) + GrantLayout.Entry2TransitiveReference)));

    /// <summary>Version 1: replaces the header if it is still the old one; answers what was there.</summary>
    public uint ExchangeHeader(uint reference, uint value, uint old) => Interlocked.CompareExchange(ref *(uint*)At(1, reference), value, old);

    /// <summary>Version 2: marks the entry as in use.</summary>
    public void SetStatus(uint reference, GrantEntryFlags use) => Interlocked.Or(ref StatusWord(reference, out int shift), (uint)use << shift);

    /// <summary>Takes marks of use away.</summary>
    public void ClearUse(int version, uint reference, GrantEntryFlags use)
    {
        if (version == 1)
        {
            Interlocked.And(ref *(uint*)At(1, reference), ~(uint)use);
            return;
        }

        ref uint word = ref StatusWord(reference, out int shift);
        Interlocked.And(ref word, ~((uint)use << shift));
    }

    /// <summary>Exchanges two entries with their status.</summary>
    public void Swap(int version, uint first, uint second)
    {
        Span<byte> left = new(At(version, first), SizeOf(version));
        Span<byte> right = new(At(version, second), SizeOf(version));
        Span<byte> kept = stackalloc byte[left.Length];
        left.CopyTo(kept);
        right.CopyTo(left);
        kept.CopyTo(right);
        if (version == 1)
            return;
        uint one = Status(first);
        uint two = Status(second);
        ClearUse(2, first, (GrantEntryFlags)UseMask);
        ClearUse(2, second, (GrantEntryFlags)UseMask);
        SetStatus(first, (GrantEntryFlags)two);
        SetStatus(second, (GrantEntryFlags)one);
    }

    /// <summary>Whether the reserved entries of version 2 could be entries of version 1.</summary>
    public bool CanBecomeVersion1()
    {
        for (uint reference = 0; reference < GrantLayout.ReservedEntries; reference++)
        {
            GrantEntryFlags flags = (GrantEntryFlags)Header(2, reference);
            GrantEntryFlags type = flags & GrantEntryFlags.TypeMask;
            if (type == GrantEntryFlags.Transitive || (type == GrantEntryFlags.PermitAccess && ((flags & GrantEntryFlags.SubPage) != 0 || Frame(2, reference) > uint.MaxValue)))
                return false;
        }

        return true;
    }

    /// <summary>Takes a permit back; nobody uses it.</summary>
    public void Revoke(int version, uint reference) => Volatile.Write(ref *(uint*)At(version, reference), 0);

    /// <summary>Begins the table anew in the other version: all entries are invalid but the reserved ones, which are carried over.</summary>
    public void Convert(int from, int frames)
    {
        Span<uint> headers = stackalloc uint[GrantLayout.ReservedEntries];
        Span<ulong> grantedFrames = stackalloc ulong[GrantLayout.ReservedEntries];
        for (uint reference = 0; reference < GrantLayout.ReservedEntries; reference++)
        {
            headers[(int)reference] = from == 1 ? Header(1, reference) : (Header(2, reference) & ~UseMask) | Status(reference);
            grantedFrames[(int)reference] = Frame(from, reference);
        }

        new Span<byte>(_entries, frames * PageBytes).Clear();
        new Span<byte>(_status, StatusFramesFor(frames) * PageBytes).Clear();
        for (uint reference = 0; reference < GrantLayout.ReservedEntries; reference++)
        {
            uint header = headers[(int)reference];
            ulong frame = grantedFrames[(int)reference];
            if (from == 1)
            {
                Volatile.Write(ref *(ulong*)(At(2, reference) + GrantLayout.Entry2Frame), frame);
                SetStatus(reference, (GrantEntryFlags)(header & UseMask));
                Volatile.Write(ref *(uint*)At(2, reference), header & ~UseMask);
            }
            else
            {
                Volatile.Write(ref *(uint*)(At(1, reference) + GrantLayout.EntryFrame), (uint)frame);
                Volatile.Write(ref *(uint*)At(1, reference), header);
            }
        }
    }

    private static int SizeOf(int version) => version == 1 ? GrantLayout.EntrySize : GrantLayout.Entry2Size;

    private byte* At(int version, uint reference) => _entries + ((long)reference * SizeOf(version));

    private uint Status(uint reference) => (Volatile.Read(ref StatusWord(reference, out int shift)) >> shift) & UseMask;

    private ref uint StatusWord(uint reference, out int shift)
    {
        shift = (int)(reference & 1) * 16;
        return ref *(uint*)(_status + ((reference & ~1u) * GrantLayout.StatusSize));
    }
}
