using Tessera.Kernel.Domains;
using Tessera.Kernel.Hypercalls;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Traps;

/// <summary>
/// Where a trap goes: a hypercall from the guest's kernel, a system call bounced into it, an exception emulated or delivered by its
/// trap table. One a physical CPU (it owns a decoder).
/// </summary>
/// <param name="hypercalls">The hypercalls.</param>
/// <param name="cpuid">What CPUID says.</param>
/// <param name="hypercallBytes">How long the engine's <see cref="EngineFacts.HypercallInstruction"/> is.</param>
internal sealed class TrapRouter(HypercallTable hypercalls, CpuidPolicy cpuid, int hypercallBytes)
{
    private const int Debug = 1;
    private const int InvalidOpcode = 6;
    private const int DeviceNotAvailable = 7;
    private const int DoubleFault = 8;
    private const int GeneralProtection = 13;
    private const int PageFault = 14;
    private const uint SoftwareInterrupt = 2; // error code bit: the vector is an IDT index
    private const ulong TrapFlag = 1UL << 8;
    private const ulong SingleStep = 1UL << 14;
    private const int SystemCallBytes = 2; // `syscall`, which the processor alone defines
    private const ushort NullUserSelector = 3;
    private static ReadOnlySpan<byte> SyscallInstruction => [0x0f, 0x05];
    private static ReadOnlySpan<byte> SysenterInstruction => [0x0f, 0x34];

    private readonly InstructionEmulator _emulator = new();

    /// <summary>Handles one trap of a vCPU.</summary>
    public TrapOutcome Handle(Vcpu vcpu, IPcpu pcpu, in Trap trap)
    {
        vcpu.MidDelivery = false;
        switch (trap.Kind)
        {
            case TrapKind.Preempted:
                vcpu.MidDelivery = !trap.IsInterruptible;
                vcpu.Counters.Preemptions++;
                return TrapOutcome.Reschedule;
            case TrapKind.Syscall when !vcpu.Context.UserMode && vcpu.Cpu.State.Is32Bit:
                // 64-bit kernels only: nobody calls Xen from 32-bit code.
                vcpu.Cpu.State.Rip -= SystemCallBytes;
                return Deliver(vcpu, InvalidOpcode, 0);
            case TrapKind.Hypercall or TrapKind.Syscall when !vcpu.Context.UserMode:
                return hypercalls.Run(vcpu, pcpu, trap.Kind == TrapKind.Hypercall ? hypercallBytes : SystemCallBytes);
            case TrapKind.Syscall:
                return SystemCall(vcpu);
            case TrapKind.Hypercall:
                // User mode has no business with it: the instruction faults like any other access to a port.
                vcpu.Cpu.State.Rip -= (uint)hypercallBytes;
                lock (vcpu.Domain.Gate)
                    return Exception(vcpu, new Trap { Kind = TrapKind.Exception, Vector = GeneralProtection });
            case TrapKind.Exception when vcpu.Accelerator is { } accelerator && accelerator.TryRestart():
                return hypercalls.Run(vcpu, pcpu, SystemCallBytes);
            case TrapKind.Exception:
                lock (vcpu.Domain.Gate)
                    return Exception(vcpu, trap);
            default:
                vcpu.Domain.Crash(vcpu, trap.Diagnosis ?? "the CPU engine cannot go on");
                return TrapOutcome.Ended;
        }
    }

    private static TrapOutcome Deliver(Vcpu vcpu, int vector, uint errorCode) =>
        GuestEntry.Exception(vcpu, vector, errorCode) ? TrapOutcome.Resume : TrapOutcome.Ended;

    private static TrapOutcome SystemCall(Vcpu vcpu)
    {
        vcpu.Counters.Syscalls++;
        CallbackType callback = vcpu.Cpu.State.Is32Bit ? CallbackType.Syscall32 : CallbackType.Syscall;
        if (vcpu.Context.Callbacks[(int)callback] == 0)
        {
            vcpu.Cpu.State.Rip -= SystemCallBytes;
            return Deliver(vcpu, InvalidOpcode, 0);
        }

        return GuestEntry.Callback(vcpu, callback) ? TrapOutcome.Resume : TrapOutcome.Ended;
    }

