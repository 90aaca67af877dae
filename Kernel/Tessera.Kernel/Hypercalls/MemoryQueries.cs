using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Hypercalls;

/// <summary>The operations of memory_op that change nothing: questions, and what a PV guest is refused.</summary>
internal static class MemoryQueries
{
    private const int MaxOrder = 9;

    /// <summary>One of them.</summary>
    public static long Operation(ref HypercallCall call, MemoryOp operation) => operation switch
    {
        MemoryOp.MachineMemoryMap => HypercallCall.Error(XenErrno.EPERM),
        MemoryOp.MachphysCompatMfnList => HypercallCall.Error(XenErrno.EOPNOTSUPP),
        MemoryOp.GetSharingFreedPages or MemoryOp.GetSharingSharedPages => 0,
        MemoryOp.Exchange => HypercallCall.Error(Exchange(ref call)),
        MemoryOp.MachphysMfnList => MachineTableFrames(ref call),
        MemoryOp.MaximumGpfn => OfDomain(ref call, XenErrno.Success),
        MemoryOp.AddToPhysmap => AddToPhysmap(ref call),
        MemoryOp.RemoveFromPhysmap or MemoryOp.AddToPhysmapBatch => OfDomain(ref call, XenErrno.EACCES, XenErrno.EACCES),
        MemoryOp.SetPodTarget or MemoryOp.GetPodTarget or MemoryOp.AccessOp => Always(ref call, XenErrno.EINVAL),
        MemoryOp.SetMemoryMap => OfDomain(ref call, XenErrno.EINVAL),
        MemoryOp.ClaimPages => HypercallCall.Error(Claim(ref call)),
        MemoryOp.GetVnumainfo => OfDomain(ref call, XenErrno.EOPNOTSUPP),
        MemoryOp.AcquireResource => OfDomain(ref call, XenErrno.ESRCH),
        MemoryOp.ReservedDeviceMemoryMap => HypercallCall.Error(
            !call.TryRead(call.A1, out uint flags) ? XenErrno.EFAULT : flags > 1 ? XenErrno.EINVAL : XenErrno.Success),
        _ => HypercallCall.Error(XenErrno.ENOSYS),
    };

    /// <summary>An answer for whoever gives an argument that can be read.</summary>
    private static long Always(ref HypercallCall call, XenErrno answer) =>
        HypercallCall.Error(call.TryRead(call.A1, out ulong _) ? answer : XenErrno.EFAULT);

    /// <summary>The structure begins with a domain: the answer for the caller itself, and for others.</summary>
    private static long OfDomain(ref HypercallCall call, XenErrno own, XenErrno others = XenErrno.EPERM)
    {
        if (!call.TryRead(call.A1, out ushort domain))
            return HypercallCall.Error(XenErrno.EFAULT);
        if (call.IsSelf(domain))
            return HypercallCall.Error(own);
        XenErrno refusal = call.RefusalFor(domain);
        return HypercallCall.Error(refusal == XenErrno.EPERM ? others : refusal);
    }

    /// <summary>machphys_mfn_list: the table's pages are none of the guest's frames, and have no numbers that it could use.</summary>
    private static long MachineTableFrames(ref HypercallCall call) =>
        call.TryRead(call.A1, out FrameList list) && (list.Max == 0 || call.TryRead(list.Start, out ulong _)) && call.TryWrite(call.A1,
            list with { Count = 0 }) ? 0 : HypercallCall.Error(XenErrno.EFAULT);

    private static long AddToPhysmap(ref HypercallCall call)
    {
        const uint ForeignFrames = 4;
        if (!call.TryRead(call.A1, out PhysmapRequest request))
            return HypercallCall.Error(XenErrno.EFAULT);
        return request.Space == ForeignFrames ? HypercallCall.Error(XenErrno.ENOSYS) : OfDomain(ref call, XenErrno.EACCES, XenErrno.EACCES);
    }

    private static XenErrno Claim(ref HypercallCall call)
    {
        if (!call.TryRead(call.A1, out Extents request))
            return XenErrno.EFAULT;
        return request.Start != 0 || request.Order != 0 || request.Flags != 0 ? XenErrno.EINVAL
            : call.IsSelf(request.Domain) ? XenErrno.EPERM : call.RefusalFor(request.Domain);
    }

    /// <summary>exchange: frames for others with properties of the machine's memory, which frames here do not have.</summary>
    private static XenErrno Exchange(ref HypercallCall call)
    {
        if (!call.TryRead(call.A1, out ExchangeRequest request))
            return XenErrno.EFAULT;
        Extents given = request.In, wanted = request.Out;
        if (given.Order > MaxOrder || wanted.Order > MaxOrder)
            return XenErrno.EPERM;
        if (request.Exchanged > given.Count || given.Domain != wanted.Domain || ulong.MaxValue >> (int)given.Order < given.Count
            || ulong.MaxValue >> (int)wanted.Order < wanted.Count || given.Count << (int)given.Order != wanted.Count << (int)wanted.Order)
            return XenErrno.EINVAL;
        if (request.Exchanged == given.Count)
            return XenErrno.Success;
        if (!call.IsSelf(given.Domain))
            return call.RefusalFor(given.Domain);
        return call.TryRead(given.Start + (request.Exchanged * sizeof(ulong)), out ulong _) ? XenErrno.EINVAL : XenErrno.EFAULT;
    }

    private readonly record struct PhysmapRequest(ushort Domain, ushort Size, uint Space, ulong Index, ulong Frame);

    private readonly record struct FrameList(uint Max, uint Padding, ulong Start, uint Count, uint Padding2);

    private readonly record struct Extents(ulong Start, ulong Count, uint Order, uint Flags, ushort Domain, ushort Padding, uint Padding2);

    private readonly record struct ExchangeRequest(Extents In, Extents Out, ulong Exchanged);
}
