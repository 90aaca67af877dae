using Tessera.Sdk;
using Tessera.Sdk.Memory;

namespace Tessera.Kernel.Memory;

/// <summary>One frame's state. The word, high to low: type (3 bits), pinned (1), type count (60).</summary>
internal struct FrameState
{
    public ulong Word;
    public long References;

    private const int TypeShift = 61;
    private const ulong TypeMask = 7UL << TypeShift;
    private const ulong PinnedMark = 1UL << 60;

    // So many entries would take more page tables than there is memory: the count cannot overflow.
    private const ulong CountMask = PinnedMark - 1;

    public static FrameType TypeIn(ulong word) => (FrameType)(word >> TypeShift);

    public static bool IsPinnedIn(ulong word) => (word & PinnedMark) != 0;

    public static long CountIn(ulong word) => (long)(word & CountMask);

    public TypeReference TakeType(FrameType type)
    {
        ulong typeBits = (ulong)type << TypeShift;
        ulong old = Volatile.Read(ref Word);
        while (true)
        {
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