    private TrapOutcome Exception(Vcpu vcpu, in Trap trap)
    {
        vcpu.Counters.ByVector[trap.Vector & 31]++;
        ref GuestCpuState state = ref vcpu.Cpu.State;
        PvContext context = vcpu.Context;
        switch (trap.Vector)
        {
            case PageFault:
                return OnPageFault(vcpu, trap);
            case InvalidOpcode:
                if (_emulator.TryForcedCpuid(vcpu, cpuid))
                    return Emulated(vcpu);
                if (_emulator.IsSoftwareInterrupt(vcpu, out byte number))
                    return OnSoftwareInterrupt(vcpu, number);
                if (context.UserMode && state.Is32Bit && context.Callbacks[(int)CallbackType.Syscall32] != 0
                    && _emulator.IsAtRip(vcpu, SyscallInstruction))
                    return CompatSystemCall(vcpu);
                break;
            case GeneralProtection:
                if ((trap.ErrorCode & SoftwareInterrupt) != 0 && (trap.ErrorCode & 1) == 0)
                    return OnSoftwareInterrupt(vcpu, (byte)(trap.ErrorCode >> 3));
                if (context.UserMode && trap.ErrorCode == 0 && context.Callbacks[(int)CallbackType.Sysenter] != 0
                    && _emulator.IsAtRip(vcpu, SysenterInstruction))
                    return Sysenter(vcpu);
                if (trap.ErrorCode == 0 && (context.UserMode
                    ? _emulator.TryFaultedCpuid(vcpu, cpuid) || _emulator.TryUserPrivileged(vcpu)
                    : _emulator.TryPrivileged(vcpu, cpuid)))
                    return Emulated(vcpu);
                break;
            case DeviceNotAvailable:
                state.TaskSwitched = false;
                break;
            case Debug:
                if ((state.Rflags & TrapFlag) != 0)
                    state.Dr6 |= SingleStep;
                break;
            case DoubleFault:
                vcpu.Domain.Crash(vcpu, "double fault");
                return TrapOutcome.Ended;
            default:
                break;
        }

        return Deliver(vcpu, trap.Vector, trap.ErrorCode);
    }

    /// <summary>`syscall` of 32-bit code where the processor, or KVM for it, raises #UD: what it would have done.</summary>
    private static TrapOutcome CompatSystemCall(Vcpu vcpu)
    {
        ref GuestCpuState state = ref vcpu.Cpu.State;
        state.Rip = (uint)(state.Rip + SystemCallBytes);
        (state.Rcx, state.R11) = (state.Rip, state.Rflags);
        (state.Cs, state.Ss) = (FlatSelectors.Code32, FlatSelectors.Data);
        return SystemCall(vcpu);
    }

    /// <summary>`sysenter`, which keeps nothing of where it came from: the frame says so, as Xen's does. The engine lets it fault.</summary>
    private static TrapOutcome Sysenter(Vcpu vcpu)
    {
        ref GuestCpuState state = ref vcpu.Cpu.State;
        vcpu.Counters.Syscalls++;
        (state.Rip, state.Rsp, state.Cs, state.Ss) = (0, 0, NullUserSelector, FlatSelectors.Data);
        return GuestEntry.Callback(vcpu, CallbackType.Sysenter) ? TrapOutcome.Resume : TrapOutcome.Ended;
    }

    private static TrapOutcome Emulated(Vcpu vcpu)
    {
        vcpu.Counters.Emulated++;
        return TrapOutcome.Resume;
    }

    /// <summary>`int n`: a gate that the guest opened to its caller's privilege, or #GP.</summary>
    private TrapOutcome OnSoftwareInterrupt(Vcpu vcpu, byte vector)
    {
        int privilege = vcpu.Context.UserMode ? 3 : 1;
        TrapGate gate = vcpu.Context.TrapTable[vector];
        if (gate.Address == 0 || (gate.Flags & TrapInfoFlags.DplMask) < privilege)
            return Deliver(vcpu, GeneralProtection, ((uint)vector << 3) | SoftwareInterrupt);
        vcpu.Cpu.State.Rip += (uint)_emulator.SoftwareInterruptBytes(vcpu);
        return GuestEntry.SoftwareInterrupt(vcpu, vector) ? TrapOutcome.Resume : TrapOutcome.Ended;
    }

    private TrapOutcome OnPageFault(Vcpu vcpu, in Trap trap)
    {
        ulong address = trap.FaultAddress;
        PageFaultError error = (PageFaultError)trap.ErrorCode;
        bool userMode = vcpu.Context.UserMode;
        if (!userMode)
        {
            error &= ~PageFaultError.User;
            if (TryTableRead(vcpu, address, error))
                return Emulated(vcpu);
        }

        // A slot that is the host's own shows by this bit, which no guest's table can cause.
        error &= ~PageFaultError.Reserved;
        FaultAnswer answer = vcpu.Domain.Mmu.OnFault(vcpu.Index, userMode, new VirtualAddress(address), error);
        if (answer.Action == FaultAction.Retry)
            return TrapOutcome.Resume;
        if (answer.Action == FaultAction.Emulate && _emulator.TryTableWrite(vcpu, address, answer.StoreAddress))
            return Emulated(vcpu);
        vcpu.Context.Info.FaultAddress = address;
        return Deliver(vcpu, PageFault, (uint)answer.Error);
    }

    /// <summary>A read in kernel mode of the machine-to-physical table where the ABI has it, on a host that shows it elsewhere.</summary>
    private bool TryTableRead(Vcpu vcpu, ulong address, PageFaultError error) =>
        address is >= HypervisorRange.Start and < HypervisorRange.End && (error & (PageFaultError.Write | PageFaultError.Fetch)) == 0
        && vcpu.Domain.Memory.MachineToPhysicalSlot != HypervisorRange.FirstSlot
        && vcpu.Domain.Memory.TryGetPfn(new Mfn((long)(address - HypervisorRange.Start) / sizeof(ulong)), out ulong entry)
        && _emulator.TryTableRead(vcpu, address, entry);
}
