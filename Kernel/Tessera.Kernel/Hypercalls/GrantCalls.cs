using Tessera.Kernel.Domains;
using Tessera.Kernel.Grants;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Hypercalls;

/// <summary>grant_table_op (public/grant_table.h): the caller's own table; mapping is <see cref="GrantMapCalls"/>, copying <see cref="GrantCopyCalls"/>.</summary>
internal static class GrantCalls
{
    private const int TransferSize = 24;
    private const int SwapSize = 12;
    private const int CacheFlushSize = 16;
    private const int PageBytes = 4096;
    private const uint FlushOperations = 0x8000_0003; // clean, invalidate, of a grant
    private const uint FlushInvalidate = 2;

    /// <summary>grant_table_op(command, operations, count).</summary>
    public static long Operation(ref HypercallCall call)
    {
        if ((int)call.A2 < 0)
            return HypercallCall.Error(XenErrno.EINVAL);
        switch ((GrantTableOp)(uint)call.A0)
        {
            case GrantTableOp.MapGrantRef:
                return EachOperation(ref call, GrantLayout.MapSize, GrantMapCalls.Map);
            case GrantTableOp.UnmapGrantRef:
                return EachOperation(ref call, GrantLayout.UnmapSize, GrantMapCalls.Unmap);
            case GrantTableOp.UnmapAndReplace:
                return EachOperation(ref call, GrantLayout.UnmapSize, GrantMapCalls.UnmapAndReplace);
            case GrantTableOp.Copy:
                return EachOperation(ref call, GrantLayout.CopySize, GrantCopyCalls.Copy);
            case GrantTableOp.Transfer:
                return EachOperation(ref call, TransferSize, Transfer);
            case GrantTableOp.Swap:
                return EachOperation(ref call, SwapSize, Swap);
            case GrantTableOp.SetupTable:
                return call.A2 == 1 ? SetUp(ref call) : HypercallCall.Error(XenErrno.EINVAL);
            case GrantTableOp.QuerySize:
                return call.A2 == 1 ? QuerySize(ref call) : HypercallCall.Error(XenErrno.EINVAL);
            case GrantTableOp.GetStatusFrames:
                return call.A2 == 1 ? StatusFrames(ref call) : HypercallCall.Error(XenErrno.EINVAL);
            case GrantTableOp.SetVersion:
                return SetVersion(ref call);
            case GrantTableOp.GetVersion:
                return GetVersion(ref call);
            case GrantTableOp.CacheFlush:
                return CacheFlush(ref call);
            default:
                return HypercallCall.Error(XenErrno.ENOSYS);
        }
    }

    /// <summary>Runs an array of operations, each with a status of its own; goes on later when others wait.</summary>
    private static long EachOperation(ref HypercallCall call, int size, GrantOperation operation)
    {
        uint count = (uint)call.A2;
        for (uint index = 0; index < count; index++)
        {
            if (index != 0 && call.ShouldStop)
            {
                call.A1 += index * (ulong)size;
                call.A2 = count - index;
                call.Continues = true;
                return 0;
            }

            if (!operation(ref call, call.A1 + (index * (ulong)size)))
                return HypercallCall.Error(XenErrno.EFAULT);
        }

        return 0;
    }

    /// <summary>What may be known of another domain: that it is not the caller's business, or that there is none.</summary>
    private static GrantStatus StatusOf(ref HypercallCall call, ushort domain) =>
        call.IsSelf(domain) ? GrantStatus.Okay : call.RefusalFor(domain) == XenErrno.ESRCH ? GrantStatus.BadDomain : GrantStatus.PermissionDenied;

    /// <summary>What a reference of domain 0's is, which is the VMM and grants nothing.</summary>
    public static GrantStatus OfDomain0(uint reference) =>
        reference < GrantTable.MaxFrames * PageBytes / GrantLayout.EntrySize ? GrantStatus.GeneralError : GrantStatus.BadGntref;

    private static long SetVersion(ref HypercallCall call)
    {
        if (!call.TryRead(call.A1, out uint version))
            return HypercallCall.Error(XenErrno.EFAULT);
        XenErrno error = call.Domain.Grants.SetVersion(version);
        return call.TryWrite(call.A1, (uint)call.Domain.Grants.Version) ? HypercallCall.Error(error) : HypercallCall.Error(XenErrno.EFAULT);
    }

    private static long GetVersion(ref HypercallCall call)
    {
        if (!call.TryRead(call.A1, out VersionQuery query))
            return HypercallCall.Error(XenErrno.EFAULT);
        if (!call.IsSelf(query.Domain))
            return HypercallCall.Error(call.RefusalFor(query.Domain));
        return call.TryWrite(call.A1, query with { Version = (uint)call.Domain.Grants.Version }) ? 0 : HypercallCall.Error(XenErrno.EFAULT);
    }

