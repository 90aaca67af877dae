using Tessera.Sdk.Cpu.X64;

namespace Tessera.Sdk.Conformance.Memory;

/// <summary>Page-table bits under the short names that checks write them with.</summary>
internal static class Entry
{
    public const ulong P = PageTableEntry.Present;
    public const ulong RW = PageTableEntry.Writable;
    public const ulong U = PageTableEntry.User;
    public const ulong PWT = PageTableEntry.WriteThrough;
    public const ulong PCD = PageTableEntry.CacheDisable;
    public const ulong A = PageTableEntry.Accessed;
    public const ulong D = PageTableEntry.Dirty;
    public const ulong PSE = PageTableEntry.PatOrLarge;
    public const ulong G = PageTableEntry.Global;
    public const ulong NX = PageTableEntry.NoExecute;
    public const ulong FrameMask = PageTableEntry.FrameMask;
}
