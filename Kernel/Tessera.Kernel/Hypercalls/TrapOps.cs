using System.Runtime.InteropServices;
using Tessera.Kernel.Domains;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Hypercalls;

/// <summary>Trap tables, callbacks, stacks, debug registers and the return from traps.</summary>
internal static class TrapOps
{
    private const ulong InterruptFlag = 1UL << 9;
    private const ulong ForbiddenFlags = (3UL << 12) | (1UL << 14) | (1UL << 17) | (1UL << 19) | (1UL << 20); // IOPL NT VM VIF VIP
    private const ulong KnownFlags = 0x3F_7FD5;
    private const int IoPrivilegeShift = 12;

    /// <summary>set_trap_table(entries ending with a zero address); none clears the table.</summary>
    public static long SetTrapTable(ref HypercallCall call)
    {
        TrapGate[] table = call.Vcpu.Context.TrapTable;
        if (call.A0 == 0)
        {
            Array.Clear(table);
            return 0;
        }

        Span<ulong> entry = stackalloc ulong[2];
        for (int count = 0; count <= table.Length; count++)
        {
            if (!call.Domain.Guest.TryRead(call.Vcpu.Index, userMode: false, call.A0 + ((ulong)count * TrapInfo.Size), MemoryMarshal.AsBytes(entry)))
                return HypercallCall.Error(XenErrno.EFAULT);
            if (entry[1] == 0)
                return 0;
            if (!new VirtualAddress(entry[1]).IsCanonical)
                return HypercallCall.Error(XenErrno.EINVAL);
            table[(byte)entry[0]] = new TrapGate { Address = entry[1], Flags = (byte)(entry[0] >> 8), Cs = (ushort)(entry[0] >> 16) };
        }

        return HypercallCall.Error(XenErrno.EINVAL);
    }

    /// <summary>stack_switch(ss, sp): the kernel stack for traps from user mode.</summary>
    public static long StackSwitch(ref HypercallCall call)
    {
        call.Vcpu.Context.KernelStack = call.A1;
        return 0;
    }

    /// <summary>set_callbacks(event, failsafe, syscall), the older form of callback_op, which does not say that an address is none: that callback stays what it was.</summary>
    public static long SetCallbacks(ref HypercallCall call)
    {
        SetCallback(call.Vcpu, CallbackType.Event, call.A0);
        SetCallback(call.Vcpu, CallbackType.Failsafe, call.A1);
        SetCallback(call.Vcpu, CallbackType.Syscall, call.A2);
        return 0;
    }

    private static void SetCallback(Vcpu vcpu, CallbackType type, ulong address)
    {
        if (new VirtualAddress(address).IsCanonical)
            vcpu.Context.Callbacks[(int)type] = address;
    }

    /// <summary>callback_op(register or unregister, descriptor).</summary>
    public static long CallbackOperation(ref HypercallCall call) => (CallbackOp)call.A0 switch
    {
        CallbackOp.Register => RegisterCallback(ref call),
        CallbackOp.Unregister => UnregisterCallback(ref call),
        _ => HypercallCall.Error(XenErrno.ENOSYS),
    };

    private static long RegisterCallback(ref HypercallCall call)
    {
        if (!call.TryRead(call.A1, out CallbackRequest request))
            return HypercallCall.Error(XenErrno.EFAULT);
        if (!new VirtualAddress(request.Address).IsCanonical)
            return HypercallCall.Error(XenErrno.EINVAL);
        switch ((CallbackType)request.Type)
        {
            case CallbackType.Event or CallbackType.Failsafe or CallbackType.Syscall or CallbackType.Syscall32 or CallbackType.Sysenter or CallbackType.Nmi:
                call.Vcpu.Context.Callbacks[request.Type] = request.Address;
                call.Vcpu.Context.CallbackMasksEvents[request.Type] = (request.Flags & (ushort)CallbackFlags.MaskEvents) != 0;
                return 0;
            default:
                return HypercallCall.Error(XenErrno.ENOSYS);
        }
    }

    private static long UnregisterCallback(ref HypercallCall call)
    {
        if (!call.TryRead(call.A1, out uint request))
            return HypercallCall.Error(XenErrno.EFAULT);
        switch ((CallbackType)(ushort)request)
        {
            case CallbackType.Nmi:
                call.Vcpu.Context.Callbacks[(int)CallbackType.Nmi] = 0;
                return 0;
            case CallbackType.Event or CallbackType.Failsafe or CallbackType.Syscall or CallbackType.Syscall32 or CallbackType.Sysenter:
                return HypercallCall.Error(XenErrno.EINVAL);
            default:
                return HypercallCall.Error(XenErrno.ENOSYS);
        }
    }

