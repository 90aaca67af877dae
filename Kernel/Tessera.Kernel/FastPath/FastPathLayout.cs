namespace Tessera.Kernel.FastPath;

/// <summary>
/// What a domain's kernel-only L4 slot shows: pages of code (constant), the guest's own pages (written by the guest), the frame map
/// (constant to the guest), and from the second GiB on an alias of the domain's memory, writable.
/// </summary>
internal static class FastPathLayout
{
    public const int PageBytes = 4096;

    /// <summary>Pages of each vCPU that its guest writes: one of values, the others a log.</summary>
    public const int GuestPages = 5;

    /// <summary>In the first of these pages: entries in the log (32 bits).</summary>
    public const int LogCount = 0;

    /// <summary>The kernel stack of stack_switch.</summary>
    public const int KernelStack = 8;

    /// <summary>The GS base of user mode.</summary>
    public const int UserGsBase = 16;

    /// <summary>The log: pairs of entry address and value.</summary>
    public const int Log = PageBytes;
    public const int LogEntryBytes = 16;
    public const int LogEntries = (GuestPages - 1) * PageBytes / LogEntryBytes;

    /// <summary>Frame map, one byte a frame: it is the domain's and no descriptor table, so that it may be mapped read-only.</summary>
    public const byte MayRead = 1;

    /// <summary>It has no type or is writable memory, so that it may be mapped writable.</summary>
    public const byte MayWrite = 2;

    /// <summary>It is a level-1 table: the code may make its entries present.</summary>
    public const byte IsL1 = 4;

    /// <summary>It is a level-2 table: the code may link level-1 tables into it.</summary>
    public const byte IsL2 = 8;

    /// <summary>It is a table of level 1 to 3: the code may replace an entry that is not present by another such.</summary>
    public const byte IsTable = 16;

    /// <summary>Where the alias begins in the slot.</summary>
    public const ulong AliasOffset = 1UL << 30;
}
