namespace Tessera.Sdk.Xen;

/// <summary>Feature bits of submap 0 (public/features.h, XENFEAT_*), as a mask.</summary>
[Flags]
public enum Features : uint
{
    None = 0,
    WritablePageTables = 1U << 0,
    WritableDescriptorTables = 1U << 1,
    AutoTranslatedPhysmap = 1U << 2,
    SupervisorModeKernel = 1U << 3,
    PaePgdirAbove4Gb = 1U << 4,
    MmuPtUpdatePreserveAd = 1U << 5,
    HighmemAssist = 1U << 6,
    GnttabMapAvailBits = 1U << 7,
    HvmCallbackVector = 1U << 8,
    HvmSafePvclock = 1U << 9,
    HvmPirqs = 1U << 10,
    Dom0 = 1U << 11,
    MemoryOpVnodeSupported = 1U << 13,
    ArmSmcccSupported = 1U << 14,
    LinuxRsdpUnrestricted = 1U << 15,
    NotDirectMapped = 1U << 16,
    DirectMapped = 1U << 17,
}
