using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Net.Loss;

/// <summary>A wire that loses, repeats, delays and reorders another backend's frames, the same ones in every run.</summary>
[Plugin("loss", PluginKind.NetworkBackend, "1.0.0", Summary = "Loses, repeats, delays and reorders another backend's frames, by a seed.", Options = typeof(LossOptions))]
public sealed class Loss : INetworkBackend, INetworkReceiver
{
    private readonly LossOptions _options;
    private readonly INetworkBackend _inner;
    private readonly TimeProvider _time;
    private INetworkReceiver? _receiver;
    private Wire? _out;
    private Wire? _in;

    /// <summary>Puts a bad wire over a backend.</summary>
    /// <param name="options">Its options.</param>
    /// <param name="inner">The backend.</param>
    /// <param name="time">By which frames are delayed.</param>
    public Loss(LossOptions options, INetworkBackend inner, TimeProvider time) => (_options, _inner, _time) = (options, inner, time);

    /// <inheritdoc/>
    public string? Problem => _inner.Problem;

    /// <inheritdoc/>
    public NetworkCapabilities Open(NetworkPort port)
    {
        _receiver = port.Receiver;
        if (_options.Direction != LossDirection.In)
            _out = new Wire(_options, new FateSource(_options, port.Address, LossDirection.Out), _time, new Sender(_inner));
        if (_options.Direction != LossDirection.Out)
            _in = new Wire(_options, new FateSource(_options, port.Address, LossDirection.In), _time, port.Receiver);
        return _inner.Open(port with { Receiver = this });
    }

    /// <inheritdoc/>
    public void Send(in NetworkFrame frame)
    {
        if (_out is null)
            _inner.Send(frame);
        else
            _ = _out.Take(frame);
    }

    /// <inheritdoc/>
    public bool Receive(in NetworkFrame frame) => _in is null ? _receiver!.Receive(frame) : _in.Take(frame);

    /// <inheritdoc/>
    public void Dispose()
    {
        // What is under way is lost: the interface has left.
        _out?.Dispose();
        _in?.Dispose();
        _inner.Dispose();
    }

    /// <summary>The far end of the outgoing wire.</summary>
    private sealed class Sender(INetworkBackend backend) : INetworkReceiver
    {
        public bool Receive(in NetworkFrame frame)
        {
            backend.Send(frame);
            return true;
        }
    }
}
