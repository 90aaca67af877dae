using Tessera.Kernel.Domains;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Events;

/// <summary>What a port is bound to.</summary>
internal enum PortState
{
    Unbound,
    Interdomain,
    Backend,
    Virq,
    Ipi,
}

/// <summary>
/// A domain's event channels (public/event_channel.h) in the 2-level ABI: one pending and one mask bit a port in shared_info, a
/// selector word a vCPU. Any thread may send; the table itself changes under its lock.
/// </summary>
internal sealed partial class EventChannels(DomainId id, SharedInfoPage shared)
{
    /// <summary>Ports of the 2-level ABI with 64-bit words.</summary>
    public const int MaxPorts = EventChannelLayout.MaxPorts;

    private const int PortsInGroup = 64;

    private readonly Lock _gate = new();
    private readonly Dictionary<int, Port> _ports = [];
    private readonly List<EventTarget> _vcpus = [];
    private int _portsEnd = PortsInGroup;
    private bool _closed;

    private DomainId Id => id;

    /// <summary>Whether the domain has such a port, bound or free: ports come in groups, as the first of a group is needed.</summary>
    public bool IsPort(uint number) => number < (uint)Volatile.Read(ref _portsEnd);

    /// <summary>One vCPU more, before the domain runs.</summary>
    public void AddVcpu(EventTarget vcpu) => _vcpus.Add(vcpu);

    /// <summary>
    /// Joins a free port to a backend inside the VMM that the domain has for its whole life: a guest that closes the port only stops listening.
    /// </summary>
    /// <param name="notified">Called on the sending vCPU's thread; must not block.</param>
    public BackendChannel Connect(Action notified)
    {
        lock (_gate)
        {
            if (!TryAllocate(out int number))
                throw new InvalidOperationException("The domain has no free event channel.");
            BackendChannel channel = new(this, number, notified);
            _ports[number] = new Port { State = PortState.Backend, Backend = channel, IsKept = true };
            return channel;
        }
    }

    /// <summary>Joins a backend inside the VMM to a port that the guest left unbound for the backend's domain.</summary>
    /// <returns>EINVAL when the port is not such a one; ESRCH when the domain is going away.</returns>
    public XenErrno BindBackend(int number, DomainId backend, BackendChannel channel)
    {
        lock (_gate)
        {
            if (_closed)
                return XenErrno.ESRCH;
            if (!_ports.TryGetValue(number, out Port? port) || port.State != PortState.Unbound || port.RemoteDomain != backend.Value)
                return XenErrno.EINVAL;
            port.State = PortState.Backend;
            port.Backend = channel;
            return XenErrno.Success;
        }
    }

    /// <summary>Ends what <see cref="BindBackend"/> began: the guest's port is unbound again.</summary>
    public void UnbindBackend(int number, BackendChannel channel)
    {
        lock (_gate)
        {
            if (_ports.TryGetValue(number, out Port? port) && ReferenceEquals(port.Backend, channel))
            {
                port.State = PortState.Unbound;
                port.Backend = null;
            }
        }
    }

