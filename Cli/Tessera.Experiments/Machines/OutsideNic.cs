using System.Buffers.Binary;
using Tessera.Kernel.Machines;
using Tessera.Sdk.Devices;

namespace Tessera.Experiments.Machines;

/// <summary>
/// A backend that reaches outside, in virtual time: what comes from there comes in by the machine's door for that, where it is recorded, or where a recording takes its place. In a
/// replay the backend is not opened, and nothing goes out.
/// </summary>
/// <param name="inner">The backend, which it owns.</param>
/// <param name="outside">The door.</param>
/// <param name="name">The name of this source.</param>
internal sealed class OutsideNic(INetworkBackend inner, Outside outside, string name) : INetworkBackend, INetworkReceiver
{
    /// <summary>Checksum, segmentation, bytes of a segment.</summary>
    private const int HeadBytes = 4;

    /// <summary>What may wait to come in; more is lost, as on a wire.</summary>
    private const int MostWaiting = 1 << 20;

    private INetworkReceiver? _receiver;

    /// <inheritdoc/>
    public string? Problem => outside.IsReplayed ? null : inner.Problem;

    /// <inheritdoc/>
    public NetworkCapabilities Open(NetworkPort port)
    {
        _receiver = port.Receiver;
        outside.Declare(name, Arrived);
        if (!outside.IsReplayed)
            _ = inner.Open(port with { Receiver = this });
        // The least: what the backend takes need not be known in a replay then.
        return default;
    }

    /// <inheritdoc/>
    public void Send(in NetworkFrame frame)
    {
        if (!outside.IsReplayed)
            inner.Send(frame);
    }

    /// <inheritdoc/>
    public bool Receive(in NetworkFrame frame)
    {
        if (outside.Post(name, []) > MostWaiting)
            return false;
        byte[] data = new byte[HeadBytes + frame.Length];
        data[0] = (byte)frame.Offload.Checksum;
        data[1] = (byte)frame.Offload.Segmentation;
        BinaryPrimitives.WriteUInt16LittleEndian(data.AsSpan(2), (ushort)frame.Offload.SegmentBytes);
        _ = frame.CopyTo(data.AsSpan(HeadBytes));
        _ = outside.Post(name, data);
        return true;
    }

    /// <inheritdoc/>
    public void Dispose() => inner.Dispose();

    private void Arrived(byte[] data)
    {
        if (data.Length < HeadBytes + NetworkFrame.LeastBytes)
            return;
        FrameOffload offload = new((FrameChecksum)data[0], (FrameSegmentation)data[1], BinaryPrimitives.ReadUInt16LittleEndian(data.AsSpan(2)));
        _ = _receiver!.Receive(new NetworkFrame(data.AsSpan(HeadBytes), offload));
    }
}
