using Tessera.Kernel.Domains;
using Tessera.Kernel.Time;
using Tessera.Sdk;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Hypercalls;

/// <summary>Timers and per-vCPU areas: set_timer_op and vcpu_op (public/vcpu.h).</summary>
internal static unsafe class TimeCalls
{
    private static readonly Nanoseconds LongestPeriod = new((long)(ulong.MaxValue >> 2)); // STIME_DELTA_MAX

    /// <summary>set_timer_op(instant in nanoseconds of system time, 0 for none).</summary>
    public static long SetTimer(ref HypercallCall call)
    {
        if (call.A0 == 0)
            TimerQueue.Disarm(call.Vcpu.Timer);
        else
            call.Domain.Host.Arm(call.Vcpu, call.Vcpu.Timer, call.Domain.ToMachine(Ns(call.A0)));
        return 0;
    }

    /// <summary>vcpu_op(command, vCPU, argument).</summary>
    public static long VcpuOperation(ref HypercallCall call)
    {
        Vcpu? found = call.A1 > int.MaxValue ? null : call.Domain.FindVcpu((int)call.A1);
        if (found is not Vcpu vcpu)
            return HypercallCall.Error(XenErrno.ENOENT);
        switch ((VcpuOp)call.A0)
        {
            case VcpuOp.IsUp:
                return 1;
            case VcpuOp.Initialise:
                return HypercallCall.Error(call.TryRead(call.A2, out ulong _) ? XenErrno.EEXIST : XenErrno.EFAULT);
            case VcpuOp.Up:
                return 0;
            case VcpuOp.GetRunstateInfo:
                return vcpu.TryWriteRunstate(call.A2) ? 0 : HypercallCall.Error(XenErrno.EFAULT);
            case VcpuOp.RegisterRunstateMemoryArea:
                if (!call.TryRead(call.A2, out ulong area))
                    return HypercallCall.Error(XenErrno.EFAULT);
                if (!HypercallCall.IsGuestAddress(area))
                    return HypercallCall.Error(XenErrno.EFAULT);
                // An area that is not mapped now may be later: it is written whenever the vCPU begins to run.
                vcpu.Context.RunstateArea = area;
                if (area != 0)
                    _ = vcpu.TryWriteRunstate(area);
                return 0;
            case VcpuOp.StopPeriodicTimer or VcpuOp.StopSingleshotTimer:
                if (ReferenceEquals(vcpu, call.Vcpu))
                    Stop(vcpu, isPeriodic: (VcpuOp)call.A0 == VcpuOp.StopPeriodicTimer);
                return 0;
            case VcpuOp.SetPeriodicTimer:
                return ReferenceEquals(vcpu, call.Vcpu) ? SetPeriodic(ref call) : HypercallCall.Error(XenErrno.EINVAL);
            case VcpuOp.SetSingleshotTimer:
                return ReferenceEquals(vcpu, call.Vcpu) ? SetSingleshot(ref call) : HypercallCall.Error(XenErrno.EINVAL);
            case VcpuOp.RegisterVcpuInfo:
                return RegisterInfo(ref call, vcpu);
            case VcpuOp.RegisterVcpuTimeMemoryArea:
                if (!call.TryRead(call.A2, out ulong timeArea))
                    return HypercallCall.Error(XenErrno.EFAULT);
                if (!HypercallCall.IsGuestAddress(timeArea))
                    return HypercallCall.Error(XenErrno.EFAULT);
                vcpu.Context.TimeArea = timeArea;
                if (timeArea != 0)
                    _ = vcpu.TryWriteTime(timeArea);
                return 0;
            case VcpuOp.GetPhysid:
                return HypercallCall.Error(XenErrno.EINVAL);
            case VcpuOp.SendNmi:
                // No NMI is raised, as with a guest that has no handler for it.
                return call.A2 == 0 ? 0 : HypercallCall.Error(XenErrno.EINVAL);
            default:
                return HypercallCall.Error(XenErrno.ENOSYS);
        }
    }

    private static Nanoseconds Ns(ulong value) => new((long)Math.Min(value, long.MaxValue));

    private static void Stop(Vcpu vcpu, bool isPeriodic)
    {
        // One that is expiring on another physical CPU arms itself once more at most.
        if (isPeriodic)
            vcpu.Period = Nanoseconds.Zero;
        TimerQueue.Disarm(isPeriodic ? vcpu.PeriodicTimer : vcpu.Timer);
    }

    private static long SetPeriodic(ref HypercallCall call)
    {
        if (!call.TryRead(call.A2, out ulong period))
            return HypercallCall.Error(XenErrno.EFAULT);
        if (Ns(period) < Vcpu.ShortestPeriod || Ns(period) > LongestPeriod)
            return HypercallCall.Error(XenErrno.EINVAL);
        call.Vcpu.Period = Ns(period);
        IVcpuHost host = call.Domain.Host;
        host.Arm(call.Vcpu, call.Vcpu.PeriodicTimer, host.Clock.Now + call.Vcpu.Period);
        return 0;
    }

    private static long SetSingleshot(ref HypercallCall call)
    {
        if (!call.TryRead(call.A2, out Singleshot request))
            return HypercallCall.Error(XenErrno.EFAULT);
        IVcpuHost host = call.Domain.Host;
        host.Arm(call.Vcpu, call.Vcpu.Timer, call.Domain.ToMachine(Ns(request.Timeout)));
        return 0;
    }

    /// <summary>register_vcpu_info: once, to a place inside one own frame, which stays writable memory from then on.</summary>
    private static long RegisterInfo(ref HypercallCall call, Vcpu vcpu)
    {
        if (!call.TryRead(call.A2, out InfoRequest request))
            return HypercallCall.Error(XenErrno.EFAULT);
        if (request.Offset > 4096 - VcpuInfo.Size || (request.Offset & 7) != 0)
            return HypercallCall.Error(XenErrno.ENXIO);
        if (vcpu.Context.Info.Frame != Mfn.None)
            return HypercallCall.Error(XenErrno.EINVAL);
        Mfn frame = new((long)(request.Frame & long.MaxValue));
        if (!call.Domain.Memory.Has(frame) || !call.Domain.Writes.TryBegin(frame))
            return HypercallCall.Error(XenErrno.EINVAL);
        // SAFETY: the frame is the domain's own and writes to it end with the domain; the structure lies inside it.
        vcpu.Context.Info.Move(call.Domain.Writes.Page(frame) + request.Offset, frame);
        return 0;
    }

    private readonly record struct Singleshot(ulong Timeout, uint Flags);

    private readonly record struct InfoRequest(ulong Frame, uint Offset, uint Reserved);
}
