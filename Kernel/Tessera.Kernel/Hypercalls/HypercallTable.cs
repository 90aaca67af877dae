using System.Runtime.InteropServices;
using Tessera.Kernel.Domains;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Hypercalls;

/// <summary>The hypercalls by number (public/xen.h). Numbers without a handler answer -ENOSYS.</summary>
internal sealed class HypercallTable
{
    private readonly HypercallHandler?[] _handlers = new HypercallHandler?[TrapCounters.Hypercalls];

    public HypercallTable(IHypercallHost host)
    {
        Set(Hypercall.SetTrapTable, TrapOps.SetTrapTable);
        Set(Hypercall.StackSwitch, TrapOps.StackSwitch);
        Set(Hypercall.SetCallbacks, TrapOps.SetCallbacks);
        Set(Hypercall.CallbackOp, TrapOps.CallbackOperation);
        Set(Hypercall.FpuTaskswitch, TrapOps.FpuTaskSwitch);
        Set(Hypercall.SetDebugreg, TrapOps.SetDebugRegister);
        Set(Hypercall.GetDebugreg, TrapOps.GetDebugRegister);
        Set(Hypercall.Iret, TrapOps.Iret);
        Set(Hypercall.NmiOp, TrapOps.NmiOperation);
        Set(Hypercall.SetGdt, SegmentOps.SetGdt);
        Set(Hypercall.UpdateDescriptor, SegmentOps.UpdateDescriptor);
        Set(Hypercall.SetSegmentBase, SegmentOps.SetSegmentBase);
        Set(Hypercall.MmuUpdate, MmuCalls.MmuUpdate);
        Set(Hypercall.UpdateVaMapping, MmuCalls.UpdateVaMapping);
        Set(Hypercall.MmuextOp, MmuCalls.MmuExtended);
        Set(Hypercall.MemoryOp, new MemoryCalls(host).Operation);
        Set(Hypercall.Multicall, Multicall);
        Set(Hypercall.SetTimerOp, TimeCalls.SetTimer);
        Set(Hypercall.VcpuOp, TimeCalls.VcpuOperation);
        Set(Hypercall.XenVersion, VersionCalls.Operation);
        Set(Hypercall.ConsoleIo, VersionCalls.ConsoleOperation);
        Set(Hypercall.VmAssist, VersionCalls.VmAssist);
        Set(Hypercall.PhysdevOp, PhysdevCalls.Operation);
        Set(Hypercall.PhysdevOpCompat, PhysdevCalls.Compat);
        Set(Hypercall.GrantTableOp, GrantCalls.Operation);
        Set(Hypercall.SchedOp, SchedCalls.Operation);
        Set(Hypercall.SchedOpCompat, SchedCalls.Compat);
        EventCalls events = new(host);
        Set(Hypercall.EventChannelOp, events.Operation);
        Set(Hypercall.EventChannelOpCompat, events.Compat);
        Set(Hypercall.UpdateVaMappingOtherdomain, MmuCalls.UpdateVaMappingOtherDomain);
        Set(Hypercall.PlatformOp, PrivilegedCalls.Platform);
        Set(Hypercall.Sysctl, PrivilegedCalls.Control);
        Set(Hypercall.Domctl, PrivilegedCalls.Control);
        Set(Hypercall.KexecOp, PrivilegedCalls.ForDomain0);
        Set(Hypercall.HypfsOp, PrivilegedCalls.ForDomain0);
        Set(Hypercall.Arch0, PrivilegedCalls.ForDomain0);
        Set(Hypercall.Arch0 + 1, PrivilegedCalls.PagingControl);
        Set(Hypercall.XenpmuOp, PrivilegedCalls.Counters);
        Set(Hypercall.DmOp, PrivilegedCalls.DeviceModel);
        Set(Hypercall.XenoprofOp, PrivilegedCalls.Profile);
        Set(Hypercall.HvmOp, PrivilegedCalls.Hvm);
    }

