using Tessera.Plugins.Net.Tap.Native;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Net.Tap;

/// <summary>
/// A network device of the host: what the guest sends arrives there, and what the host sends by it reaches the guest. Bridges, routes and addresses are
/// the host's, as for a wire. Large frames and blank checksums go through whole.
/// </summary>
[Plugin("tap", PluginKind.NetworkBackend, "1.0.0", ReachesOutside = true, Summary = "A network device of the host (tap), for its bridges and routes.", Options = typeof(TapOptions))]
public sealed class Tap : INetworkBackend
{
    private readonly TapOptions _options;
    private readonly Func<string, TapDevice> _open;
    private readonly IThreadDuties? _duties;
    private readonly byte[] _frame = new byte[VirtioHeader.Bytes + NetworkFrame.MostBytes];
    private TapDevice? _device;
    private TapReader? _reader;

    /// <summary>Makes an interface's device.</summary>
    /// <param name="options">Its options.</param>
    /// <param name="duties">Takes from its thread what it does not need.</param>
    public Tap(TapOptions options, IThreadDuties? duties = null)
        : this(options, TapDevice.Open, duties)
    {
    }

    /// <summary>The same with a device from elsewhere, whose reads and writes are whole frames behind their headers.</summary>
    internal Tap(TapOptions options, Func<string, TapDevice> open, IThreadDuties? duties = null) => (_options, _open, _duties) = (options, open, duties);

    /// <summary>The device's name as the host gave it.</summary>
    internal string DeviceName => _device?.Name ?? "";

    /// <inheritdoc/>
    public string? Problem => _device is not { } device ? null
        : _reader is { IsGone: true } ? $"tap: the host's device {device.Name} is gone: it was deleted while the interface used it. Make it again, and plug the interface in again."
        : device.IsDown ? $"tap: the host's device {device.Name} is down, and takes nothing. As root: ip link set {device.Name} up"
        : null;

    /// <inheritdoc/>
    public NetworkCapabilities Open(NetworkPort port)
    {
        _device = _open(_options.Device);
        _reader = new TapReader(_device, port.Receiver, _duties);
        return NetworkCapabilities.All;
    }

    /// <inheritdoc/>
    public void Send(in NetworkFrame frame)
    {
        if (frame.Length is < NetworkFrame.LeastBytes or > NetworkFrame.MostBytes)
            return;
        // Copied once: the header that says where the checksum belongs must be of the bytes that go out, whatever the guest does to its pages.
        int length = frame.CopyTo(_frame.AsSpan(VirtioHeader.Bytes));
        if (VirtioHeader.TryWrite(_frame, _frame.AsSpan(VirtioHeader.Bytes, length), frame.Offload))
            _ = _device!.Write(_frame.AsSpan(0, VirtioHeader.Bytes + length));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _reader?.Dispose();
        _reader = null;
        _device?.Dispose();
        _device = null;
    }
}
