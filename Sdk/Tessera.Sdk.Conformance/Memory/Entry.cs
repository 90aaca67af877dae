namespace Tessera.Sdk.Conformance.Memory;

/// <summary>Page-table bits as checks write them.</summary>
internal static class Entry
{
    public const ulong P = 1;
    public const ulong RW = 2;
    public const ulong U = 4;
    public const ulong PWT = 8;
    public const ulong PCD = 16;
    public const ulong A = 32;
    public const ulong D = 64;
    public const ulong PSE = 128;
    public const ulong G = 256;
    public const ulong NX = 1UL << 63;
    public const ulong FrameMask = 0x000F_FFFF_FFFF_F000;
}
