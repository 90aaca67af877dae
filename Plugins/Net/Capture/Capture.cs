using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Net.Capture;

/// <summary>
/// Writes what an interface sends and receives to a pcapng file, with the domain's name, directions and times in nanoseconds. Frames that guests
/// send whole to be cut by hardware stand in it whole, and their blank checksums blank.
/// </summary>
[Plugin("capture", PluginKind.NetworkBackend, "1.0.0", Summary = "Writes another backend's frames to a pcapng file.", Options = typeof(CaptureOptions))]
public sealed class Capture : INetworkBackend, INetworkReceiver
{
    private readonly CaptureOptions _options;
    private readonly INetworkBackend _inner;
    private readonly TimeProvider _time;
    private readonly IThreadDuties? _duties;
    private PcapngWriter? _writer;
    private INetworkReceiver? _receiver;

    /// <summary>Puts a capture over a backend.</summary>
    /// <param name="options">Its options.</param>
    /// <param name="inner">The backend.</param>
    /// <param name="time">By which frames are stamped.</param>
    /// <param name="duties">Takes from its thread what it does not need.</param>
    public Capture(CaptureOptions options, INetworkBackend inner, TimeProvider time, IThreadDuties? duties = null) =>
        (_options, _inner, _time, _duties) = (options, inner, time, duties);

    /// <inheritdoc/>
    public string? Problem => _writer?.Problem ?? _inner.Problem;

    /// <inheritdoc/>
    public NetworkCapabilities Open(NetworkPort port)
    {
        try
        {
            _writer = new PcapngWriter(
                _options.Path,
                $"{port.Domain} {port.Address}",
                _options.SnapLength,
                (int)(_options.Buffer.Bytes / 2),
                _options.Limit.Bytes,
                _duties,
                waits: !ReferenceEquals(_time, TimeProvider.System));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BackendException($"capture: {_options.Path} cannot be written: {e.Message}", "Name a file in a folder that is there and may be written.");
        }

        _receiver = port.Receiver;
        return _inner.Open(port with { Receiver = this });
    }

    /// <inheritdoc/>
    public void Send(in NetworkFrame frame)
    {
        _writer!.Add(frame, Now, FrameDirection.Outbound);
        _inner.Send(frame);
    }

    /// <inheritdoc/>
    public bool Receive(in NetworkFrame frame)
    {
        _writer!.Add(frame, Now, FrameDirection.Inbound);
        return _receiver!.Receive(frame);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _inner.Dispose();
        _writer?.Dispose();
    }

    private long Now => (_time.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks * 100;
}
