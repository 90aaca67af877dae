using Tessera.Kernel.Domains;
using Tessera.Kernel.Events;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Hypercalls;

/// <summary>event_channel_op (public/event_channel.h), 2-level ABI; a good init_control of the FIFO ABI answers -ENOSYS, which selects it.</summary>
internal sealed class EventCalls(IHypercallHost host)
{
    /// <summary>A reset that goes on (EVTCHNOP_reset_cont): here it is done at once.</summary>
    private const EventChannelOp ResetContinued = (EventChannelOp)14;

    /// <summary>event_channel_op(command, argument).</summary>
    public long Operation(ref HypercallCall call)
    {
        EventChannels events = call.Domain.Events;
        switch ((EventChannelOp)call.A0)
        {
            case EventChannelOp.Send:
                return call.TryRead(call.A1, out uint sent) ? HypercallCall.Error(events.Send(Port(sent))) : Fault;
            case EventChannelOp.Unmask:
                return call.TryRead(call.A1, out uint unmasked) ? HypercallCall.Error(events.Unmask(unmasked)) : Fault;
            case EventChannelOp.Close:
                return call.TryRead(call.A1, out uint closed) ? HypercallCall.Error(events.Close(Port(closed))) : Fault;
            case EventChannelOp.BindVirq:
                return BindVirq(ref call, events);
            case EventChannelOp.BindIpi:
                return BindIpi(ref call, events);
            case EventChannelOp.BindVcpu:
                return call.TryRead(call.A1, out PortAndVcpu bind) ? HypercallCall.Error(events.BindVcpu(Port(bind.Port), Index(bind.Vcpu))) : Fault;
            case EventChannelOp.AllocUnbound:
                return AllocateUnbound(ref call, events);
            case EventChannelOp.BindInterdomain:
                return BindInterdomain(ref call, events);
            case EventChannelOp.Status:
                return Status(ref call, events);
            case EventChannelOp.Reset or ResetContinued:
                if (!call.TryRead(call.A1, out ushort domain))
                    return Fault;
                if (!call.IsSelf(domain))
                    return HypercallCall.Error(call.RefusalFor(domain));
                events.Reset();
                return 0;
            case EventChannelOp.BindPirq:
                return HypercallCall.Error(!call.TryRead(call.A1, out uint interrupt) ? XenErrno.EFAULT
                    : interrupt >= PhysdevCalls.Interrupts ? XenErrno.EINVAL : XenErrno.EPERM);
            case EventChannelOp.InitControl:
                return InitializeControl(ref call);
            case EventChannelOp.ExpandArray:
                return HypercallCall.Error(call.TryRead(call.A1, out ulong _) ? XenErrno.EOPNOTSUPP : XenErrno.EFAULT);
            case EventChannelOp.SetPriority:
                return HypercallCall.Error(!call.TryRead(call.A1, out PortAndVcpu priority) ? XenErrno.EFAULT
                    : events.IsPort(priority.Port) ? XenErrno.ENOSYS : XenErrno.EINVAL);
            default:
                return HypercallCall.Error(XenErrno.ENOSYS);
        }
    }

    /// <summary>The older form: command and argument in one structure.</summary>
    public long Compat(ref HypercallCall call)
    {
        if (!call.TryRead(call.A0, out uint command))
            return Fault;
        (call.A1, call.A0) = (call.A0 + sizeof(uint), command);
        return (EventChannelOp)command <= EventChannelOp.BindVcpu ? Operation(ref call) : HypercallCall.Error(XenErrno.ENOSYS);
    }

    private static long Fault => HypercallCall.Error(XenErrno.EFAULT);

    private static int Port(uint value) => value < EventChannels.MaxPorts ? (int)value : 0;

    private static int Index(uint value) => value <= int.MaxValue ? (int)value : -1;

    private static long BindVirq(ref HypercallCall call, EventChannels events)
    {
        if (!call.TryRead(call.A1, out VirqBinding request))
            return Fault;
        XenErrno error = events.BindVirq(Index(request.Virq), Index(request.Vcpu), out int port);
        return error != XenErrno.Success ? HypercallCall.Error(error) : call.TryWrite(call.A1, request with { Port = (uint)port }) ? 0 : Fault;
    }