    private static long QuerySize(ref HypercallCall call)
    {
        if (!call.TryRead(call.A1, out SizeQuery query))
            return HypercallCall.Error(XenErrno.EFAULT);
        GrantStatus status = StatusOf(ref call, query.Domain);
        SizeQuery answer = query with { Status = (short)status };
        if (status == GrantStatus.Okay)
            answer = answer with { Frames = (uint)call.Domain.Grants.FrameCount, MaxFrames = GrantTable.MaxFrames };
        return call.TryWrite(call.A1, answer) ? 0 : HypercallCall.Error(XenErrno.EFAULT);
    }

    private static long SetUp(ref HypercallCall call)
    {
        if (!call.TryRead(call.A1, out TableSetup setup))
            return HypercallCall.Error(XenErrno.EFAULT);
        GrantStatus status = StatusOf(ref call, setup.Domain);
        if (status == GrantStatus.Okay && !call.Domain.Grants.TryGrow(setup.Frames))
            status = GrantStatus.GeneralError;
        for (int index = 0; status == GrantStatus.Okay && index < setup.Frames; index++)
        {
            if (!call.TryWrite(setup.FrameList + ((ulong)index * 8), (ulong)call.Domain.Memory.GrantFrame(index).Value))
                status = GrantStatus.BadVirtAddr;
        }

        return call.TryWrite(call.A1, setup with { Status = (short)status }) ? 0 : HypercallCall.Error(XenErrno.EFAULT);
    }

    private static long StatusFrames(ref HypercallCall call)
    {
        if (!call.TryRead(call.A1, out StatusSetup setup))
            return HypercallCall.Error(XenErrno.EFAULT);
        GrantStatus status = StatusOf(ref call, setup.Domain);
        if (status == GrantStatus.Okay && (call.Domain.Grants.Version != 2 || setup.Frames > call.Domain.Grants.StatusFrameCount))
            status = GrantStatus.GeneralError;
        for (int index = 0; status == GrantStatus.Okay && index < setup.Frames; index++)
        {
            if (!call.TryWrite(setup.FrameList + ((ulong)index * 8), (ulong)call.Domain.Memory.GrantStatusFrame(index).Value))
                status = GrantStatus.BadVirtAddr;
        }

        return call.TryWrite(call.A1, setup with { Status = (short)status }) ? 0 : HypercallCall.Error(XenErrno.EFAULT);
    }

    /// <summary>cache_flush: caches here are coherent, so that there is nothing to do but to look at the arguments.</summary>
    private static long CacheFlush(ref HypercallCall call)
    {
        for (uint index = 0; index < (uint)call.A2; index++)
        {
            if (index != 0 && call.ShouldStop)
            {
                call.A1 += index * (ulong)CacheFlushSize;
                call.A2 -= index;
                call.Continues = true;
                return 0;
            }

            if (!call.TryRead(call.A1 + (index * (ulong)CacheFlushSize), out FlushRequest request))
                return HypercallCall.Error(XenErrno.EFAULT);
            if (request.Offset + request.Length > PageBytes || (request.Operation & ~FlushOperations) != 0)
                return HypercallCall.Error(XenErrno.EINVAL);
            if (request.Length != 0 && request.Operation != 0 && !call.Domain.Memory.Has(new Mfn((long)(request.Address >> 12))))
                return HypercallCall.Error(XenErrno.EINVAL);
            if (request.Length != 0 && request.Operation == FlushInvalidate)
                return HypercallCall.Error(XenErrno.EOPNOTSUPP);
        }

        return 0;
    }

    // Frames do not change hands here. Of Xen's statuses this is the one after which the page is still the caller's.
    private static bool Transfer(ref HypercallCall call, ulong address) =>
        call.TryRead(address, out TransferRequest request) && call.TryWrite(address, request with { Status = (short)GrantStatus.BadPage });

    private static bool Swap(ref HypercallCall call, ulong address) =>
        call.TryRead(address, out SwapRequest request)
        && call.TryWrite(address, request with { Status = (short)call.Domain.Grants.Swap(request.First, request.Second) });

    // What goes back into the guest's memory names every byte: a gap would be filled with whatever the VMM has there.
    private readonly record struct VersionQuery(ushort Domain, ushort Padding, uint Version);

    private readonly record struct SizeQuery(ushort Domain, ushort Padding, uint Frames, uint MaxFrames, short Status, ushort Padding2);

    private readonly record struct TableSetup(ushort Domain, ushort Padding, uint Frames, short Status, ushort Padding2, uint Padding3, ulong FrameList);

    private readonly record struct StatusSetup(uint Frames, ushort Domain, short Status, ulong FrameList);

    private readonly record struct TransferRequest(ulong Frame, ushort Domain, ushort Padding, uint Reference, short Status, ushort Padding2, uint Padding3);

    private readonly record struct FlushRequest(ulong Address, ushort Offset, ushort Length, uint Operation);

    private readonly record struct SwapRequest(uint First, uint Second, short Status, ushort Padding);
}

/// <summary>One operation of an array at a guest address; false when its structure cannot be read or written.</summary>
internal delegate bool GrantOperation(ref HypercallCall call, ulong address);