    /// <summary>nmi_op: callbacks are accepted; this machine raises no NMI.</summary>
    public static long NmiOperation(ref HypercallCall call) => HypercallCall.Error((uint)call.A0 switch
    {
        0 => !call.TryRead(call.A1, out ulong handler) ? XenErrno.EFAULT : new VirtualAddress(handler).IsCanonical ? XenErrno.Success : XenErrno.EINVAL,
        1 => XenErrno.Success,
        _ => XenErrno.ENOSYS,
    });

    /// <summary>fpu_taskswitch(set): CR0.TS.</summary>
    public static long FpuTaskSwitch(ref HypercallCall call)
    {
        call.Vcpu.Cpu.State.TaskSwitched = call.A0 != 0;
        return 0;
    }

    /// <summary>set_debugreg(number, value): breakpoints on the VMM's addresses and on ports are refused.</summary>
    public static long SetDebugRegister(ref HypercallCall call) => HypercallCall.Error(DebugRegisters.Set(ref call.Vcpu.Cpu.State, call.A0, call.A1));

    /// <summary>get_debugreg(number).</summary>
    public static long GetDebugRegister(ref HypercallCall call) =>
        DebugRegisters.TryGet(in call.Vcpu.Cpu.State, call.A0, out ulong value) ? (long)value : HypercallCall.Error(XenErrno.ENODEV);

    /// <summary>iret: returns from a trap by the frame on the guest kernel's stack, to kernel or user mode.</summary>
    public static long Iret(ref HypercallCall call)
    {
        if (call.IsNested)
            return HypercallCall.Error(XenErrno.ENOSYS);
        Vcpu vcpu = call.Vcpu;
        ref GuestCpuState state = ref vcpu.Cpu.State;
        Span<ulong> frame = stackalloc ulong[IretFrame.Size / 8];
        if (!call.Domain.Guest.TryRead(vcpu.Index, userMode: false, state.Rsp, MemoryMarshal.AsBytes(frame)))
        {
            call.Domain.Crash(vcpu, $"iret with no frame on its stack at 0x{state.Rsp:x}");
            call.Outcome = TrapOutcome.Ended;
            return 0;
        }

        ulong cs = frame[IretFrame.Cs / 8];
        bool toUser = (cs & 3) == 3;
        if (toUser && vcpu.Domain.Mmu.Root(vcpu.Index, userMode: true) == Mfn.None)
        {
            call.Domain.Crash(vcpu, "iret to user mode without a user page table");
            call.Outcome = TrapOutcome.Ended;
            return 0;
        }

        ulong flags = frame[IretFrame.Rflags / 8];
        state.Rip = frame[IretFrame.Rip / 8];
        state.Rsp = frame[IretFrame.Rsp / 8];
        state.Cs = (ushort)(cs | 3);
        state.Ss = (ushort)(frame[IretFrame.Ss / 8] | 3);
        state.Is32Bit = toUser && state.Cs != FlatSelectors.Code64 && SegmentOps.Is32BitCode(vcpu, state.Cs);
        if (call.Domain.ArchitecturalIopl)
            vcpu.Context.IoPrivilege = (int)(flags >> IoPrivilegeShift) & PortAccess.MaxLevel;
        state.Rflags = (flags & KnownFlags & ~ForbiddenFlags) | InterruptFlag | 2;
        if ((frame[IretFrame.Flags / 8] & IretFrame.InSyscall) == 0)
            (state.R11, state.Rcx) = (frame[IretFrame.R11 / 8], frame[IretFrame.Rcx / 8]);
        state.Rax = frame[IretFrame.Rax / 8];
        vcpu.Context.Info.EventsMasked = (flags & InterruptFlag) == 0;
        vcpu.SwitchMode(toUser);
        call.KeepsRegisters = true;
        return 0;
    }

    /// <summary>Registers that come from outside become such as a guest could have by iret and loads of its own.</summary>
    public static void Harmless(Vcpu vcpu)
    {
        ref GuestCpuState state = ref vcpu.Cpu.State;
        (state.Cs, state.Ss) = ((ushort)(state.Cs | 3), (ushort)(state.Ss | 3));
        (state.Ds, state.Es, state.Fs, state.Gs) = (Ring3(state.Ds), Ring3(state.Es), Ring3(state.Fs), Ring3(state.Gs));
        state.Is32Bit = state.Cs != FlatSelectors.Code64 && SegmentOps.Is32BitCode(vcpu, state.Cs);
        state.Rflags = (state.Rflags & KnownFlags & ~ForbiddenFlags) | InterruptFlag | 2;
        (state.FsBase, state.GsBase) = (Canonical(state.FsBase), Canonical(state.GsBase));
    }

    private static ushort Ring3(ushort selector) => (ushort)((selector & ~3) == 0 ? selector : selector | 3);

    private static ulong Canonical(ulong address) => (ulong)((long)(address << 16) >> 16);

    private readonly record struct CallbackRequest(ushort Type, ushort Flags, ulong Address);
}