    private static long BindIpi(ref HypercallCall call, EventChannels events)
    {
        if (!call.TryRead(call.A1, out VcpuAndPort request))
            return Fault;
        XenErrno error = events.BindIpi(Index(request.Vcpu), out int port);
        return error != XenErrno.Success ? HypercallCall.Error(error) : call.TryWrite(call.A1, request with { Port = (uint)port }) ? 0 : Fault;
    }

    private static long AllocateUnbound(ref HypercallCall call, EventChannels events)
    {
        if (!call.TryRead(call.A1, out UnboundRequest request))
            return Fault;
        if (!call.IsSelf(request.Domain))
            return HypercallCall.Error(call.RefusalFor(request.Domain));
        ushort remote = request.Remote == DomainIds.Self ? call.Domain.Id.Value : request.Remote;
        XenErrno error = events.AllocateUnbound(remote, out int port);
        return error != XenErrno.Success ? HypercallCall.Error(error) : call.TryWrite(call.A1, request with { Port = (uint)port }) ? 0 : Fault;
    }

    private long BindInterdomain(ref HypercallCall call, EventChannels events)
    {
        if (!call.TryRead(call.A1, out InterdomainRequest request))
            return Fault;
        EventChannels? remote = request.Domain == DomainIds.Self ? events : host.FindDomain(new DomainId(request.Domain))?.Events;
        if (remote is null)
            return HypercallCall.Error(request.Domain == 0 ? XenErrno.EINVAL : XenErrno.ESRCH);
        XenErrno error = events.BindInterdomain(remote, Port(request.RemotePort), out int port);
        return error != XenErrno.Success ? HypercallCall.Error(error) : call.TryWrite(call.A1, request with { LocalPort = (uint)port }) ? 0 : Fault;
    }

    private static long Status(ref HypercallCall call, EventChannels events)
    {
        if (!call.TryRead(call.A1, out StatusRequest request))
            return Fault;
        if (!call.IsSelf(request.Domain))
            return HypercallCall.Error(call.RefusalFor(request.Domain));
        if (request.Port > int.MaxValue || !events.TryStatus((int)request.Port, out EventChannelState state, out int vcpu, out ulong detail))
            return HypercallCall.Error(XenErrno.EINVAL);
        return call.TryWrite(call.A1, request with { State = (uint)state, Vcpu = (uint)vcpu, Detail = detail }) ? 0 : Fault;
    }

    /// <summary>init_control: its arguments are checked as Xen does; there is no FIFO to begin with, which selects the 2-level ABI.</summary>
    private static long InitializeControl(ref HypercallCall call)
    {
        const int ControlBlockBytes = 72;
        if (!call.TryRead(call.A1, out ControlRequest request))
            return Fault;
        if (call.Domain.FindVcpu(Index(request.Vcpu)) is null)
            return HypercallCall.Error(XenErrno.ENOENT);
        bool fits = request.Offset <= 4096 - ControlBlockBytes && (request.Offset & 7) == 0;
        return HypercallCall.Error(fits && request.Frame <= long.MaxValue && call.Domain.Memory.Has(new Mfn((long)request.Frame)) ? XenErrno.ENOSYS : XenErrno.EINVAL);
    }

    // What goes back into the guest's memory names every byte: a gap would be filled with whatever the VMM has there.
    private readonly record struct ControlRequest(ulong Frame, uint Offset, uint Vcpu);

    private readonly record struct PortAndVcpu(uint Port, uint Vcpu);

    private readonly record struct VcpuAndPort(uint Vcpu, uint Port);

    private readonly record struct VirqBinding(uint Virq, uint Vcpu, uint Port);

    private readonly record struct UnboundRequest(ushort Domain, ushort Remote, uint Port);

    private readonly record struct InterdomainRequest(ushort Domain, ushort Padding, uint RemotePort, uint LocalPort);

    private readonly record struct StatusRequest(ushort Domain, ushort Padding, uint Port, uint State, uint Vcpu, ulong Detail);
}
