using System.Net;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Net.Filter;

/// <summary>The paper's rules of a virtual interface (section 3.3.3): patterns with actions, and no frame in another's name.</summary>
[Plugin("filter", PluginKind.NetworkBackend, "1.0.0", Summary = "Accepts or drops another backend's frames by rules; no domain sends in another's name.", Options = typeof(FilterOptions))]
public sealed class Filter : INetworkBackend, INetworkReceiver
{
    private readonly FilterOptions _options;
    private readonly INetworkBackend _inner;
    private FilterRule[] _rules = [];
    private Network[] _addresses = [];
    private MacAddress _address;
    private INetworkReceiver? _receiver;

    /// <summary>Puts a filter over a backend.</summary>
    /// <param name="options">Its options.</param>
    /// <param name="inner">The backend.</param>
    public Filter(FilterOptions options, INetworkBackend inner) => (_options, _inner) = (options, inner);

    /// <inheritdoc/>
    public NetworkCapabilities Open(NetworkPort port)
    {
        _rules = [.. _options.Rules.Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Select(FilterRule.Parse)];
        _addresses = [.. _options.Addresses.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Select(Own)];
        (_address, _receiver) = (port.Address, port.Receiver);
        return _inner.Open(port with { Receiver = this });
    }

    /// <inheritdoc/>
    public void Send(in NetworkFrame frame)
    {
        FrameFields fields = FrameFields.Read(frame.Header);
        if (!(_options.AntiSpoofing && IsSpoofed(frame, fields)) && Passes(fields, isOut: true))
            _inner.Send(frame);
    }

    /// <inheritdoc/>
    public bool Receive(in NetworkFrame frame) => Passes(FrameFields.Read(frame.Header), isOut: false) && _receiver!.Receive(frame);

    /// <inheritdoc/>
    public void Dispose() => _inner.Dispose();

    private static Network Own(string text) => IPAddress.TryParse(text, out _) && Network.TryParse(text, out Network address)
        ? address
        : throw new BackendException($"filter: \"{text}\" in addresses is no IP address.", "Write addresses such as 10.0.0.1, with commas between.");

    private bool Passes(in FrameFields fields, bool isOut)
    {
        foreach (FilterRule rule in _rules)
        {
            if (rule.Matches(fields, isOut))
                return rule.Action == FilterAction.Accept;
        }

        return _options.Otherwise == FilterAction.Accept;
    }

    private bool IsSpoofed(in NetworkFrame frame, in FrameFields fields)
    {
        if (frame.Source != _address)
            return true;
        // ARP says its sender's Ethernet address a second time.
        if (fields.Kind == FrameKind.Arp && (frame.Header.Length < 42 || MacAddress.Read(frame.Header[22..]) != _address))
            return true;
        if (_addresses.Length == 0)
            return false;
        // Everything with an address of its sender, except from a station that has none yet. Frames of no IP protocol pass only as ARP.
        if (fields.Kind is FrameKind.Other || !fields.HasAddresses)
            return true;
        if (fields.Source == default)
            return false;
        foreach (Network own in _addresses)
        {
            if (own.Contains(fields.Source, fields.IsV6))
                return false;
        }

        return true;
    }
}
