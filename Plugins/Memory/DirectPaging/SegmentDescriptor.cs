namespace Tessera.Plugins.Memory.DirectPaging;

/// <summary>8-byte segment descriptors and which of them a PV guest may have (AMD64 manual, volume 2, section 4.7).</summary>
internal static class SegmentDescriptor
{
    private const ulong Present = 1UL << 47;
    private const ulong Dpl3 = 3UL << 45;
    private const ulong CodeOrData = 1UL << 44;
    private const ulong SystemType = 15UL << 40;

    /// <summary>
    /// Makes a descriptor safe, or refuses it. One that is not present always faults: anything goes. Code and data get DPL 3, where the
    /// guest's kernel runs; with it a conforming segment gains nothing either. System descriptors are refused (gates, TSS, LDT), except the
    /// reserved type 0, which cannot be loaded.
    /// </summary>
    public static bool TryAdjust(ref ulong descriptor)
    {
        if ((descriptor & Present) == 0)
            return true;
        if ((descriptor & CodeOrData) == 0 && (descriptor & SystemType) != 0)
            return false;
        descriptor |= Dpl3;
        return true;
    }
}
