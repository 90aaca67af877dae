namespace Tessera.Sdk.Xen;

/// <summary>Sub-ops of <see cref="Hypercall.XenVersion"/> (public/version.h, XENVER_*).</summary>
public enum VersionOp
{
    /// <summary>Answers major &lt;&lt; 16 | minor.</summary>
    Version = 0,

    /// <summary>char[16].</summary>
    Extraversion = 1,

    /// <summary>144 bytes.</summary>
    CompileInfo = 2,

    /// <summary>char[1024].</summary>
    Capabilities = 3,

    /// <summary>char[64].</summary>
    Changeset = 4,

    /// <summary>uint64: where the hypervisor's range starts.</summary>
    PlatformParameters = 5,

    /// <summary>uint32 submap index in, uint32 submap out (<see cref="Features"/>).</summary>
    GetFeatures = 6,

    Pagesize = 7,

    /// <summary>16 bytes.</summary>
    GuestHandle = 8,

    /// <summary>char[1024].</summary>
    Commandline = 9,

    BuildId = 10,
}
