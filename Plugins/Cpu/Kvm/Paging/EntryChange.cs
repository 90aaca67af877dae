namespace Tessera.Plugins.Cpu.Kvm.Paging;

/// <summary>What a changed page-table entry asks for. Accessed, dirty, global and available bits never ask for anything.</summary>
internal static class EntryChange
{
    private const ulong Present = 1;
    private const ulong Writable = 2;
    private const ulong User = 4;
    private const ulong NoExecute = 1UL << 63;
    private const ulong Ignored = 0x7ff0_0000_0000_0f60;

    /// <summary>
    /// Whether the CPU could go on with rights or a frame that the new entry no longer gives: a shadow of the old entry is wrong.
    /// </summary>
    public static bool IsDowngrade(ulong oldEntry, ulong newEntry)
    {
        if ((oldEntry & Present) == 0)
            return false;
        if ((newEntry & Present) == 0)
            return true;
        ulong changed = (oldEntry ^ newEntry) & ~Ignored;
        ulong given = (newEntry & (Writable | User)) | (oldEntry & NoExecute);
        return (changed & ~given) != 0;
    }

    /// <summary>
    /// Whether a TLB may hold something that differs from the new entry. Wider rights count too: the guest must not see a fault for
    /// an access that its tables allow.
    /// </summary>
    public static bool NeedsFlush(ulong oldEntry, ulong newEntry) =>
        (oldEntry & Present) != 0 && ((newEntry & Present) == 0 || ((oldEntry ^ newEntry) & ~Ignored) != 0);
}
