using System.Runtime.InteropServices;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Events;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Traps;

/// <summary>
/// Enters a guest's own handlers: builds the frame that a PV guest expects on its kernel stack (Xen's bounce frame) and points the
/// vCPU at the handler. A frame that cannot be written ends the domain: there is nowhere left to tell the guest.
/// </summary>
internal static class GuestEntry
{
    private const ulong InterruptFlag = 1UL << 9;
    private const int IoPrivilegeShift = 12;
    private const ulong ClearedOnEntry = (1UL << 8) | (1UL << 14) | (1UL << 16) | (1UL << 17) | (1UL << 18); // TF NT RF VM AC

    /// <summary>Raises an exception in the guest by its trap table.</summary>
    /// <returns>False when the domain died of it.</returns>
    public static bool Exception(Vcpu vcpu, int vector, uint errorCode) =>
        Gate(vcpu, vector, hasErrorCode: vector is 8 or (>= 10 and <= 14) or 17 or 21, errorCode);

    /// <summary>Enters a gate by `int n`, which pushes no error code for any vector.</summary>
    /// <returns>False when the domain died of it.</returns>
    public static bool SoftwareInterrupt(Vcpu vcpu, int vector) => Gate(vcpu, vector, hasErrorCode: false, 0);

    private static bool Gate(Vcpu vcpu, int vector, bool hasErrorCode, uint errorCode)
    {
        ref TrapGate gate = ref vcpu.Context.TrapTable[vector];
        if (gate.Address == 0)
        {
            vcpu.Domain.Crash(vcpu, $"exception {vector} (error code 0x{errorCode:x}) without a handler in its trap table");
            return false;
        }

        return Enter(vcpu, gate.Address, (gate.Flags & TrapInfoFlags.MaskEvents) != 0, hasErrorCode, errorCode);
    }

    /// <summary>Enters a registered callback: event, syscall, 32-bit syscall.</summary>
    public static bool Callback(Vcpu vcpu, CallbackType type) =>
        Enter(vcpu, vcpu.Context.Callbacks[(int)type], type == CallbackType.Event || vcpu.Context.CallbackMasksEvents[(int)type], hasErrorCode: false, 0);

    /// <summary>Delivers a pending event.</summary>
    public static bool Event(Vcpu vcpu)
    {
        vcpu.Counters.Upcalls++;
        return Callback(vcpu, CallbackType.Event);
    }

    private static bool Enter(Vcpu vcpu, ulong handler, bool maskEvents, bool hasErrorCode, uint errorCode)
    {
        ref GuestCpuState state = ref vcpu.Cpu.State;
        PvContext context = vcpu.Context;
        VcpuInfoArea info = context.Info;
        bool fromUser = context.UserMode;
        ulong oldMask = info.EventsMasked ? 1UL : 0;
        ulong stack = (fromUser ? context.KernelStack : state.Rsp) & ~15UL;
        Span<ulong> words = stackalloc ulong[8];
        int count = 0;
        words[count++] = state.Rcx;
        words[count++] = state.R11;
        if (hasErrorCode)
            words[count++] = errorCode;
        words[count++] = state.Rip;
        words[count++] = (fromUser ? state.Cs : (ulong)(state.Cs & ~3)) | (oldMask << 32);
        ulong privilege = vcpu.Domain.ArchitecturalIopl ? (ulong)context.IoPrivilege << IoPrivilegeShift : 0;
        words[count++] = (state.Rflags & ~InterruptFlag) | (oldMask == 0 ? InterruptFlag : 0) | privilege;
        words[count++] = state.Rsp;
        words[count++] = state.Ss;
        stack -= (ulong)(count * 8);
        vcpu.SwitchMode(userMode: false);
        if (!vcpu.Domain.Guest.TryWrite(vcpu.Index, userMode: false, stack, MemoryMarshal.AsBytes(words[..count])))
        {
            vcpu.Domain.Crash(vcpu, $"its kernel stack at 0x{stack:x} cannot be written while an exception or event is delivered");
            return false;
        }

        if (maskEvents)
            info.EventsMasked = true;
        state.Rsp = stack;
        state.Rip = handler;
        state.Rflags = (state.Rflags & ~ClearedOnEntry) | InterruptFlag;
        (state.Cs, state.Ss, state.Is32Bit) = (FlatSelectors.Code64, FlatSelectors.Data, false);
        return true;
    }
}
