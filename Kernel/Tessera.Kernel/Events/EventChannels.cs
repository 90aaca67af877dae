using Tessera.Kernel.Devices;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Events;

/// <summary>What a port is bound to.</summary>
internal enum PortState
{
    Closed,
    Unbound,
    Interdomain,
    Backend,
    Device,
    Virq,
    Ipi,
}

/// <summary>
/// A domain's event channels (public/event_channel.h) in the 2-level ABI: one pending and one mask bit a port in shared_info, a
/// selector word a vCPU. Any thread may send; the table itself changes under its lock.
/// </summary>
internal sealed class EventChannels(Domain domain)
{
    /// <summary>Ports of the 2-level ABI with 64-bit words.</summary>
    public const int MaxPorts = EventChannelLayout.MaxPorts;

    private readonly Lock _gate = new();
    private readonly Dictionary<int, Port> _ports = [];
    private bool _closed;

    /// <summary>Binds a free port to a backend inside the VMM.</summary>
    /// <param name="notified">Called on the sending vCPU's thread; must not block.</param>
    public EventPort BindBackend(Action notified)
    {
        lock (_gate)
        {
            if (!TryAllocate(out int number))
                throw new InvalidOperationException("The domain has no free event channel.");
            _ports[number] = new Port { State = PortState.Backend, Notified = notified };
            return new EventPort(number);
        }
    }

    /// <summary>Joins a device backend inside the VMM to a port that the guest left unbound for the backend's domain.</summary>
    /// <returns>EINVAL when the port is not such a one; ESRCH when the domain is going away.</returns>
    public XenErrno BindDevice(int number, DomainId backend, BackendChannel channel)
    {
        lock (_gate)
        {
            if (_closed)
                return XenErrno.ESRCH;
            if (!_ports.TryGetValue(number, out Port? port) || port.State != PortState.Unbound || port.RemoteDomain != backend.Value)
                return XenErrno.EINVAL;
            port.State = PortState.Device;
            port.Device = channel;
            return XenErrno.Success;
        }
    }

    /// <summary>Ends what <see cref="BindDevice"/> began: the guest's port is unbound again.</summary>
    public void UnbindDevice(int number, BackendChannel channel)
    {
        lock (_gate)
        {
            if (_ports.TryGetValue(number, out Port? port) && ReferenceEquals(port.Device, channel))
            {
                port.State = PortState.Unbound;
                port.Device = null;
            }
        }
    }

    /// <summary>Raises the port if it is still the backend's. Any thread.</summary>
    public void NotifyFrom(int number, BackendChannel channel)
    {
        int vcpu;
        lock (_gate)
        {
            if (!_ports.TryGetValue(number, out Port? port) || !ReferenceEquals(port.Device, channel))
                return;
            vcpu = port.Vcpu;
        }

        SetPending(number, vcpu);
    }

    /// <summary>EVTCHNOP_alloc_unbound: a port that a remote domain may bind.</summary>
    public XenErrno AllocateUnbound(ushort remote, out int number)
    {
        lock (_gate)
        {
            if (!TryAllocate(out number))
                return XenErrno.ENOSPC;
            _ports[number] = new Port { State = PortState.Unbound, RemoteDomain = remote };
            return XenErrno.Success;
        }
    }

    /// <summary>EVTCHNOP_bind_interdomain: joins a new local port to an unbound one of the remote domain.</summary>
    public XenErrno BindInterdomain(Domain remote, int remotePort, out int number)
    {
        number = 0;
        // Lock order: the lower domain id first. A domain may bind to itself.
        EventChannels first = domain.Id.CompareTo(remote.Id) <= 0 ? this : remote.Events;
        EventChannels second = ReferenceEquals(first, this) ? remote.Events : this;
        lock (first._gate)
        {
            lock (second._gate)
            {
                if (!remote.Events._ports.TryGetValue(remotePort, out Port? other) || other.State != PortState.Unbound || other.RemoteDomain != domain.Id.Value)
                    return XenErrno.EINVAL;
                if (!TryAllocate(out number))
                    return XenErrno.ENOSPC;
                _ports[number] = new Port { State = PortState.Interdomain, RemoteDomain = remote.Id.Value, Remote = remote, RemotePort = remotePort };
                other.State = PortState.Interdomain;
                other.Remote = domain;
                other.RemotePort = number;
            }
        }

        // Xen: an event sent before the binding must not be lost.
        SetPending(number, 0);
        return XenErrno.Success;
    }

