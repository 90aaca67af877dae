using Tessera.Sdk;
using Tessera.Sdk.Memory;

namespace Tessera.Kernel.Memory;

/// <summary>One frame's state. The word, high to low: owner (16 bits, 0 for none), type (3), pinned (1), type count (44).</summary>
internal struct FrameState
{
    public ulong Word;
    public long References;

    private const int OwnerShift = 48;
    private const int TypeShift = 45;
    private const ulong TypeMask = 7UL << TypeShift;
    private const ulong PinnedMark = 1UL << 44;

    // 2^44 entries would take 128 TiB of page tables: the count cannot overflow.
    private const ulong CountMask = PinnedMark - 1;

    public FrameState(DomainId owner) => Word = Idle(owner);

    public static ulong Idle(DomainId owner) => (ulong)owner.Value << OwnerShift;

    public static bool IsOwnedBy(ulong word, DomainId domain) => word >> OwnerShift == domain.Value && domain.Value != 0;

    public static DomainId OwnerIn(ulong word) => new((ushort)(word >> OwnerShift));

    public static FrameType TypeIn(ulong word) => (FrameType)((word & TypeMask) >> TypeShift);

    public static long CountIn(ulong word) => (long)(word & CountMask);

    public TypeReference TakeType(DomainId domain, FrameType type)
    {
        ulong typeBits = (ulong)type << TypeShift;
        ulong old = Volatile.Read(ref Word);
        while (true)
        {
            if (!IsOwnedBy(old, domain))
                return TypeReference.NotOwner;
            bool first = (old & CountMask) == 0;
            if (!first && (old & TypeMask) != typeBits)
                return TypeReference.Conflict;
            ulong seen = Interlocked.CompareExchange(ref Word, ((old & ~TypeMask) | typeBits) + 1, old);
            if (seen == old)
                return first ? TypeReference.TakenFirst : TypeReference.Taken;
            old = seen;
        }
    }

    public bool DropType(Mfn frame)
    {
        ulong old = Volatile.Read(ref Word);
        while (true)
        {
            ulong count = old & CountMask;
            if (count == 0)
                throw new InvalidOperationException($"{frame} has no type to drop.");
            ulong next = count == 1 ? (old & ~TypeMask) - 1 : old - 1;
            ulong seen = Interlocked.CompareExchange(ref Word, next, old);
            if (seen == old)
                return count == 1;
            old = seen;
        }
    }

    // The owner is read again after the increment: whoever takes the frame away clears the owner first and then looks at the references.
    public bool TakeReference(DomainId domain)
    {
        if (!IsOwnedBy(Volatile.Read(ref Word), domain))
            return false;
        Interlocked.Increment(ref References);
        if (IsOwnedBy(Volatile.Read(ref Word), domain))
            return true;
        Interlocked.Decrement(ref References);
        return false;
    }

    public bool SetPinned(bool pinned)
    {
        ulong old = Volatile.Read(ref Word);
        while (true)
        {
            ulong next = pinned ? old | PinnedMark : old & ~PinnedMark;
            if (next == old)
                return false;
            ulong seen = Interlocked.CompareExchange(ref Word, next, old);
            if (seen == old)
                return true;
            old = seen;
        }
    }
}
