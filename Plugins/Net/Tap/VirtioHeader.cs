using System.Buffers.Binary;
using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Net.Tap;

/// <summary>struct virtio_net_hdr (linux/virtio_net.h), which precedes each frame of a device with IFF_VNET_HDR: what the frame needs. Host byte order.</summary>
internal static class VirtioHeader
{
    /// <summary>Bytes of the header.</summary>
    public const int Bytes = 10;

    private const byte NeedsChecksum = 1;
    private const byte DataValid = 2;
    private const byte GsoTcpV4 = 1;
    private const byte GsoTcpV6 = 4;
    private const byte GsoEcn = 0x80;
    private const int Tcp = 6;
    private const int Udp = 17;

    /// <summary>Writes the header of a frame that a guest sends.</summary>
    /// <param name="header">Ten bytes.</param>
    /// <param name="frame">The frame, private bytes.</param>
    /// <param name="offload">What it needs.</param>
    /// <returns>False when the frame is not what it says, and nothing can be done for it.</returns>
    public static bool TryWrite(Span<byte> header, ReadOnlySpan<byte> frame, FrameOffload offload)
    {
        header[..Bytes].Clear();
        if (offload.Checksum == FrameChecksum.Verified)
            header[0] = DataValid;
        if (offload.Checksum != FrameChecksum.Blank)
            return offload.Segmentation == FrameSegmentation.None;
        FrameHeaders headers = FrameHeaders.Read(frame);
        // A piece of a packet has no checksum of its own.
        if (headers.Transport < 0 || headers.Fragment != FrameFragment.None || headers.Protocol is not (Tcp or Udp))
            return false;
        int start = headers.Transport;
        int at = headers.Protocol == Tcp ? 16 : 6;
        if (frame.Length < start + at + 2)
            return false;
        header[0] = NeedsChecksum;
        BinaryPrimitives.WriteUInt16LittleEndian(header[6..], (ushort)start);
        BinaryPrimitives.WriteUInt16LittleEndian(header[8..], (ushort)at);
        if (offload.Segmentation == FrameSegmentation.None)
            return true;
        bool isV6 = headers.Kind == FrameKind.V6;
        if (headers.Protocol != Tcp || isV6 != (offload.Segmentation == FrameSegmentation.TcpV6) || offload.SegmentBytes is <= 0 or > ushort.MaxValue)
            return false;
        int toCopy = start + ((frame[start + 12] >> 4) * 4);
        if (toCopy < start + 20 || toCopy > frame.Length)
            return false;
        header[1] = isV6 ? GsoTcpV6 : GsoTcpV4;
        BinaryPrimitives.WriteUInt16LittleEndian(header[2..], (ushort)toCopy);
        BinaryPrimitives.WriteUInt16LittleEndian(header[4..], (ushort)offload.SegmentBytes);
        return true;
    }

    /// <summary>Reads the header of a frame for a guest.</summary>
    /// <returns>False when the frame is to be cut in a way that was never offered.</returns>
    public static bool TryRead(ReadOnlySpan<byte> header, out FrameOffload offload)
    {
        FrameChecksum checksum = (header[0] & NeedsChecksum) != 0 ? FrameChecksum.Blank : (header[0] & DataValid) != 0 ? FrameChecksum.Verified : FrameChecksum.Complete;
        int segment = BinaryPrimitives.ReadUInt16LittleEndian(header[4..]);
        offload = new(checksum);
        switch (header[1] & ~GsoEcn)
        {
            case 0:
                return true;
            case GsoTcpV4 or GsoTcpV6 when checksum == FrameChecksum.Blank && segment > 0:
                offload = new(checksum, (header[1] & ~GsoEcn) == GsoTcpV4 ? FrameSegmentation.TcpV4 : FrameSegmentation.TcpV6, segment);
                return true;
            default:
                return false;
        }
    }
}
