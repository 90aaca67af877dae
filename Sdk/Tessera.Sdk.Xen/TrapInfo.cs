namespace Tessera.Sdk.Xen;

/// <summary>Offsets in trap_info (public/arch-x86/xen.h): one entry of a trap table.</summary>
public static class TrapInfo
{
    /// <summary>byte.</summary>
    public const int Vector = 0;

    /// <summary>byte: bits 0 and 1 the DPL, bit 2 set masks events on entry.</summary>
    public const int Flags = 1;

    /// <summary>uint16.</summary>
    public const int Cs = 2;

    /// <summary>The handler; 0 ends the table.</summary>
    public const int Address = 8;

    public const int Size = 16;
}

/// <summary>Bits of trap_info's flags.</summary>
public static class TrapInfoFlags
{
    public const byte DplMask = 3;
    public const byte MaskEvents = 4;
}

/// <summary>Offsets in iret_context, at RSP of the iret hypercall (public/arch-x86/xen-x86_64.h).</summary>
public static class IretFrame
{
    public const int Rax = 0;
    public const int R11 = 8;
    public const int Rcx = 16;

    /// <summary>VGCF_in_syscall (256): CS, SS, RCX and R11 of the frame are not used.</summary>
    public const int Flags = 24;

    public const int Rip = 32;

    /// <summary>Privilege 3: to user mode; less: to kernel mode.</summary>
    public const int Cs = 40;

    public const int Rflags = 48;
    public const int Rsp = 56;
    public const int Ss = 64;
    public const int Size = 72;

    /// <summary>VGCF_in_syscall.</summary>
    public const int InSyscall = 256;
}
