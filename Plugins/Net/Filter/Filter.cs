using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Net.Filter;

/// <summary>The paper's rules of a virtual interface (section 3.3.3): patterns with actions. That nobody sends in another's name is netback's care.</summary>
[Plugin("filter", PluginKind.NetworkBackend, "1.0.0", Summary = "Accepts or drops another backend's frames by rules.", Options = typeof(FilterOptions))]
public sealed class Filter : INetworkBackend, INetworkReceiver
{
    private readonly FilterOptions _options;
    private readonly INetworkBackend _inner;
    private FilterRule[] _rules = [];
    private INetworkReceiver? _receiver;

    /// <summary>Puts a filter over a backend.</summary>
    /// <param name="options">Its options.</param>
    /// <param name="inner">The backend.</param>
    public Filter(FilterOptions options, INetworkBackend inner) => (_options, _inner) = (options, inner);

    /// <inheritdoc/>
    public string? Problem => _inner.Problem;

    /// <inheritdoc/>
    public NetworkCapabilities Open(NetworkPort port)
    {
        _rules = [.. _options.Rules.Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Select(FilterRule.Parse)];
        _receiver = port.Receiver;
        return _inner.Open(port with { Receiver = this });
    }

    /// <inheritdoc/>
    public void Send(in NetworkFrame frame)
    {
        if (Passes(FrameFields.Read(frame.Header), isOut: true))
            _inner.Send(frame);
    }

    /// <inheritdoc/>
    public bool Receive(in NetworkFrame frame) => Passes(FrameFields.Read(frame.Header), isOut: false) && _receiver!.Receive(frame);

    /// <inheritdoc/>
    public void Dispose() => _inner.Dispose();

    private bool Passes(in FrameFields fields, bool isOut)
    {
        foreach (FilterRule rule in _rules)
        {
            if (rule.Matches(fields, isOut))
                return rule.Action == FilterAction.Accept;
        }

        return _options.Otherwise == FilterAction.Accept;
    }
}
