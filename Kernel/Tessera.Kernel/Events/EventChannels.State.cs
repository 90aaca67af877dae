using Tessera.Kernel.Snapshots;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Events;

// Saving and restoring. Pending and mask bits lie in guest memory.
internal sealed partial class EventChannels
{
    /// <summary>
    /// Writes its ports, but for those that backends of the VMM keep. A channel to another domain is written as one whose other end was closed, since a restored domain has no peers.
    /// </summary>
    /// <param name="writer">Where to.</param>
    /// <param name="meanwhile">Called while no event can be raised.</param>
    public void Save(StateWriter writer, Action meanwhile)
    {
        lock (_gate)
        {
            KeyValuePair<int, Port>[] own = [.. _ports.Where(entry => !entry.Value.IsKept)];
            writer.Number(own.Length);
            foreach ((int number, Port port) in own)
            {
                bool isLost = port.State == PortState.Backend || (port.State == PortState.Interdomain && !ReferenceEquals(port.Remote, this));
                writer.Number(number);
                writer.Number((int)(isLost ? PortState.Unbound : port.State));
                // Another domain's number would be a stranger's.
                writer.Number(port.RemoteDomain == id.Value ? DomainIds.Self : port.RemoteDomain == 0 && !isLost ? 0 : DomainIds.Invalid);
                writer.Number(port.RemotePort);
                writer.Number(port.Virq);
                writer.Number(port.Vcpu);
            }

            meanwhile();
        }
    }

    /// <summary>Reads the ports of a domain that has none but those that backends keep.</summary>
    /// <exception cref="SnapshotException">They cannot be.</exception>
    public void Restore(StateReader reader)
    {
        lock (_gate)
        {
            int count = reader.Count("the number of event channels", MaxPorts);
            for (int index = 0; index < count; index++)
            {
                int number = (int)reader.Number("an event channel's port", 1, MaxPorts - 1);
                Port port = new()
                {
                    State = (PortState)reader.Number("an event channel's state", 0, (long)PortState.Ipi),
                    RemoteDomain = (ushort)reader.Number("an event channel's domain", 0, ushort.MaxValue),
                    RemotePort = (int)reader.Number("an event channel's other port", 0, MaxPorts - 1),
                    Virq = (int)reader.Number("an event channel's interrupt", 0, VirqLimits.Count - 1),
                    Vcpu = (int)reader.Number("an event channel's vCPU", 0, _vcpus.Count - 1),
                };
                if (port.RemoteDomain == DomainIds.Self)
                    port.RemoteDomain = id.Value;
                if (port.State == PortState.Backend || !_ports.TryAdd(number, port))
                    throw StateReader.Wrong($"event channel {number}", "a backend's, or there twice");
                if (number >= _portsEnd)
                    Volatile.Write(ref _portsEnd, (number / PortsInGroup * PortsInGroup) + PortsInGroup);
                if (port.State == PortState.Interdomain)
                    port.Remote = this;
                if (port.State != PortState.Virq)
                    continue;
                ref int virq = ref _vcpus[port.Vcpu].VirqPorts[port.Virq];
                if (virq != 0)
                    throw StateReader.Wrong($"virtual interrupt {port.Virq}", "bound twice");
                virq = number;
            }

            foreach ((int number, Port port) in _ports)
            {
                if (port.State != PortState.Interdomain)
                    continue;
                if (!_ports.TryGetValue(port.RemotePort, out Port? other) || other.State != PortState.Interdomain || other.RemotePort != number)
                    throw StateReader.Wrong($"event channel {number}", "joined to one that is not joined to it");
            }
        }
    }
}
