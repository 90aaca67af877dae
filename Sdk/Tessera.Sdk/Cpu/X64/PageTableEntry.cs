namespace Tessera.Sdk.Cpu.X64;

/// <summary>x86-64 page-table entries with four levels of 4 KiB tables (AMD64 manual, volume 2, section 5.3).</summary>
public static class PageTableEntry
{
    /// <summary>P: the entry maps something.</summary>
    public const ulong Present = 1;

    /// <summary>R/W: what it maps may be written.</summary>
    public const ulong Writable = 1 << 1;

    /// <summary>U/S: ring 3 may use it.</summary>
    public const ulong User = 1 << 2;

    /// <summary>PWT, a memory type.</summary>
    public const ulong WriteThrough = 1 << 3;

    /// <summary>PCD, a memory type.</summary>
    public const ulong CacheDisable = 1 << 4;

    /// <summary>A: the CPU has used the entry.</summary>
    public const ulong Accessed = 1 << 5;

    /// <summary>D: the CPU has written what it maps.</summary>
    public const ulong Dirty = 1 << 6;

    /// <summary>PAT at level 1, PSE (a large page) at levels 2 and 3, reserved at level 4.</summary>
    public const ulong PatOrLarge = 1 << 7;

    /// <summary>G: the translation stays when the root changes.</summary>
    public const ulong Global = 1 << 8;

    /// <summary>NX: what it maps is no code.</summary>
    public const ulong NoExecute = 1UL << 63;

    /// <summary>The bits of the frame's address, 12 to 51.</summary>
    public const ulong FrameMask = 0x000F_FFFF_FFFF_F000;

    /// <summary>Entries of a table, at every level.</summary>
    public const int EntriesPerTable = 512;

    /// <summary>Whether the entry maps something.</summary>
    public static bool IsPresent(ulong entry) => (entry & Present) != 0;

    /// <summary>The frame that an entry names, or that a machine address lies in: bits 12 to 51 of either.</summary>
    public static Mfn FrameOf(ulong entry) => new((long)((entry & FrameMask) >> 12));

    /// <summary>Which entry of the table of a level, 1 to 4, a virtual address goes through.</summary>
    public static int Index(ulong address, int level) => (int)(address >> (3 + (9 * level))) & (EntriesPerTable - 1);
}
