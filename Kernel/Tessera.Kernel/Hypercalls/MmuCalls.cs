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
        if (((uint)call.A1 & Preempted) != 0 && call.A2 != 0)
            _ = call.TryRead(call.A2, out done);
        if (RefusalOfTables(ref call, (ushort)(call.A3 >> 16)) is { } refusal)
            return HypercallCall.Error(refusal);
        // Whose frames they are is looked at with the first update, which is then not done.
        XenErrno error = RefusalOfFrames(ref call, (ushort)call.A3);
        if (error != XenErrno.Success)
            count = 0;
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

        // What cannot be written there is nobody's error, as with Xen.
        if (call.A2 != 0)
            _ = call.TryWrite(call.A2, done + index);
        return HypercallCall.Error(error);
    }

    /// <summary>update_va_mapping(address, entry, flags): flushes are implied, since every change is made effective.</summary>
    public static long UpdateVaMapping(ref HypercallCall call)
    {
        XenErrno error = call.Domain.Mmu.UpdateVaMapping(call.Vcpu.Index, new VirtualAddress(call.A0), call.A1);
        return HypercallCall.Error(error == XenErrno.Success && !HasVcpuMask(ref call, call.A2) ? XenErrno.EFAULT : error);
    }

    /// <summary>update_va_mapping_otherdomain(address, entry, flags, domain): a guest's frames are its own.</summary>
    public static long UpdateVaMappingOtherDomain(ref HypercallCall call) => (ushort)call.A3 == DomainIds.Self
        ? UpdateVaMapping(ref call) : HypercallCall.Error(RefusalOfOwner(ref call, (ushort)call.A3));

    /// <summary>mmuext_op(operations, count, done, foreign domain).</summary>
    public static long MmuExtended(ref HypercallCall call)
    {
        uint count = (uint)call.A1 & ~Preempted;
        uint done = 0;
        if (((uint)call.A1 & Preempted) != 0 && call.A2 != 0)
            _ = call.TryRead(call.A2, out done);
        if ((ushort)call.A3 != DomainIds.Self)
            return HypercallCall.Error(RefusalOfOwner(ref call, (ushort)call.A3));
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

        // What cannot be written there is nobody's error, as with Xen.
        if (call.A2 != 0)
            _ = call.TryWrite(call.A2, done + index);
        return HypercallCall.Error(error);
    }

    /// <summary>What becomes of updates to page tables of a domain, given as its number and one, or 0 for the caller's own; null when they may be done.</summary>
    private static XenErrno? RefusalOfTables(ref HypercallCall call, ushort owner)
    {
        if (owner == 0 || owner - 1 == call.Domain.Id.Value)
            return null;
        // That there is such a domain and that it is not the caller's to change shows with the first update.
        XenErrno refusal = call.RefusalFor((ushort)(owner - 1));
        if (refusal == XenErrno.EPERM && call.A2 != 0)
            _ = call.TryWrite(call.A2, 0u);
        return refusal;
    }

    /// <summary>Whether entries may map frames of a domain: the caller's own; devices' pages count as own, since there are none.</summary>
    private static XenErrno RefusalOfFrames(ref HypercallCall call, ushort owner) =>
        owner is DomainIds.Self or DomainIds.Io ? XenErrno.Success : RefusalOfOwner(ref call, owner);

    /// <summary>The owner that a guest names for frames that are not its own: one there is, or one of Xen's own.</summary>
    private static XenErrno RefusalOfOwner(ref HypercallCall call, ushort owner) =>
        owner is DomainIds.Io or DomainIds.Xen ? XenErrno.EPERM : owner == call.Domain.Id.Value ? XenErrno.ESRCH : call.RefusalFor(owner);

    /// <summary>Whether the flush that goes with update_va_mapping is for the vCPUs of a mask that can be read; there is nothing left to flush.</summary>
    private static bool HasVcpuMask(ref HypercallCall call, ulong flags)
    {
        const ulong FlushKinds = (ulong)(UpdateVaFlags.TlbFlush | UpdateVaFlags.Invlpg);
        ulong mask = flags & ~FlushKinds;
        return (flags & FlushKinds) is 0 or FlushKinds || mask is 0 or (ulong)UpdateVaFlags.All || call.TryRead(mask, out ulong _);
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
            case MmuExtOp.TlbFlushLocal or MmuExtOp.InvlpgLocal or MmuExtOp.TlbFlushAll or MmuExtOp.InvlpgAll:
                return XenErrno.Success;
            case MmuExtOp.TlbFlushMulti or MmuExtOp.InvlpgMulti:
                return call.TryRead(argument2, out ulong _) ? XenErrno.Success : XenErrno.EINVAL;
            // Caches are for those who have devices.
            case MmuExtOp.FlushCache:
                return XenErrno.EACCES;
            case MmuExtOp.FlushCacheGlobal:
                return XenErrno.EINVAL;
            case MmuExtOp.MarkSuper or MmuExtOp.UnmarkSuper:
                return XenErrno.EOPNOTSUPP;
            case MmuExtOp.SetLdt:
                return SegmentOps.SetLdt(ref call, argument1, argument2 > MaxDescriptors ? int.MaxValue : (int)argument2);
            case (MmuExtOp)14 or > MmuExtOp.UnmarkSuper:
                return XenErrno.ENOSYS;
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
