namespace Tessera.Sdk.Xen;

/// <summary>Domain numbers with a meaning of their own (public/xen.h, DOMID_*).</summary>
public static class DomainIds
{
    /// <summary>The first number that is no domain.</summary>
    public const ushort FirstReserved = 0x7FF0;

    /// <summary>The calling domain.</summary>
    public const ushort Self = 0x7FF0;

    /// <summary>Owner of memory-mapped I/O frames.</summary>
    public const ushort Io = 0x7FF1;

    /// <summary>Owner of the hypervisor's own frames that it shares.</summary>
    public const ushort Xen = 0x7FF2;

    /// <summary>Owner of copy-on-write frames.</summary>
    public const ushort Cow = 0x7FF3;

    /// <summary>No domain.</summary>
    public const ushort Invalid = 0x7FF4;

    /// <summary>The idle domain.</summary>
    public const ushort Idle = 0x7FFF;
}