    /// <summary>EVTCHNOP_bind_virq: one port a virtual interrupt and vCPU.</summary>
    public XenErrno BindVirq(int virq, int vcpu, out int number)
    {
        number = 0;
        if ((uint)virq >= VirqLimits.Count)
            return XenErrno.EINVAL;
        if (domain.FindVcpu(vcpu) is not Vcpu target)
            return XenErrno.ENOENT;
        lock (_gate)
        {
            if (target.VirqPorts[virq] != 0)
                return XenErrno.EEXIST;
            if (!TryAllocate(out number))
                return XenErrno.ENOSPC;
            _ports[number] = new Port { State = PortState.Virq, Virq = virq, Vcpu = vcpu };
            target.VirqPorts[virq] = number;
            return XenErrno.Success;
        }
    }

    /// <summary>EVTCHNOP_bind_ipi: a port that notifies a vCPU of the same domain.</summary>
    public XenErrno BindIpi(int vcpu, out int number)
    {
        number = 0;
        if (domain.FindVcpu(vcpu) is null)
            return XenErrno.ENOENT;
        lock (_gate)
        {
            if (!TryAllocate(out number))
                return XenErrno.ENOSPC;
            _ports[number] = new Port { State = PortState.Ipi, Vcpu = vcpu };
            return XenErrno.Success;
        }
    }

    /// <summary>EVTCHNOP_bind_vcpu: which vCPU a port notifies.</summary>
    public XenErrno BindVcpu(int number, int vcpu)
    {
        if (domain.FindVcpu(vcpu) is null)
            return XenErrno.ENOENT;
        lock (_gate)
        {
            if (!_ports.TryGetValue(number, out Port? port))
                return XenErrno.EINVAL;
            if (port.State is PortState.Ipi || (port.State is PortState.Virq && (Virq)port.Virq is Virq.Timer or Virq.Debug or Virq.Xenpmu))
                return XenErrno.EINVAL;
            port.Vcpu = vcpu;
            return XenErrno.Success;
        }
    }

    /// <summary>EVTCHNOP_close.</summary>
    public XenErrno Close(int number)
    {
        Domain? remote = null;
        BackendChannel? device;
        int remotePort = 0;
        lock (_gate)
        {
            if (!_ports.Remove(number, out Port? port))
                return XenErrno.EINVAL;
            if (port.State == PortState.Backend)
            {
                // The VMM's own end (console, store) stays: a guest that closes its port only stops listening.
                _ports[number] = port;
                return XenErrno.Success;
            }

            if (port.State == PortState.Virq && domain.FindVcpu(port.Vcpu) is Vcpu target)
                target.VirqPorts[port.Virq] = 0;
            if (port.State == PortState.Interdomain)
                (remote, remotePort) = (port.Remote, port.RemotePort);
            device = port.Device;
            domain.Shared.ClearPending(number);
        }

        device?.PortClosed();
        remote?.Events.Unbind(remotePort, domain.Id.Value);
        return XenErrno.Success;
    }

    /// <summary>The domain's memory goes away: closes every port, and no event of another domain, a backend or a timer touches it after this.</summary>
    public void Close()
    {
        Reset();
        lock (_gate)
            _closed = true;
    }

    /// <summary>EVTCHNOP_reset: closes every port.</summary>
    public void Reset()
    {
        int[] numbers;
        lock (_gate)
            numbers = [.. _ports.Keys];
        foreach (int number in numbers)
            _ = Close(number);
    }

    /// <summary>EVTCHNOP_send, called by the guest.</summary>
    public XenErrno Send(int number)
    {
        Port? port;
        Domain? remote;
        int remotePort;
        lock (_gate)
        {
            if (!_ports.TryGetValue(number, out port))
                return XenErrno.EINVAL;
            (remote, remotePort) = (port.Remote, port.RemotePort);
        }

        switch (port.State)
        {
            case PortState.Interdomain:
                remote?.Events.Notify(remotePort);
                return XenErrno.Success;
            case PortState.Ipi:
                SetPending(number, port.Vcpu);
                return XenErrno.Success;
            case PortState.Device:
                port.Device?.Notified();
                return XenErrno.Success;
            case PortState.Backend:
                port.Notified?.Invoke();
                return XenErrno.Success;
            case PortState.Unbound:
                return XenErrno.Success;
            default:
                return XenErrno.EINVAL;
        }
    }

