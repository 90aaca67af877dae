namespace Tessera.Sdk.Xen;

/// <summary>Sub-ops of <see cref="Hypercall.GrantTableOp"/> (public/grant_table.h): rdi sub-op, rsi array, rdx count.</summary>
public enum GrantTableOp
{
    MapGrantRef = 0,
    UnmapGrantRef = 1,
    SetupTable = 2,
    DumpTable = 3,
    Transfer = 4,
    Copy = 5,
    QuerySize = 6,
    UnmapAndReplace = 7,
    SetVersion = 8,
    GetStatusFrames = 9,
    GetVersion = 10,

    /// <summary>GNTTABOP_swap_grant_ref.</summary>
    Swap = 11,

    CacheFlush = 12,
}

/// <summary>Results inside grant-table structures (GNTST_*).</summary>
public enum GrantStatus : short
{
    Okay = 0,
    GeneralError = -1,
    BadDomain = -2,
    BadGntref = -3,
    BadHandle = -4,
    BadVirtAddr = -5,
    BadDevAddr = -6,
    NoDeviceSpace = -7,
    PermissionDenied = -8,
    BadPage = -9,
    BadCopyArg = -10,
    AddressTooBig = -11,
    Eagain = -12,
    NoSpace = -13,
}

/// <summary>Flags of a grant entry of either version (GTF_*); the low two bits are its type. Version 2 has Reading and Writing in the status frames.</summary>
[Flags]
public enum GrantEntryFlags : ushort
{
    Invalid = 0,
    PermitAccess = 1 << 0,
    AcceptTransfer = 2 << 0,
    Transitive = 3 << 0,
    TypeMask = 3 << 0,
    Readonly = 1 << 2,
    Reading = 1 << 3,
    Writing = 1 << 4,
    SubPage = 1 << 8,
}

/// <summary>Flags of gnttab_map_grant_ref (GNTMAP_*); the high 16 bits go into the entry's software bits.</summary>
[Flags]
public enum GrantMapFlags : uint
{
    None = 0,
    DeviceMap = 1 << 0,
    HostMap = 1 << 1,
    Readonly = 1 << 2,
    ApplicationMap = 1 << 3,
    ContainsPte = 1 << 4,
}

/// <summary>Flags of gnttab_copy (GNTCOPY_*).</summary>
[Flags]
public enum GrantCopyFlags : ushort
{
    None = 0,
    SourceGref = 1 << 0,
    DestGref = 1 << 1,
}
