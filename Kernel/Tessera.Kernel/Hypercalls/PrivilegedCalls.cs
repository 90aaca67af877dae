using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Hypercalls;

/// <summary>Hypercalls for control domains and other kinds of guests: what Xen answers a PV guest that tries them.</summary>
internal static class PrivilegedCalls
{
    private const uint PlatformVersion = 0x0300_0001;
    private const uint ControlVersion = 0x15;
    private const uint MaxDmBuffers = 2;
    private const int LastProfileOp = 16;
    private const int GetBuffer = 10;

    /// <summary>platform_op(operation): for domain 0.</summary>
    public static long Platform(ref HypercallCall call) => Versioned(ref call, PlatformVersion);

    /// <summary>sysctl and domctl(operation): for control domains.</summary>
    public static long Control(ref HypercallCall call) => Versioned(ref call, ControlVersion);

    /// <summary>kexec_op, hypfs_op, mca: for domain 0, whatever the argument.</summary>
    public static long ForDomain0(ref HypercallCall call) => HypercallCall.Error(XenErrno.EPERM);

    /// <summary>xenpmu_op: there are no counters.</summary>
    public static long Counters(ref HypercallCall call) => HypercallCall.Error(XenErrno.EOPNOTSUPP);

    /// <summary>dm_op(domain, count, buffers): for device models.</summary>
    public static long DeviceModel(ref HypercallCall call)
    {
        if ((uint)call.A1 > MaxDmBuffers)
            return HypercallCall.Error(XenErrno.E2BIG);
        if ((uint)call.A1 == 0)
            return HypercallCall.Error(XenErrno.ENODATA);
        return call.TryRead(call.A2,
            out ulong _) ? HypercallCall.Error(call.RefusalFor((ushort)call.A0)) : HypercallCall.Error(XenErrno.EFAULT);
    }

    /// <summary>xenoprof_op(command, argument): there is no profiler.</summary>
    public static long Profile(ref HypercallCall call)
    {
        int command = (int)call.A0;
        if (command is < 0 or > LastProfileOp)
            return HypercallCall.Error(XenErrno.EINVAL);
        if (command is not (0 or GetBuffer))
            return HypercallCall.Error(XenErrno.EPERM);
        return call.TryRead(call.A1, out uint _) ? HypercallCall.Error(XenErrno.ENODEV) : HypercallCall.Error(XenErrno.EFAULT);
    }

    /// <summary>paging_domctl_cont(operation): the rest of a domctl.</summary>
    public static long PagingControl(ref HypercallCall call) =>
        HypercallCall.Error(call.TryRead(call.A0, out ulong _) ? XenErrno.EOPNOTSUPP : XenErrno.EFAULT);

    /// <summary>hvm_op(command, argument): for guests of the other kind.</summary>
    public static long Hvm(ref HypercallCall call)
    {
        const int SetParameter = 0, GetParameter = 1, FlushTlbs = 5, PagetableDying = 9, Trace = 10, SetMemoryAccess = 11, GetTime = 15,
            SetEntry = 23, GuestRequest = 24,
            AlternateP2m = 25;
        XenErrno answer = (int)call.A0 switch
        {
            SetParameter or GetParameter or SetMemoryAccess or GuestRequest or SetEntry or FlushTlbs => XenErrno.EINVAL,
            PagetableDying or AlternateP2m => XenErrno.EOPNOTSUPP,
            Trace => XenErrno.Success,
            GetTime => XenErrno.ESRCH,
            _ => XenErrno.ENOSYS,
        };
        if ((int)call.A0 == GuestRequest && call.A1 == 0)
            return 0;
        bool hasArgument = answer != XenErrno.ENOSYS && (int)call.A0 is not (FlushTlbs or SetEntry or GuestRequest or AlternateP2m);
        return HypercallCall.Error(!hasArgument || call.TryRead(call.A1, out uint _) ? answer : XenErrno.EFAULT);
    }

    // The operation begins with its number and the version of the interface.
    private static long Versioned(ref HypercallCall call, uint version) =>
        HypercallCall.Error(!call.TryRead(call.A0,
            out Header header) ? XenErrno.EFAULT : header.Version != version ? XenErrno.EACCES : XenErrno.EPERM);

    private readonly record struct Header(uint Command, uint Version);
}
