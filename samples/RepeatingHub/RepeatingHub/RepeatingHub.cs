using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace RepeatingHub;

/// <summary>Options of a port.</summary>
public sealed record HubOptions
{
    /// <summary>The hub's name.</summary>
    [Option("Interfaces that name the same network hear each other.")]
    public string Network { get; init; } = "default";
}

/// <summary>One port of a hub: what it sends, all others hear.</summary>
[Plugin("hub", PluginKind.NetworkBackend, "1.0.0", Summary = "Connects domains: every frame reaches every other port.", Options = typeof(HubOptions))]
public sealed class RepeatingHub : INetworkBackend
{
    private readonly Hub _hub;
    private INetworkReceiver? _domain;

    /// <summary>Makes a port of the hub that the options name.</summary>
    /// <param name="options">Its options.</param>
    /// <param name="scope">What the plugins of one machine share: the first port makes the hub, the others find it.</param>
    public RepeatingHub(HubOptions options, IMachineScope scope) => _hub = scope.Share($"hub/{options.Network}", () => new Hub());

    /// <inheritdoc/>
    public NetworkCapabilities Open(NetworkPort port)
    {
        _domain = port.Receiver;
        _hub.Add(_domain);
        // No frame leaves the machine, so nobody needs its checksum, and nobody needs it cut.
        return NetworkCapabilities.All;
    }

    /// <inheritdoc/>
    public void Send(in NetworkFrame frame) => _hub.Repeat(_domain!, frame);

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_domain is not null)
            _hub.Remove(_domain);
        _domain = null;
    }

    /// <summary>The ports of one network. Any thread.</summary>
    private sealed class Hub
    {
        private readonly Lock _gate = new();
        private volatile INetworkReceiver[] _ports = [];

        public void Add(INetworkReceiver port)
        {
            lock (_gate)
                _ports = [.. _ports, port];
        }

        public void Remove(INetworkReceiver port)
        {
            lock (_gate)
                _ports = [.. _ports.Where(other => !ReferenceEquals(other, port))];
        }

        /// <summary>Takes no lock: ports come and go seldom, and make a new array, while frames come by the hundred thousand.</summary>
        public void Repeat(INetworkReceiver from, in NetworkFrame frame)
        {
            foreach (INetworkReceiver port in _ports)
            {
                if (!ReferenceEquals(port, from))
                    _ = port.Receive(frame);
            }
        }
    }
}
