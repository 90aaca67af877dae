namespace Tessera.Sdk.Xen;

/// <summary>Virtual interrupts (public/xen.h, VIRQ_*).</summary>
public enum Virq
{
    /// <summary>Per vCPU: a timer came due.</summary>
    Timer = 0,

    /// <summary>Per vCPU.</summary>
    Debug = 1,

    Console = 2,
    DomExc = 3,
    Tbuf = 4,
    Debugger = 6,

    /// <summary>Per vCPU.</summary>
    Xenoprof = 7,

    ConRing = 8,
    PcpuState = 9,
    MemEvent = 10,
    Argo = 11,
    Enomem = 12,

    /// <summary>Per vCPU.</summary>
    Xenpmu = 13,
}

/// <summary>How many virtual interrupts there are.</summary>
public static class VirqLimits
{
    /// <summary>NR_VIRQS.</summary>
    public const int Count = 24;
}
