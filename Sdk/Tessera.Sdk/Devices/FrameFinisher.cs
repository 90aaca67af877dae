using System.Buffers.Binary;

namespace Tessera.Sdk.Devices;

/// <summary>
/// Does in software what a receiver does not take: fills in blank checksums and cuts large TCP frames. For the kernel, and for backends that take frames as
/// they are from guests and hand them to something that does not. What it reads is a guest's word, so a frame that is not what it says is dropped. One
/// thread at a time; allocates nothing after the beginning.
/// </summary>
public sealed class FrameFinisher
{
    private const int Tcp = 6;
    private const int Udp = 17;
    private const int TcpFin = 1;
    private const int TcpPush = 8;
    private const int TcpCwr = 128;

    private readonly byte[] _whole = new byte[NetworkFrame.MostBytes];
    private readonly byte[] _piece = new byte[NetworkFrame.MostBytes];

    /// <summary>Hands a frame on as the receiver takes it: as it is, with its checksum, or in pieces.</summary>
    /// <param name="frame">The frame.</param>
    /// <param name="takes">What the receiver takes.</param>
    /// <param name="receiver">Gets the frame or its pieces.</param>
    /// <returns>False when something was dropped.</returns>
    public bool Finish(in NetworkFrame frame, NetworkCapabilities takes, INetworkReceiver receiver)
    {
        bool cut = frame.Offload.Segmentation != FrameSegmentation.None && !takes.Segmentation;
        if (!cut && (takes.Checksum || frame.Offload.Checksum != FrameChecksum.Blank))
            return receiver.Receive(frame);
        Span<byte> bytes = _whole.AsSpan(0, frame.CopyTo(_whole));
        if (!TryParse(bytes, out FrameHeaders layout))
            return false;
        if (cut)
            return Cut(bytes, layout, frame.Offload.SegmentBytes, receiver);
        if (!TryFill(bytes, layout, layout.End))
            return false;
        return receiver.Receive(new NetworkFrame(bytes, new FrameOffload(FrameChecksum.Verified, frame.Offload.Segmentation, frame.Offload.SegmentBytes)));
    }

    private static bool TryParse(ReadOnlySpan<byte> frame, out FrameHeaders headers)
    {
        headers = FrameHeaders.Read(frame);
        // A piece of a packet has no checksum of its own.
        return headers.Transport >= 0 && headers.Fragment == FrameFragment.None && headers.Transport <= headers.End && headers.End <= frame.Length;
    }

    private static bool TryFill(Span<byte> frame, in FrameHeaders layout, int end)
    {
        int at = layout.Protocol switch
        {
            Tcp => 16,
            Udp => 6,
            _ => -1,
        };
        Span<byte> transport = frame[layout.Transport..end];
        if (at < 0 || transport.Length < at + 2)
            return false;
        BinaryPrimitives.WriteUInt16BigEndian(transport[at..], 0);
        ReadOnlySpan<byte> addresses = layout.Kind == FrameKind.V6 ? frame.Slice(layout.Network + 8, 32) : frame.Slice(layout.Network + 12, 8);
        ushort sum = InternetChecksum.Fold(InternetChecksum.Sum(transport, InternetChecksum.Sum(addresses, (ulong)(layout.Protocol + transport.Length))));
        // For UDP nothing but zeroes would mean that there is no checksum.
        BinaryPrimitives.WriteUInt16BigEndian(transport[at..], layout.Protocol == Udp && sum == 0 ? (ushort)0xFFFF : sum);
        return true;
    }

    private bool Cut(ReadOnlySpan<byte> whole, in FrameHeaders layout, int segmentBytes, INetworkReceiver receiver)
    {
        ReadOnlySpan<byte> tcp = whole[layout.Transport..layout.End];
        if (layout.Protocol != Tcp || tcp.Length < 20 || segmentBytes <= 0)
            return false;
        int header = (tcp[12] >> 4) * 4;
        if (header < 20 || header > tcp.Length)
            return false;
        int headers = layout.Transport + header;
        uint sequence = BinaryPrimitives.ReadUInt32BigEndian(tcp[4..]);
        ushort identity = layout.Kind == FrameKind.V6 ? (ushort)0 : BinaryPrimitives.ReadUInt16BigEndian(whole[(layout.Network + 4)..]);
        ReadOnlySpan<byte> payload = whole[headers..layout.End];
        bool all = true;
        for (int done = 0; done < payload.Length; done += segmentBytes)
        {
            int length = Math.Min(segmentBytes, payload.Length - done);
            Span<byte> piece = _piece.AsSpan(0, headers + length);
            whole[..headers].CopyTo(piece);
            payload.Slice(done, length).CopyTo(piece[headers..]);
            Span<byte> pieceTcp = piece[layout.Transport..];
            BinaryPrimitives.WriteUInt32BigEndian(pieceTcp[4..], sequence + (uint)done);
            int cleared = (done > 0 ? TcpCwr : 0) | (done + length < payload.Length ? TcpFin | TcpPush : 0);
            pieceTcp[13] = (byte)(pieceTcp[13] & ~cleared);
            Span<byte> ip = piece[layout.Network..layout.Transport];
            if (layout.Kind == FrameKind.V6)
            {
                BinaryPrimitives.WriteUInt16BigEndian(ip[4..], (ushort)(piece.Length - layout.Network - 40));
            }
            else
            {
                BinaryPrimitives.WriteUInt16BigEndian(ip[2..], (ushort)(piece.Length - layout.Network));
                BinaryPrimitives.WriteUInt16BigEndian(ip[4..], identity++);
                BinaryPrimitives.WriteUInt16BigEndian(ip[10..], 0);
                BinaryPrimitives.WriteUInt16BigEndian(ip[10..], InternetChecksum.Fold(InternetChecksum.Sum(ip[..((ip[0] & 15) * 4)])));
            }

            all &= TryFill(piece, layout, piece.Length) && receiver.Receive(new NetworkFrame(piece, new FrameOffload(FrameChecksum.Verified)));
        }

        return all;
    }
}