    /// <summary>Runs the hypercall that a vCPU in kernel mode asked for with its registers.</summary>
    /// <param name="vcpu">The vCPU.</param>
    /// <param name="pcpu">Where it runs.</param>
    /// <param name="instructionBytes">How long the instruction was that it came by: a call that goes on later is made by it again.</param>
    public TrapOutcome Run(Vcpu vcpu, IPcpu pcpu, int instructionBytes)
    {
        ref GuestCpuState state = ref vcpu.Cpu.State;
        HypercallCall call = new()
        {
            Vcpu = vcpu,
            Pcpu = pcpu,
            Number = (int)Math.Min(state.Rax, int.MaxValue),
            A0 = state.Rdi,
            A1 = state.Rsi,
            A2 = state.Rdx,
            A3 = state.R10,
            A4 = state.R8,
            A5 = state.R9,
        };
        long result;
        lock (vcpu.Domain.Gate)
            result = Invoke(ref call);
        if (call.Continues)
        {
            (state.Rdi, state.Rsi, state.Rdx, state.R10, state.R8, state.R9) = (call.A0, call.A1, call.A2, call.A3, call.A4, call.A5);
            state.Rip -= (uint)instructionBytes;
            return TrapOutcome.Reschedule;
        }

        if (!call.KeepsRegisters)
            state.Rax = (ulong)result;
        return call.Outcome;
    }

    private void Set(Hypercall number, HypercallHandler handler) => _handlers[(int)number] = handler;

    private long Invoke(ref HypercallCall call)
    {
        if ((uint)call.Number >= TrapCounters.Hypercalls)
            return HypercallCall.Error(XenErrno.ENOSYS);
        if (!call.FinishMmuWork())
        {
            call.Continues = true;
            return 0;
        }

        call.Vcpu.Counters.ByHypercall[call.Number]++;
        HypercallHandler? handler = _handlers[call.Number];
        return handler is null ? HypercallCall.Error(XenErrno.ENOSYS) : handler(ref call);
    }

    /// <summary>multicall: entries run in order; results go back into the guest's array. Stops between entries when others wait.</summary>
    private long Multicall(ref HypercallCall call)
    {
        if (call.IsNested)
            return HypercallCall.Error(XenErrno.EINVAL);
        if (!HypercallCall.IsGuestAddress(call.A0))
            return HypercallCall.Error(XenErrno.EFAULT);
        Span<byte> entry = stackalloc byte[MultiCallEntry.Size];
        while ((uint)call.A1 > 0)
        {
            ulong address = call.A0;
            if (!call.Domain.Guest.TryRead(call.Vcpu.Index, userMode: false, address, entry))
                return HypercallCall.Error(XenErrno.EFAULT);
            Span<ulong> words = MemoryMarshal.Cast<byte, ulong>(entry);
            HypercallCall nested = new()
            {
                Vcpu = call.Vcpu,
                Pcpu = call.Pcpu,
                Number = (int)Math.Min(words[0], int.MaxValue),
                A0 = words[2],
                A1 = words[3],
                A2 = words[4],
                A3 = words[5],
                A4 = words[6],
                A5 = words[7],
                IsNested = true,
            };
            long result = Invoke(ref nested);
            if (nested.Outcome != TrapOutcome.Resume)
                call.Outcome = nested.Outcome;
            if (nested.Continues)
            {
                (words[2], words[3], words[4], words[5], words[6], words[7]) = (nested.A0, nested.A1, nested.A2, nested.A3, nested.A4, nested.A5);
                if (!call.Domain.Guest.TryWrite(call.Vcpu.Index, userMode: false, address, entry))
                    return HypercallCall.Error(XenErrno.EFAULT);
                call.Continues = true;
                return 0;
            }

            if (!call.TryWrite(address + MultiCallEntry.Result, result))
                return HypercallCall.Error(XenErrno.EFAULT);
            call.A0 += MultiCallEntry.Size;
            call.A1 = (uint)call.A1 - 1;
            if (call.Outcome == TrapOutcome.Ended)
                return 0;
            if ((uint)call.A1 > 0 && call.ShouldStop)
            {
                call.Continues = true;
                return 0;
            }
        }

        return 0;
    }
}
