namespace Tessera.Plugins.Memory.DirectPaging;

/// <summary>The low bits of an mmu_update pointer (public/xen.h, MMU_*).</summary>
internal static class MmuUpdateCommand
{
    public const ulong NormalPtUpdate = 0;
    public const ulong MachphysUpdate = 1;
    public const ulong PtUpdatePreserveAd = 2;

    /// <summary>As 0: this MMU translates no frame numbers in any case.</summary>
    public const ulong PtUpdateNoTranslate = 3;
}
