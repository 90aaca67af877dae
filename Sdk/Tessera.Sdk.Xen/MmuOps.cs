namespace Tessera.Sdk.Xen;

/// <summary>What an mmu_update changes: bits 0 and 1 of its address (public/xen.h, MMU_*).</summary>
public enum MmuUpdateKind
{
    /// <summary>Checked write of one page-table entry.</summary>
    NormalPtUpdate = 0,

    /// <summary>The machine-to-physical entry of the frame.</summary>
    MachphysUpdate = 1,

    /// <summary>As a normal update, keeping the accessed and dirty bits.</summary>
    PtUpdatePreserveAd = 2,

    PtUpdateNoTranslate = 3,
}

/// <summary>Commands of <see cref="Hypercall.MmuextOp"/> (public/xen.h, MMUEXT_*); arg1 is the frame or address.</summary>
public enum MmuExtOp
{
    PinL1Table = 0,
    PinL2Table = 1,
    PinL3Table = 2,
    PinL4Table = 3,
    UnpinTable = 4,
    NewBaseptr = 5,
    TlbFlushLocal = 6,
    InvlpgLocal = 7,
    TlbFlushMulti = 8,
    InvlpgMulti = 9,
    TlbFlushAll = 10,
    InvlpgAll = 11,
    FlushCache = 12,
    SetLdt = 13,
    NewUserBaseptr = 15,
    ClearPage = 16,
    CopyPage = 17,
    FlushCacheGlobal = 18,
    MarkSuper = 19,
    UnmarkSuper = 20,
}

/// <summary>Flush wanted with update_va_mapping (UVMF_*); any other bits are the address of a vCPU mask.</summary>
[Flags]
public enum UpdateVaFlags : ulong
{
    None = 0,
    TlbFlush = 1,
    Invlpg = 2,

    /// <summary>On every CPU, not only the caller's.</summary>
    All = 4,
}

/// <summary>What set_segment_base sets (public/arch-x86/xen-x86_64.h, SEGBASE_*).</summary>
public enum SegmentBase
{
    Fs = 0,
    GsUser = 1,
    GsKernel = 2,

    /// <summary>Loads the user GS selector; the base argument is the selector.</summary>
    GsUserSel = 3,
}
