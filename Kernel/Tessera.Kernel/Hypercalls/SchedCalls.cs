using System.Runtime.InteropServices;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Events;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Hypercalls;

/// <summary>sched_op: yield, block, poll, shut down (public/sched.h).</summary>
internal static class SchedCalls
{
    /// <summary>sched_op_compat(command, argument): the older numbers.</summary>
    public static long Compat(ref HypercallCall call) => (SchedOp)call.A0 switch
    {
        SchedOp.Yield or SchedOp.Block => Operation(ref call),
        SchedOp.Shutdown => Shutdown(ref call, (uint)call.A1),
        _ => HypercallCall.Error(XenErrno.ENOSYS),
    };

    /// <summary>sched_op(command, argument).</summary>
    public static long Operation(ref HypercallCall call)
    {
        switch ((SchedOp)call.A0)
        {
            case SchedOp.Yield:
                call.Vcpu.Yielded = true;
                call.Outcome = TrapOutcome.Reschedule;
                return 0;
            case SchedOp.Block:
                call.Vcpu.Context.Info.EventsMasked = false;
                Block(ref call);
                return 0;
            case SchedOp.Poll:
                return Poll(ref call);
            case SchedOp.Shutdown:
                return call.TryRead(call.A1, out uint reason) ? Shutdown(ref call, reason) : HypercallCall.Error(XenErrno.EFAULT);
            case SchedOp.ShutdownCode:
                if (!call.TryRead(call.A1, out uint code))
                    return HypercallCall.Error(XenErrno.EFAULT);
                call.Domain.ShutdownCode = (ShutdownReason)(byte)code;
                return 0;
            case SchedOp.Watchdog:
                return call.TryRead(call.A1, out WatchdogRequest watchdog)
                    ? call.Domain.Watchdogs.Set(call.Vcpu, watchdog.Id, watchdog.Seconds) : HypercallCall.Error(XenErrno.EFAULT);
            case SchedOp.RemoteShutdown:
                return HypercallCall.Error(!call.TryRead(call.A1, out ushort domain) ? XenErrno.EFAULT
                    : domain == call.Domain.Id.Value ? XenErrno.EPERM : call.RefusalFor(domain));
            case SchedOp.PinOverride:
                return HypercallCall.Error(XenErrno.EPERM);
            default:
                return HypercallCall.Error(XenErrno.ENOSYS);
        }
    }

    private static long Shutdown(ref HypercallCall call, uint reason)
    {
        call.Domain.Shutdown((ShutdownReason)(byte)reason, call.Vcpu);
        call.Outcome = TrapOutcome.Ended;
        return 0;
    }

    /// <summary>Sleeps unless an event is due; one that comes between the look and the sleep is a wake that the core keeps.</summary>
    private static void Block(ref HypercallCall call)
    {
        Vcpu vcpu = call.Vcpu;
        IVcpuHost host = call.Domain.Host;
        host.Core.PrepareToSleep(vcpu.Schedulable);
        if (vcpu.Context.Info.IsEventDue || !host.Core.Sleep(vcpu.Schedulable, host.Clock.Now))
            return;
        vcpu.WentToSleep = true;
        call.Outcome = TrapOutcome.Reschedule;
    }

    private static long Poll(ref HypercallCall call)
    {
        if (!call.TryRead(call.A1, out PollRequest request))
            return HypercallCall.Error(XenErrno.EFAULT);
        if (request.Count > EventTarget.MaxPolled)
            return HypercallCall.Error(XenErrno.EINVAL);
        Span<uint> ports = stackalloc uint[EventTarget.MaxPolled];
        ports = ports[..(int)request.Count];
        if (!call.Domain.Guest.TryRead(call.Vcpu.Index, userMode: false, request.Ports, MemoryMarshal.AsBytes(ports)))
            return HypercallCall.Error(XenErrno.EFAULT);
        Vcpu vcpu = call.Vcpu;
        IVcpuHost host = call.Domain.Host;
        host.Core.PrepareToSleep(vcpu.Schedulable);
        vcpu.Events.BeginPoll(ports);
        bool ready = vcpu.Context.Info.IsEventDue;
        foreach (uint port in ports)
        {
            if (port == 0 || !call.Domain.Events.IsPort(port))
            {
                vcpu.EndPoll();
                return HypercallCall.Error(XenErrno.EINVAL);
            }

            ready |= call.Domain.Shared.IsPending((int)port);
        }

        if (ready || !host.Core.Sleep(vcpu.Schedulable, host.Clock.Now))
        {
            vcpu.EndPoll();
            return 0;
        }

        if (request.Timeout != 0)
            host.Arm(vcpu, vcpu.PollTimeout, call.Domain.ToMachine(new Nanoseconds((long)Math.Min(request.Timeout, long.MaxValue))));
        vcpu.WentToSleep = true;
        call.Outcome = TrapOutcome.Reschedule;
        return 0;
    }

    private readonly record struct WatchdogRequest(uint Id, uint Seconds);

    private readonly record struct PollRequest(ulong Ports, uint Count, ulong Timeout);
}