    /// <summary>EVTCHNOP_unmask: clears the mask bit, and delivers what was held back.</summary>
    public XenErrno Unmask(int number)
    {
        int vcpu;
        lock (_gate)
        {
            if (!_ports.TryGetValue(number, out Port? port))
                return XenErrno.EINVAL;
            vcpu = port.Vcpu;
        }

        if (domain.Shared.ClearMask(number) && domain.Shared.IsPending(number))
            Raise(number, vcpu)?.Wake();
        return XenErrno.Success;
    }

    /// <summary>EVTCHNOP_status; the detail is the union at its end, 8 bytes.</summary>
    public bool TryStatus(int number, out EventChannelState state, out int vcpu, out ulong detail)
    {
        lock (_gate)
        {
            (state, vcpu, detail) = (EventChannelState.Closed, 0, 0);
            if ((uint)number >= MaxPorts)
                return false;
            if (!_ports.TryGetValue(number, out Port? port))
                return true;
            vcpu = port.Vcpu;
            (state, detail) = port.State switch
            {
                PortState.Unbound => (EventChannelState.Unbound, (ulong)port.RemoteDomain),
                PortState.Interdomain => (EventChannelState.Interdomain, port.RemoteDomain | ((ulong)port.RemotePort << 32)),
                PortState.Backend or PortState.Device => (EventChannelState.Interdomain, 0UL),
                PortState.Virq => (EventChannelState.Virq, (ulong)port.Virq),
                _ => (EventChannelState.Ipi, 0UL),
            };
            return true;
        }
    }

    /// <summary>Raises a bound port from the VMM's side: a backend's notification. Any thread.</summary>
    public void Notify(EventPort port) => Notify(port.Value);

    /// <summary>Raises a vCPU's virtual interrupt when it is bound.</summary>
    public void RaiseVirq(Vcpu vcpu, Virq virq)
    {
        int number = Volatile.Read(ref vcpu.VirqPorts[(int)virq]);
        if (number != 0)
            SetPending(number, vcpu.Index);
    }

    private void Notify(int number)
    {
        int vcpu;
        lock (_gate)
        {
            if (!_ports.TryGetValue(number, out Port? port) || port.State == PortState.Closed)
                return;
            vcpu = port.Vcpu;
        }

        SetPending(number, vcpu);
    }

    private void Unbind(int number, ushort remote)
    {
        lock (_gate)
        {
            if (_ports.TryGetValue(number, out Port? port) && port.State == PortState.Interdomain && port.RemoteDomain == remote)
            {
                port.State = PortState.Unbound;
                port.Remote = null;
            }
        }
    }

    private void SetPending(int number, int vcpu)
    {
        // Under the gate: the sender may be another domain's vCPU while this domain is destroyed. The wake calls the scheduling policy
        // and comes after it: a policy that hangs holds nothing that guests need.
        Vcpu? woken = null;
        lock (_gate)
        {
            if (!_closed && domain.Shared.SetPending(number))
                woken = Raise(number, vcpu);
        }

        woken?.Wake();
    }

    /// <summary>Makes a pending port visible to its vCPU; answers the vCPU if that is to be woken.</summary>
    private Vcpu? Raise(int number, int vcpu)
    {
        Vcpu? target = domain.FindVcpu(vcpu) ?? domain.FindVcpu(0);
        if (target is null)
            return null;
        return (!domain.Shared.IsMasked(number) && domain.Shared.Select(target, number)) || target.IsPolling(number) ? target : null;
    }

    private bool TryAllocate(out int number)
    {
        for (number = 1; number < MaxPorts; number++)
        {
            if (!_ports.ContainsKey(number))
                return true;
        }

        number = 0;
        return false;
    }

    private sealed class Port
    {
        public PortState State;
        public ushort RemoteDomain;
        public Domain? Remote;
        public int RemotePort;
        public int Virq;
        public int Vcpu;
        public Action? Notified;
        public BackendChannel? Device;
    }
}
