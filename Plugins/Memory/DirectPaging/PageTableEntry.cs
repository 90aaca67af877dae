namespace Tessera.Plugins.Memory.DirectPaging;

/// <summary>x86-64 page-table entries and what a PV guest may put in them (AMD64 manual, volume 2, section 5.3; Xen's x86/mm.c).</summary>
internal static class PageTableEntry
{
    public const ulong Present = 1;
    public const ulong Writable = 1 << 1;
    public const ulong User = 1 << 2;
    public const ulong WriteThrough = 1 << 3;
    public const ulong CacheDisable = 1 << 4;
    public const ulong Accessed = 1 << 5;
    public const ulong Dirty = 1 << 6;

    /// <summary>PAT at level 1, PSE (a large page) at levels 2 and 3, reserved at level 4.</summary>
    public const ulong PatOrLarge = 1 << 7;
    public const ulong Global = 1 << 8;
    public const ulong FrameMask = 0x000F_FFFF_FFFF_F000;

    public const int EntriesPerTable = 512;
    public const int FirstVmmSlot = 256;
    public const int LastVmmSlot = 271;

    // A domain without devices has no use for other memory types than write-back; Xen refuses them as well.
    private const ulong Refused = WriteThrough | CacheDisable | PatOrLarge;

    public static bool IsPresent(ulong entry) => (entry & Present) != 0;

    public static bool IsVmmSlot(int index) => index is >= FirstVmmSlot and <= LastVmmSlot;

    public static int Index(ulong address, int level) => (int)(address >> (3 + (9 * level))) & (EntriesPerTable - 1);

    /// <summary>
    /// Brings a present entry into the form the CPU sees, or refuses its flags. The whole guest runs in ring 3, so every entry gets the U
    /// bit. A global level-1 entry loses that bit: kernel and user mode have different tables under the same addresses. NX and the
    /// bits that hardware leaves to software (9 to 11, 52 to 62) stay.
    /// </summary>
    public static bool TryAdjust(ref ulong entry, int level)
    {
        if ((entry & Refused) != 0 || (level > 1 && (entry & Global) != 0))
            return false;
        entry = (entry & ~Global) | User;
        return true;
    }

    /// <summary>Whether two present entries refer to the same frame in the same way, so that no reference changes.</summary>
    public static bool SameTarget(ulong first, ulong second, int level) =>
        ((first ^ second) & (level == 1 ? FrameMask | Present | Writable : FrameMask | Present)) == 0;
}
