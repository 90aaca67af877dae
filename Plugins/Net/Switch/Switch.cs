using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Net.Switch;

/// <summary>One port of a learning Ethernet switch in this process: a frame is copied once, from its sender's pages into its receiver's.</summary>
[Plugin("switch", PluginKind.NetworkBackend, "1.0.0", Summary = "Connects domains: a learning Ethernet switch in this process.", Options = typeof(SwitchOptions))]
public sealed class Switch : INetworkBackend
{
    private readonly SwitchOptions _options;
    private readonly Fabric _fabric;
    private SwitchPort? _port;

    /// <summary>Makes a port of the network that the options name.</summary>
    /// <param name="options">Its options.</param>
    /// <param name="scope">Where networks are.</param>
    public Switch(SwitchOptions options, IMachineScope scope)
    {
        _options = options;
        _fabric = scope.Share($"switch/{options.Network}", () => new Fabric());
    }

    /// <inheritdoc/>
    public NetworkCapabilities Open(NetworkPort port)
    {
        SwitchPort added = new(port.Receiver, port.Address, _options.Addresses);
        if (!_fabric.TryAdd(added, port.Domain, out string? owner))
        {
            throw new BackendException(
                $"switch: {port.Domain} brings the address {port.Address} to the network \"{_options.Network}\", where {owner} already uses it.", "Give each interface its own mac.");
        }

        _port = added;
        return NetworkCapabilities.All;
    }

    /// <inheritdoc/>
    public void Send(in NetworkFrame frame) => _fabric.Forward(_port!, frame);

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_port is { } port)
            _fabric.Remove(port);
        _port = null;
    }
}
