using System.Runtime.InteropServices;
using Tessera.Kernel.Domains;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Hypercalls;

/// <summary>mmu_update, update_va_mapping and mmuext_op: batching, continuation and operand checks; the MMU plugin decides each update.</summary>
internal static class MmuCalls
{
    private const uint Preempted = 1u << 31;
    private const int MaxDescriptors = 8192;

    /// <summary>mmu_update(requests, count, done, foreign domain).</summary>
    public static long MmuUpdate(ref HypercallCall call)
    {
        uint count = (uint)call.A1 & ~Preempted;
        uint done = 0;
        if (((uint)call.A1 & Preempted) != 0 && call.A2 != 0 && !call.TryRead(call.A2, out done))
            return HypercallCall.Error(XenErrno.EFAULT);
        if (!IsSelf(ref call, (uint)call.A3))
            return HypercallCall.Error(XenErrno.EPERM);
        XenErrno error = XenErrno.Success;
        Span<ulong> request = stackalloc ulong[2];
        uint index = 0;
        bool began = false;
        while (index < count)
        {
            if ((began && call.ShouldStop) || !call.FinishMmuWork())
            {
                call.A0 += index * (ulong)MmuUpdateEntry.Size;
                call.A1 = (count - index) | Preempted;
                call.Continues = true;
                break;
            }

            if (!call.Domain.Guest.TryRead(call.Vcpu.Index, userMode: false, call.A0 + (index * (ulong)MmuUpdateEntry.Size), MemoryMarshal.AsBytes(request)))
            {
                error = XenErrno.EFAULT;
                break;
            }

            began = true;
            XenErrno answer = call.Domain.Mmu.Update(request[0], request[1]);
            if (answer == XenErrno.ERESTART)
                continue;
            error = answer;
            if (error != XenErrno.Success)
                break;
            index++;
        }

        if (call.A2 != 0 && !call.TryWrite(call.A2, done + index))
            error = XenErrno.EFAULT;
        return HypercallCall.Error(error);
    }

    /// <summary>update_va_mapping(address, entry, flags): flushes are implied, since every change is made effective.</summary>
    public static long UpdateVaMapping(ref HypercallCall call) =>
        HypercallCall.Error(call.Domain.Mmu.UpdateVaMapping(call.Vcpu.Index, new VirtualAddress(call.A0), call.A1));

    /// <summary>mmuext_op(operations, count, done, foreign domain).</summary>
    public static long MmuExtended(ref HypercallCall call)
    {
        uint count = (uint)call.A1 & ~Preempted;
        uint done = 0;
        if (((uint)call.A1 & Preempted) != 0 && call.A2 != 0 && !call.TryRead(call.A2, out done))
            return HypercallCall.Error(XenErrno.EFAULT);
        if (!IsSelf(ref call, (uint)call.A3))
            return HypercallCall.Error(XenErrno.EPERM);
        XenErrno error = XenErrno.Success;
        Span<ulong> operation = stackalloc ulong[3];
        uint index = 0;
        bool began = false;
        while (index < count)
        {
            if ((began && call.ShouldStop) || !call.FinishMmuWork())
            {
                call.A0 += index * (ulong)MmuExtEntry.Size;
                call.A1 = (count - index) | Preempted;
                call.Continues = true;
                break;
            }

            if (!call.Domain.Guest.TryRead(call.Vcpu.Index, userMode: false, call.A0 + (index * (ulong)MmuExtEntry.Size), MemoryMarshal.AsBytes(operation)))
            {
                error = XenErrno.EFAULT;
                break;
            }

            began = true;
            XenErrno answer = One(ref call, (uint)operation[0], operation[1], operation[2]);
            if (answer == XenErrno.ERESTART)
                continue;
            error = answer;
            if (error != XenErrno.Success)
                break;
            index++;
        }

        if (call.A2 != 0 && !call.TryWrite(call.A2, done + index))
            error = XenErrno.EFAULT;
        return HypercallCall.Error(error);
    }

    /// <summary>Only a domain's own memory: foreign access belongs to a control domain, which guests are not.</summary>
    private static bool IsSelf(ref HypercallCall call, uint foreign)
    {
        ushort memory = (ushort)foreign;
        int tables = (int)(foreign >> 16);
        return (memory == DomainIds.Self || memory == call.Domain.Id.Value) && (tables == 0 || tables - 1 == DomainIds.Self || tables - 1 == call.Domain.Id.Value);
    }

    private static void RootChanged(Vcpu vcpu, MmuExtOp command)
    {
        if (command == MmuExtOp.NewBaseptr)
        {
            vcpu.Cpu.State.Root = vcpu.Domain.Mmu.Root(vcpu.Index, userMode: false);
            vcpu.Accelerator?.RootChanged(userMode: false);
        }
        else if (command == MmuExtOp.NewUserBaseptr)
        {
            vcpu.Accelerator?.RootChanged(userMode: true);
        }
    }

    private static XenErrno One(ref HypercallCall call, uint command, ulong argument1, ulong argument2)
    {
        switch ((MmuExtOp)command)
        {
            // Every update is made effective before guest code runs again, so that there is never anything left to flush.
            case MmuExtOp.TlbFlushLocal or MmuExtOp.InvlpgLocal or MmuExtOp.TlbFlushMulti or MmuExtOp.InvlpgMulti or MmuExtOp.TlbFlushAll or MmuExtOp.InvlpgAll
                or MmuExtOp.FlushCache or MmuExtOp.FlushCacheGlobal:
                return XenErrno.Success;
            case MmuExtOp.SetLdt:
                return SegmentOps.SetLdt(ref call, argument1, argument2 > MaxDescriptors ? int.MaxValue : (int)argument2);
            default:
                XenErrno error = argument1 > (ulong)long.MaxValue >> 12
                    ? XenErrno.EINVAL
                    : call.Domain.Mmu.Extended(call.Vcpu.Index, command, new Mfn((long)argument1), new Mfn((long)(argument2 & ((ulong)long.MaxValue >> 12))));
                if (error == XenErrno.Success)
                    RootChanged(call.Vcpu, (MmuExtOp)command);
                return error;
        }
    }
}