    /// <summary>Raises the port if it is still the backend's. Any thread.</summary>
    public void NotifyFrom(int number, BackendChannel channel)
    {
        int vcpu;
        lock (_gate)
        {
            if (!_ports.TryGetValue(number, out Port? port) || !ReferenceEquals(port.Backend, channel))
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
    public XenErrno BindInterdomain(EventChannels remote, int remotePort, out int number)
    {
        number = 0;
        // Lock order: the lower domain id first. A domain may bind to itself.
        EventChannels first = id.CompareTo(remote.Id) <= 0 ? this : remote;
        EventChannels second = ReferenceEquals(first, this) ? remote : this;
        lock (first._gate)
        {
            lock (second._gate)
            {
                if (!remote._ports.TryGetValue(remotePort, out Port? other) || other.State != PortState.Unbound || other.RemoteDomain != id.Value)
                    return XenErrno.EINVAL;
                if (!TryAllocate(out number))
                    return XenErrno.ENOSPC;
                _ports[number] = new Port { State = PortState.Interdomain, RemoteDomain = remote.Id.Value, Remote = remote, RemotePort = remotePort };
                other.State = PortState.Interdomain;
                other.Remote = this;
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
        if (vcpu != 0 && !IsOfAVcpu((Virq)virq))
            return XenErrno.EINVAL;
        if (FindVcpu(vcpu) is not EventTarget target)
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
        if (FindVcpu(vcpu) is null)
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
        if (FindVcpu(vcpu) is null)
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
        EventChannels? remote = null;
        BackendChannel? backend;
        int remotePort = 0;
        lock (_gate)
        {
            if (!_ports.Remove(number, out Port? port))
                return XenErrno.EINVAL;
            if (port.IsKept)
            {
                _ports[number] = port;
                return XenErrno.Success;
            }

            if (port.State == PortState.Virq && FindVcpu(port.Vcpu) is EventTarget target)
                target.VirqPorts[port.Virq] = 0;
            if (port.State == PortState.Interdomain)
                (remote, remotePort) = (port.Remote, port.RemotePort);
            backend = port.Backend;
            shared.ClearPending(number);
        }

        backend?.PortClosed();
        remote?.Unbind(remotePort, id.Value);
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
        EventChannels? remote;
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
                remote?.Notify(remotePort);
                return XenErrno.Success;
            case PortState.Ipi:
                SetPending(number, port.Vcpu);
                return XenErrno.Success;
            case PortState.Backend:
                port.Backend?.Notified();
                return XenErrno.Success;
            case PortState.Unbound:
                return XenErrno.Success;
            default:
                return XenErrno.EINVAL;
        }
    }

    /// <summary>EVTCHNOP_unmask: clears the mask bit, and delivers what was held back. A port that is bound to nothing notifies vCPU 0.</summary>
    public XenErrno Unmask(uint which)
    {
        if (!IsPort(which))
            return XenErrno.EINVAL;
        int number = (int)which;
        int vcpu;
        lock (_gate)
            vcpu = _ports.TryGetValue(number, out Port? port) ? port.Vcpu : 0;

        if (shared.ClearMask(number) && shared.IsPending(number))
            Raise(number, vcpu)?.Wake();
        return XenErrno.Success;
    }

    /// <summary>EVTCHNOP_status; the detail is the union at its end, 8 bytes.</summary>
    public bool TryStatus(int number, out EventChannelState state, out int vcpu, out ulong detail)
    {
        lock (_gate)
        {
            (state, vcpu, detail) = (EventChannelState.Closed, 0, 0);
            if (!IsPort((uint)number))
                return false;
            if (!_ports.TryGetValue(number, out Port? port))
                return true;
            vcpu = port.Vcpu;
            (state, detail) = port.State switch
            {
                PortState.Unbound => (EventChannelState.Unbound, (ulong)port.RemoteDomain),
                PortState.Interdomain => (EventChannelState.Interdomain, port.RemoteDomain | ((ulong)port.RemotePort << 32)),
                PortState.Backend => (EventChannelState.Interdomain, 0UL),
                PortState.Virq => (EventChannelState.Virq, (ulong)port.Virq),
                _ => (EventChannelState.Ipi, 0UL),
            };
            return true;
        }
    }

    /// <summary>Raises a vCPU's virtual interrupt when it is bound.</summary>
    public void RaiseVirq(int vcpu, Virq virq)
    {
        int number = Volatile.Read(ref _vcpus[vcpu].VirqPorts[(int)virq]);
        if (number != 0)
            SetPending(number, vcpu);
    }

    private void Notify(int number)
    {
        int vcpu;
        lock (_gate)
        {
            if (!_ports.TryGetValue(number, out Port? port))
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
        EventTarget? woken = null;
        lock (_gate)
        {
            if (!_closed && shared.SetPending(number))
                woken = Raise(number, vcpu);
        }

        woken?.Wake();
    }

    /// <summary>Makes a pending port visible to its vCPU; answers the vCPU if that is to be woken.</summary>
    private EventTarget? Raise(int number, int vcpu)
    {
        EventTarget? target = FindVcpu(vcpu) ?? FindVcpu(0);
        return target?.Raise(number, shared.IsMasked(number)) == true ? target : null;
    }

    /// <summary>Whether each vCPU has its own of this virtual interrupt; the others are the domain's, and begin on vCPU 0.</summary>
    private static bool IsOfAVcpu(Virq virq) => virq is Virq.Timer or Virq.Debug or Virq.Xenoprof or Virq.Xenpmu;

    private EventTarget? FindVcpu(int index) => (uint)index < (uint)_vcpus.Count ? _vcpus[index] : null;

    private bool TryAllocate(out int number)
    {
        for (number = 1; number < MaxPorts; number++)
        {
            if (_ports.ContainsKey(number))
                continue;
            if (number >= _portsEnd)
                Volatile.Write(ref _portsEnd, number + PortsInGroup);
            return true;
        }

        number = 0;
        return false;
    }

    private sealed class Port
    {
        public PortState State;
        public ushort RemoteDomain;
        public EventChannels? Remote;
        public int RemotePort;
        public int Virq;
        public int Vcpu;
        public BackendChannel? Backend;
        public bool IsKept;
    }
}
