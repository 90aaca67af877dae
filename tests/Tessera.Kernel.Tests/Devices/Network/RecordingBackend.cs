using Tessera.Sdk.Devices;

namespace Tessera.Kernel.Tests.Devices.Network;

/// <summary>A network of which the test is the other end.</summary>
internal sealed class RecordingBackend(NetworkCapabilities capabilities) : INetworkBackend
{
    private readonly List<(byte[] Bytes, FrameOffload Offload)> _sent = [];

    public RecordingBackend()
        : this(NetworkCapabilities.All)
    {
    }

    public NetworkPort? Port { get; private set; }

    public bool IsDisposed { get; private set; }

    public IReadOnlyList<(byte[] Bytes, FrameOffload Offload)> Sent
    {
        get
        {
            lock (_sent)
                return [.. _sent];
        }
    }

    public NetworkCapabilities Open(NetworkPort port)
    {
        Port = port;
        return capabilities;
    }

    public void Send(in NetworkFrame frame)
    {
        byte[] bytes = new byte[frame.Length];
        Assert.That(frame.CopyTo(bytes), Is.EqualTo(frame.Length));
        lock (_sent)
            _sent.Add((bytes, frame.Offload));
    }

    public bool Deliver(byte[] frame, FrameOffload offload = default) => Port!.Receiver.Receive(new NetworkFrame(frame, offload));

    public void Dispose() => IsDisposed = true;
}
