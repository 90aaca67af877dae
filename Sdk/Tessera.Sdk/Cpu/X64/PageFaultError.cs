namespace Tessera.Sdk.Cpu.X64;

/// <summary>The error code of #PF (AMD64 manual, volume 2, section 8.4.2), as far as a guest can cause it.</summary>
[Flags]
public enum PageFaultError : uint
{
    /// <summary>A read of the guest's kernel where nothing is mapped.</summary>
    None = 0,

    /// <summary>P: something is mapped, and its rights do not suffice.</summary>
    Present = 1,

    /// <summary>W: the access was a write.</summary>
    Write = 1 << 1,

    /// <summary>U: the access was user mode's.</summary>
    User = 1 << 2,

    /// <summary>RSV: an entry has a bit that must be 0.</summary>
    Reserved = 1 << 3,

    /// <summary>I/D: the access was an instruction fetch.</summary>
    Fetch = 1 << 4,
}
