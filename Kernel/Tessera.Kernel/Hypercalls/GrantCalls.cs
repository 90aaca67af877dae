using Tessera.Kernel.Memory;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Hypercalls;

/// <summary>grant_table_op: the guest's own table, version 1. Mapping others' grants needs a backend domain, which guests are not yet.</summary>
internal static class GrantCalls
{
    /// <summary>grant_table_op(command, operations, count).</summary>
    public static long Operation(ref HypercallCall call)
    {
        if (call.A2 != 1)
            return HypercallCall.Error(call.A2 == 0 ? XenErrno.Success : XenErrno.EINVAL);
        return (GrantTableOp)call.A0 switch
        {
            GrantTableOp.SetVersion => SetVersion(ref call),
            GrantTableOp.QuerySize => QuerySize(ref call),
            GrantTableOp.SetupTable => Setup(ref call),
            GrantTableOp.GetVersion => call.TryWrite(call.A1 + 4, 1u) ? 0 : HypercallCall.Error(XenErrno.EFAULT),
            _ => HypercallCall.Error(XenErrno.ENOSYS),
        };
    }

    private static bool IsSelf(ref HypercallCall call, ushort domain) => domain == DomainIds.Self || domain == call.Domain.Id.Value;

    private static long SetVersion(ref HypercallCall call)
    {
        if (!call.TryRead(call.A1, out uint version))
            return HypercallCall.Error(XenErrno.EFAULT);
        return version == 1 ? 0 : HypercallCall.Error(version == 2 ? XenErrno.ENOSYS : XenErrno.EINVAL);
    }

    private static long QuerySize(ref HypercallCall call)
    {
        if (!call.TryRead(call.A1, out SizeQuery query))
            return HypercallCall.Error(XenErrno.EFAULT);
        SizeQuery answer = IsSelf(ref call, query.Domain)
            ? query with { Frames = DomainMemory.GrantFrames, MaxFrames = DomainMemory.GrantFrames, Status = (short)GrantStatus.Okay }
            : query with { Status = (short)GrantStatus.PermissionDenied };
        return call.TryWrite(call.A1, answer) ? 0 : HypercallCall.Error(XenErrno.EFAULT);
    }

    private static long Setup(ref HypercallCall call)
    {
        if (!call.TryRead(call.A1, out TableSetup setup))
            return HypercallCall.Error(XenErrno.EFAULT);
        GrantStatus status = !IsSelf(ref call, setup.Domain) ? GrantStatus.PermissionDenied
            : setup.Frames > DomainMemory.GrantFrames ? GrantStatus.GeneralError : GrantStatus.Okay;
        for (int index = 0; status == GrantStatus.Okay && index < setup.Frames; index++)
        {
            if (!call.TryWrite(setup.FrameList + ((ulong)index * 8), (ulong)call.Domain.Memory.GrantFrame(index).Value))
                return HypercallCall.Error(XenErrno.EFAULT);
        }

        return call.TryWrite(call.A1, setup with { Status = (short)status }) ? 0 : HypercallCall.Error(XenErrno.EFAULT);
    }

    private readonly record struct SizeQuery(ushort Domain, uint Frames, uint MaxFrames, short Status);

    private readonly record struct TableSetup(ushort Domain, uint Frames, short Status, ulong FrameList);
}
