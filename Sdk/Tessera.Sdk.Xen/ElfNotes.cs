namespace Tessera.Sdk.Xen;

/// <summary>Types of the ELF notes named "Xen" (public/elfnote.h, XEN_ELFNOTE_*).</summary>
public enum ElfNote : uint
{
    Info = 0,
    Entry = 1,
    HypercallPage = 2,
    VirtBase = 3,
    PaddrOffset = 4,
    XenVersion = 5,
    GuestOs = 6,
    GuestVersion = 7,
    Loader = 8,
    PaeMode = 9,
    Features = 10,
    BsdSymtab = 11,
    HvStartLow = 12,
    L1MfnValid = 13,
    SuspendCancel = 14,
    InitP2m = 15,
    ModStartPfn = 16,
    SupportedFeatures = 17,
    Phys32Entry = 18,
}

/// <summary>The ELF notes named "Tessera".</summary>
public static class TesseraNote
{
    /// <summary>The note's owner name.</summary>
    public const string Name = "Tessera";

    /// <summary>Note type: 8 bytes, the pseudo-physical address of the guest's report page (docs/guests.md), page aligned.</summary>
    public const uint ReportPage = 1;
}
