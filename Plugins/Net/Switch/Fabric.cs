using System.Collections.Immutable;
using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Net.Switch;

/// <summary>A port: where its frames go, and how many addresses were learnt behind it.</summary>
/// <param name="receiver">Its interface.</param>
/// <param name="address">The interface's own address, which is never learnt anywhere else.</param>
/// <param name="mostLearnt">The most other addresses behind it.</param>
internal sealed class SwitchPort(INetworkReceiver receiver, MacAddress address, int mostLearnt)
{
    public INetworkReceiver Receiver { get; } = receiver;

    public MacAddress Address { get; } = address;

    public int MostLearnt { get; } = mostLearnt;

    public string Domain { get; set; } = "";

    /// <summary>Under the fabric's gate.</summary>
    public int Learnt { get; set; }
}

/// <summary>
/// The ports of one network and who is behind them. An address that is no interface's own is learnt from the frames it sends, moves with it, and is
/// forgotten when its port leaves; a port that has learnt its most learns no more, so that one domain cannot fill the table. Any thread.
/// </summary>
internal sealed class Fabric
{
    private readonly Lock _gate = new();
    private readonly Dictionary<MacAddress, SwitchPort> _table = [];
    private volatile SwitchPort[] _ports = [];

    /// <summary>Adds a port; false with the domain that has its address already.</summary>
    public bool TryAdd(SwitchPort port, string domain, out string? owner)
    {
        lock (_gate)
        {
            owner = null;
            if (_table.TryGetValue(port.Address, out SwitchPort? known) && known.Address == port.Address)
            {
                owner = known.Domain;
                return false;
            }

            if (known is not null)
                known.Learnt--;
            port.Domain = domain;
            _table[port.Address] = port;
            _ports = [.. _ports, port];
            return true;
        }
    }

    /// <summary>Takes a port away, and every address behind it.</summary>
    public void Remove(SwitchPort port)
    {
        lock (_gate)
        {
            _ports = [.. _ports.Where(other => !ReferenceEquals(other, port))];
            foreach (MacAddress address in _table.Where(entry => ReferenceEquals(entry.Value, port)).Select(entry => entry.Key).ToImmutableArray())
                _ = _table.Remove(address);
        }
    }

    /// <summary>Hands a frame to the port behind which its destination is, or to all others when that is not known or a group.</summary>
    public void Forward(SwitchPort from, in NetworkFrame frame)
    {
        MacAddress source = frame.Source;
        MacAddress destination = frame.Destination;
        SwitchPort? to = null;
        lock (_gate)
        {
            if (source != from.Address && !source.IsGroup)
                Learn(from, source);
            if (!destination.IsGroup)
                _ = _table.TryGetValue(destination, out to);
        }

        // Receivers are called outside the gate: two of this network's ports send at the same time.
        if (to is not null)
        {
            if (!ReferenceEquals(to, from))
                _ = to.Receiver.Receive(frame);
            return;
        }

        foreach (SwitchPort port in _ports)
        {
            if (!ReferenceEquals(port, from))
                _ = port.Receiver.Receive(frame);
        }
    }

    private void Learn(SwitchPort from, MacAddress source)
    {
        if (_table.TryGetValue(source, out SwitchPort? known))
        {
            if (ReferenceEquals(known, from) || known.Address == source || from.Learnt >= from.MostLearnt)
                return;
            known.Learnt--;
        }
        else if (from.Learnt >= from.MostLearnt)
        {
            return;
        }

        from.Learnt++;
        _table[source] = from;
    }
}
