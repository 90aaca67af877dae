namespace Tessera.Sdk.Xen;

/// <summary>Hypercall numbers (public/xen.h, __HYPERVISOR_*): RAX of the call, arguments in RDI RSI RDX R10 R8, result in RAX.</summary>
public enum Hypercall
{
    /// <summary>rdi: array of trap_info ended by a zero address (<see cref="TrapInfo"/>); null clears the table.</summary>
    SetTrapTable = 0,

    /// <summary>rdi: array of mmu_update; rsi: count; rdx: where to store how many were done, or null; r10: domain.</summary>
    MmuUpdate = 1,

    /// <summary>rdi: array of frame numbers; rsi: descriptors.</summary>
    SetGdt = 2,

    /// <summary>rdi: SS; rsi: RSP of the kernel stack for entries from user mode.</summary>
    StackSwitch = 3,

    /// <summary>The older form of <see cref="CallbackOp"/>: event, failsafe and syscall entry addresses.</summary>
    SetCallbacks = 4,

    /// <summary>rdi: 1 sets CR0.TS, 0 clears it.</summary>
    FpuTaskswitch = 5,

    /// <summary>The older numbers of <see cref="SchedOp"/>: yield and block, and shutdown with the reason in rsi.</summary>
    SchedOpCompat = 6,

    /// <summary>For the control domain.</summary>
    PlatformOp = 7,

    /// <summary>rdi: register; rsi: value.</summary>
    SetDebugreg = 8,

    /// <summary>rdi: register; the result is the value.</summary>
    GetDebugreg = 9,

    /// <summary>rdi: machine address of the descriptor; rsi: the descriptor.</summary>
    UpdateDescriptor = 10,

    /// <summary><see cref="Xen.MemoryOp"/>.</summary>
    MemoryOp = 12,

    /// <summary>rdi: array of multicall_entry; rsi: count.</summary>
    Multicall = 13,

    /// <summary>rdi: virtual address; rsi: the new L1 entry; rdx: <see cref="UpdateVaFlags"/>.</summary>
    UpdateVaMapping = 14,

    /// <summary>rdi: absolute system time in ns; 0 stops the timer.</summary>
    SetTimerOp = 15,

    /// <summary>The older form of <see cref="EventChannelOp"/>: one structure with the command first.</summary>
    EventChannelOpCompat = 16,

    /// <summary><see cref="VersionOp"/>.</summary>
    XenVersion = 17,

    /// <summary><see cref="Xen.ConsoleIo"/>.</summary>
    ConsoleIo = 18,

    /// <summary>The older form of <see cref="PhysdevOp"/>.</summary>
    PhysdevOpCompat = 19,

    /// <summary><see cref="Xen.GrantTableOp"/>.</summary>
    GrantTableOp = 20,

    /// <summary><see cref="VmAssistCommand"/>.</summary>
    VmAssist = 21,

    /// <summary>As <see cref="UpdateVaMapping"/>, r10: domain.</summary>
    UpdateVaMappingOtherdomain = 22,

    /// <summary>Returns with the frame at RSP (<see cref="IretFrame"/>).</summary>
    Iret = 23,

    /// <summary><see cref="Xen.VcpuOp"/>.</summary>
    VcpuOp = 24,

    /// <summary>rdi: <see cref="SegmentBase"/>; rsi: the base or selector.</summary>
    SetSegmentBase = 25,

    /// <summary>rdi: array of mmuext_op (<see cref="MmuExtOp"/>); rsi: count; rdx: done count or null; r10: domain.</summary>
    MmuextOp = 26,

    XsmOp = 27,
    NmiOp = 28,

    /// <summary><see cref="Xen.SchedOp"/>.</summary>
    SchedOp = 29,

    /// <summary><see cref="Xen.CallbackOp"/>.</summary>
    CallbackOp = 30,

    XenoprofOp = 31,

    /// <summary><see cref="Xen.EventChannelOp"/>.</summary>
    EventChannelOp = 32,

    /// <summary><see cref="Xen.PhysdevOp"/>.</summary>
    PhysdevOp = 33,

    HvmOp = 34,
    Sysctl = 35,
    Domctl = 36,
    KexecOp = 37,
    TmemOp = 38,
    ArgoOp = 39,
    XenpmuOp = 40,
    DmOp = 41,
    HypfsOp = 42,

    /// <summary>x86: machine check (__HYPERVISOR_mca).</summary>
    Arch0 = 48,
}
