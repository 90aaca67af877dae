namespace Tessera.Sdk.Xen;

/// <summary>The flat segments every guest has (public/arch-x86/xen-x86_64.h, FLAT_*), in GDT pages after the guest's own 14.</summary>
public static class FlatSelectors
{
    /// <summary>FLAT_RING3_CS32.</summary>
    public const ushort Code32 = 0xe023;

    /// <summary>FLAT_RING3_CS64, FLAT_KERNEL_CS and FLAT_USER_CS.</summary>
    public const ushort Code64 = 0xe033;

    /// <summary>FLAT_RING3_SS64 and DS32.</summary>
    public const ushort Data = 0xe02b;

    /// <summary>FLAT_RING3_DS64.</summary>
    public const ushort NullData = 0;

    /// <summary>GDT index where the flat segments' pages begin (FIRST_RESERVED_GDT_ENTRY).</summary>
    public const int FirstReservedEntry = 7168;

    /// <summary>FIRST_RESERVED_GDT_PAGE.</summary>
    public const int FirstReservedPage = 14;
}

/// <summary>The part of every address space that is the hypervisor's (public/arch-x86/xen-x86_64.h).</summary>
public static class HypervisorRange
{
    /// <summary>HYPERVISOR_VIRT_START.</summary>
    public const ulong Start = 0xFFFF_8000_0000_0000;

    /// <summary>HYPERVISOR_VIRT_END.</summary>
    public const ulong End = 0xFFFF_8800_0000_0000;

    /// <summary>L4 slots 256 to 271.</summary>
    public const int FirstSlot = 256;

    /// <summary>One past the last slot.</summary>
    public const int EndSlot = 272;
}
