using Tessera.Sdk.Cpu.X64;

namespace Tessera.Plugins.Memory.DirectPaging;

/// <summary>What a PV guest may put into its page tables (Xen's x86/mm.c).</summary>
internal static class GuestEntry
{
    public const int FirstVmmSlot = 256;
    public const int LastVmmSlot = 271;

    // A domain without devices has no use for other memory types than write-back; Xen refuses them as well.
    private const ulong Refused = PageTableEntry.WriteThrough | PageTableEntry.CacheDisable | PageTableEntry.PatOrLarge;

    public static bool IsVmmSlot(int index) => index is >= FirstVmmSlot and <= LastVmmSlot;

    /// <summary>
    /// Brings a present entry into the form the CPU sees, or refuses its flags. The whole guest runs in ring 3, so every entry gets the U
    /// bit. A global level-1 entry loses that bit: kernel and user mode have different tables under the same addresses. NX and the
    /// bits that hardware leaves to software (9 to 11, 52 to 62) stay.
    /// </summary>
    public static bool TryAdjust(ref ulong entry, int level)
    {
        if ((entry & Refused) != 0 || (level > 1 && (entry & PageTableEntry.Global) != 0))
            return false;
        entry = (entry & ~PageTableEntry.Global) | PageTableEntry.User;
        return true;
    }

    /// <summary>Whether two present entries refer to the same frame in the same way, so that no reference changes.</summary>
    public static bool SameTarget(ulong first, ulong second, int level)
    {
        const ulong target = PageTableEntry.FrameMask | PageTableEntry.Present;
        return ((first ^ second) & (level == 1 ? target | PageTableEntry.Writable : target)) == 0;
    }
}
