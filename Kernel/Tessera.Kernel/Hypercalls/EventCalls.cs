using Tessera.Kernel.Domains;
using Tessera.Kernel.Events;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Hypercalls;

/// <summary>event_channel_op (public/event_channel.h), 2-level ABI; the FIFO ABI's calls answer -ENOSYS, which selects it.</summary>
internal sealed class EventCalls(IHypercallHost host)
{
    /// <summary>event_channel_op(command, argument).</summary>
    public long Operation(ref HypercallCall call)
    {
        EventChannels events = call.Domain.Events;
        switch ((EventChannelOp)call.A0)
        {
            case EventChannelOp.Send:
                return call.TryRead(call.A1, out uint sent) ? HypercallCall.Error(events.Send(Port(sent))) : Fault;
            case EventChannelOp.Unmask:
                return call.TryRead(call.A1, out uint unmasked) ? HypercallCall.Error(events.Unmask(Port(unmasked))) : Fault;
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
            case EventChannelOp.Reset:
                if (!call.TryRead(call.A1, out ushort domain))
                    return Fault;
                if (domain != DomainIds.Self && domain != call.Domain.Id.Value)
                    return HypercallCall.Error(XenErrno.EPERM);
                events.Reset();
                return 0;
            default:
                return HypercallCall.Error(XenErrno.ENOSYS);
        }
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
        if (request.Domain != DomainIds.Self && request.Domain != call.Domain.Id.Value)
            return HypercallCall.Error(XenErrno.EPERM);
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
            return HypercallCall.Error(XenErrno.ESRCH);
        XenErrno error = events.BindInterdomain(remote, Port(request.RemotePort), out int port);
        return error != XenErrno.Success ? HypercallCall.Error(error) : call.TryWrite(call.A1, request with { LocalPort = (uint)port }) ? 0 : Fault;
    }

    private static long Status(ref HypercallCall call, EventChannels events)
    {
        if (!call.TryRead(call.A1, out StatusRequest request))
            return Fault;
        if (request.Domain != DomainIds.Self && request.Domain != call.Domain.Id.Value)
            return HypercallCall.Error(XenErrno.EPERM);
        if (request.Port > int.MaxValue || !events.TryStatus((int)request.Port, out EventChannelState state, out int vcpu, out ulong detail))
            return HypercallCall.Error(XenErrno.EINVAL);
        return call.TryWrite(call.A1, request with { State = (uint)state, Vcpu = (uint)vcpu, Detail = detail }) ? 0 : Fault;
    }

    // What goes back into the guest's memory names every byte: a gap would be filled with whatever the VMM has there.
    private readonly record struct PortAndVcpu(uint Port, uint Vcpu);

    private readonly record struct VcpuAndPort(uint Vcpu, uint Port);

    private readonly record struct VirqBinding(uint Virq, uint Vcpu, uint Port);

    private readonly record struct UnboundRequest(ushort Domain, ushort Remote, uint Port);

    private readonly record struct InterdomainRequest(ushort Domain, ushort Padding, uint RemotePort, uint LocalPort);

    private readonly record struct StatusRequest(ushort Domain, ushort Padding, uint Port, uint State, uint Vcpu, ulong Detail);
}
