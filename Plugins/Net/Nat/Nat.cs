using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Net.Nat;

/// <summary>
/// The outside without privileges: libslirp ends a guest's connections and opens the host's own sockets in their place. Alone it is a backend; over
/// another one, such as a switch's port, it adds the outside to what is there: frames for the gateway and the name server are slirp's, groups' are both's.
/// </summary>
[Plugin("nat", PluginKind.NetworkBackend, "1.0.0", ReachesOutside = true, Summary = "The outside without privileges, through libslirp: DHCP, DNS, TCP, UDP, ping and forwarded ports.", Options = typeof(NatOptions))]
public sealed class Nat : INetworkBackend, INetworkReceiver
{
    private readonly NatOptions _options;
    private readonly INetworkBackend? _inner;
    private readonly NatHub _hub;
    private readonly FrameFinisher _finisher = new();
    private NatPlan? _plan;
    private NatPort? _port;
    private INetworkReceiver? _receiver;

    /// <summary>Makes an interface's way out.</summary>
    /// <param name="options">Its options.</param>
    /// <param name="scope">Where networks are.</param>
    /// <param name="inner">The backend beneath; null when there is none.</param>
    /// <param name="duties">Takes from a network's thread what it does not need.</param>
    public Nat(NatOptions options, IMachineScope scope, INetworkBackend? inner = null, IThreadDuties? duties = null)
    {
        (_options, _inner) = (options, inner);
        _hub = options.Network.Length == 0 ? new NatHub("", duties) : scope.Share($"nat/{options.Network}", () => new NatHub(options.Network, duties));
    }

    /// <inheritdoc/>
    public string? Problem => _inner?.Problem;

    /// <inheritdoc/>
    public NetworkCapabilities Open(NetworkPort port)
    {
        NatPlan plan = NatPlan.Of(_options);
        IReadOnlyList<Forward> forwards = Forward.Parse(_options.Forwards, plan);
        (_plan, _receiver) = (plan, port.Receiver);
        NetworkCapabilities takes = _inner?.Open(port with { Receiver = this }) ?? NetworkCapabilities.All;
        _port = _hub.Attach(plan, port, port.Receiver, forwards);
        return takes;
    }

    /// <inheritdoc/>
    public void Send(in NetworkFrame frame)
    {
        MacAddress destination = frame.Destination;
        bool isForHost = FrameGuard.IsForHost(destination, _plan!);
        if (isForHost)
            _ = _finisher.Finish(frame, default, _port!);
        if (!isForHost || destination.IsGroup)
            _inner?.Send(frame);
    }

    /// <inheritdoc/>
    public bool Receive(in NetworkFrame frame) =>
        // Nobody beneath is the gateway.
        !FrameGuard.IsForHost(frame.Source, _plan!) && _receiver!.Receive(frame);

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_port is { } port)
            _hub.Detach(port);
        _port = null;
        _inner?.Dispose();
    }
}
