using Tessera.Sdk.Devices;

namespace Tessera.Experiments.Machines;

/// <summary>
/// Stands between two layers of an interface, so that what one of them throws ends nobody else's thread: a frame for this domain comes on the thread of the
/// domain that sent it, or of a device of the host. A side that has thrown gets nothing more.
/// </summary>
/// <param name="inner">The lower of the two, which it owns.</param>
internal sealed class LayerGuard(INetworkBackend inner) : INetworkBackend, INetworkReceiver
{
    private INetworkReceiver? _receiver;
    private volatile string? _sendFailure;
    private volatile string? _receiveFailure;

    /// <inheritdoc/>
    public string? Problem => _receiveFailure ?? _sendFailure ?? inner.Problem;

    /// <inheritdoc/>
    public NetworkCapabilities Open(NetworkPort port)
    {
        _receiver = port.Receiver;
        return inner.Open(port with { Receiver = this });
    }

    /// <inheritdoc/>
    public void Send(in NetworkFrame frame)
    {
        if (_sendFailure is not null)
            return;
        try
        {
            inner.Send(frame);
        }
        catch (Exception exception)
        {
            _sendFailure = Failure(inner, "sending", exception);
        }
    }

    /// <inheritdoc/>
    public bool Receive(in NetworkFrame frame)
    {
        if (_receiveFailure is not null)
            return false;
        try
        {
            return _receiver!.Receive(frame);
        }
        catch (Exception exception)
        {
            _receiveFailure = Failure(_receiver!, "receiving", exception);
            return false;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => inner.Dispose();

    private static string Failure(object layer, string what, Exception exception) =>
        $"{layer.GetType().Name}: the backend threw {exception.GetType().Name} in {what}, where it must not ({exception.Message}), and gets nothing more.";
}
