using System.Buffers.Binary;

namespace Tessera.Plugins.Net.Filter;

/// <summary>What an Ethernet frame carries.</summary>
internal enum FrameKind
{
    Other,
    Arp,
    V4,
    V6,
}

/// <summary>The fields that rules look at, read once from a frame's private header.</summary>
internal readonly record struct FrameFields(FrameKind Kind, int Protocol, UInt128 Source, UInt128 Destination, bool HasAddresses, int SourcePort, int DestinationPort)
{
    private const int Tcp = 6;
    private const int Udp = 17;

    /// <summary>The addresses are IPv6's.</summary>
    public bool IsV6 => Kind == FrameKind.V6;

    /// <summary>Reads a frame; what is cut short has no addresses, or ports of -1, and matches no rule that names them.</summary>
    public static FrameFields Read(ReadOnlySpan<byte> frame)
    {
        int type = BinaryPrimitives.ReadUInt16BigEndian(frame[12..]);
        int at = 14;
        // One tag of a virtual network is looked through.
        if (type == 0x8100 && frame.Length >= 18)
            (type, at) = (BinaryPrimitives.ReadUInt16BigEndian(frame[16..]), 18);
        ReadOnlySpan<byte> rest = frame[at..];
        switch (type)
        {
            case 0x0806:
                return rest.Length < 28
                    ? new(FrameKind.Arp, -1, 0, 0, false, -1, -1)
                    : new(FrameKind.Arp, -1, BinaryPrimitives.ReadUInt32BigEndian(rest[14..]), BinaryPrimitives.ReadUInt32BigEndian(rest[24..]), true, -1, -1);
            case 0x0800 when rest.Length >= 20:
                // Only the first fragment has ports.
                bool isFirst = (BinaryPrimitives.ReadUInt16BigEndian(rest[6..]) & 0x1FFF) == 0;
                (int source, int destination) = isFirst ? Ports(rest, (rest[0] & 15) * 4, rest[9]) : (-1, -1);
                return new(FrameKind.V4, rest[9], BinaryPrimitives.ReadUInt32BigEndian(rest[12..]), BinaryPrimitives.ReadUInt32BigEndian(rest[16..]), true, source, destination);
            case 0x86DD when rest.Length >= 40:
                (source, destination) = Ports(rest, 40, rest[6]);
                return new(FrameKind.V6, rest[6], BinaryPrimitives.ReadUInt128BigEndian(rest[8..]), BinaryPrimitives.ReadUInt128BigEndian(rest[24..]), true, source, destination);
            default:
                return new(type == 0x0800 ? FrameKind.V4 : type == 0x86DD ? FrameKind.V6 : FrameKind.Other, -1, 0, 0, false, -1, -1);
        }
    }

    private static (int Source, int Destination) Ports(ReadOnlySpan<byte> packet, int at, int protocol) => protocol is Tcp or Udp && at >= 20 && packet.Length >= at + 4
        ? (BinaryPrimitives.ReadUInt16BigEndian(packet[at..]), BinaryPrimitives.ReadUInt16BigEndian(packet[(at + 2)..]))
        : (-1, -1);
}
