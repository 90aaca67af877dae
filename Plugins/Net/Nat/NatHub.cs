using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Net.Nat;

/// <summary>The place of a network that interfaces share: it runs while there is one.</summary>
/// <param name="name">The network's name; empty for an interface's own.</param>
/// <param name="duties">Takes from the network's thread what it does not need.</param>
internal sealed class NatHub(string name, IThreadDuties? duties)
{
    private readonly Lock _gate = new();
    private NatNetwork? _network;
    private int _ports;

    /// <summary>Connects an interface; the first begins the network.</summary>
    /// <exception cref="BackendException">Options differ from the others', there is no slirp, or a forward is not to be had.</exception>
    public NatPort Attach(NatPlan plan, NetworkPort port, INetworkReceiver receiver, IReadOnlyList<Forward> forwards)
    {
        lock (_gate)
        {
            if (_network is not null && _network.Plan != plan)
            {
                throw new BackendException(
                    $"nat: {port.Domain} gives the network \"{name}\" other options than its first interface did.",
                    "Give all interfaces of a network the same options, all but forwards.");
            }

            NatNetwork network = _network ??= new NatNetwork(plan, duties);
            NatPort added = new(network, port.Address, receiver, forwards);
            try
            {
                network.Add(added);
                _ports++;
            }
            finally
            {
                StopWhenEmpty();
            }

            return added;
        }
    }

    /// <summary>Disconnects an interface; the last ends the network.</summary>
    public void Detach(NatPort port)
    {
        lock (_gate)
        {
            _network!.Remove(port);
            _ports--;
            StopWhenEmpty();
        }
    }

    private void StopWhenEmpty()
    {
        if (_ports > 0)
            return;
        _network!.Dispose();
        _network = null;
    }
}
