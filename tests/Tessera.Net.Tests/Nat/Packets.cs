using System.Buffers.Binary;
using Tessera.Sdk.Devices;

namespace Tessera.Net.Tests;

/// <summary>Makes frames as a guest's stack does, and reads those it gets.</summary>
internal static class Packets
{
    public const byte Icmp = 1;
    public const byte Tcp = 6;
    public const byte Udp = 17;

    public const byte Syn = 2;
    public const byte Ack = 16;

    public static readonly MacAddress Everybody = new(0xFFFF_FFFF_FFFF);

    public static uint Address(string text) => BinaryPrimitives.ReadUInt32BigEndian(System.Net.IPAddress.Parse(text).GetAddressBytes());

    /// <summary>The Ethernet address of a station of slirp's.</summary>
    public static MacAddress StationOf(uint address) => new((0x5255UL << 32) | address);

    public static byte[] ArpRequest(MacAddress from, uint source, uint target) => Arp(from, Everybody, 1, source, default, target);

    public static byte[] ArpReply(MacAddress from, MacAddress to, uint source, uint target) => Arp(from, to, 2, source, to, target);

    public static bool IsArpReply(byte[] frame, uint source) => Type(frame) == 0x0806 && frame[21] == 2 && BinaryPrimitives.ReadUInt32BigEndian(frame.AsSpan(28)) == source;

    public static bool IsArpRequest(byte[] frame, uint target) => Type(frame) == 0x0806 && frame[21] == 1 && BinaryPrimitives.ReadUInt32BigEndian(frame.AsSpan(38)) == target;

    public static int Type(byte[] frame) => BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(12));

    /// <summary>An IPv4 packet; the transport's checksum, when it has one, is put right.</summary>
    public static byte[] Ip(MacAddress to, MacAddress from, byte protocol, uint source, uint destination, ReadOnlySpan<byte> transport)
    {
        byte[] frame = new byte[34 + transport.Length];
        to.Write(frame);
        from.Write(frame.AsSpan(6));
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(12), 0x0800);
        Span<byte> ip = frame.AsSpan(14);
        ip[0] = 0x45;
        BinaryPrimitives.WriteUInt16BigEndian(ip[2..], (ushort)(20 + transport.Length));
        ip[8] = 64;
        ip[9] = protocol;
        BinaryPrimitives.WriteUInt32BigEndian(ip[12..], source);
        BinaryPrimitives.WriteUInt32BigEndian(ip[16..], destination);
        transport.CopyTo(ip[20..]);
        Seal(frame);
        return frame;
    }

    /// <summary>Puts the checksums of an IPv4 packet right, wherever there is one.</summary>
    public static void Seal(byte[] frame)
    {
        Span<byte> ip = frame.AsSpan(14);
        int header = Math.Min((ip[0] & 15) * 4, ip.Length);
        if (header < 20)
            return;
        ip.Slice(10, 2).Clear();
        BinaryPrimitives.WriteUInt16BigEndian(ip[10..], InternetChecksum.Fold(InternetChecksum.Sum(ip[..header])));
        Span<byte> transport = ip[header..Math.Clamp(BinaryPrimitives.ReadUInt16BigEndian(ip[2..]), header, ip.Length)];
        int at = ip[9] switch { Icmp => 2, Tcp => 16, Udp => 6, _ => -1 };
        if (at < 0 || transport.Length < at + 2)
            return;
        transport.Slice(at, 2).Clear();
        ulong pseudo = ip[9] == Icmp ? 0 : InternetChecksum.Sum(ip.Slice(12, 8), (ulong)(ip[9] + transport.Length));
        BinaryPrimitives.WriteUInt16BigEndian(transport[at..], InternetChecksum.Fold(InternetChecksum.Sum(transport, pseudo)));
    }

    public static byte[] UdpPacket(ushort sourcePort, ushort destinationPort, ReadOnlySpan<byte> payload)
    {
        byte[] udp = new byte[8 + payload.Length];
        BinaryPrimitives.WriteUInt16BigEndian(udp, sourcePort);
        BinaryPrimitives.WriteUInt16BigEndian(udp.AsSpan(2), destinationPort);
        BinaryPrimitives.WriteUInt16BigEndian(udp.AsSpan(4), (ushort)udp.Length);
        payload.CopyTo(udp.AsSpan(8));
        return udp;
    }

    public static byte[] TcpPacket(ushort sourcePort, ushort destinationPort, uint sequence, uint acknowledged, byte flags, ReadOnlySpan<byte> payload = default)
    {
        byte[] tcp = new byte[20 + payload.Length];
        BinaryPrimitives.WriteUInt16BigEndian(tcp, sourcePort);
        BinaryPrimitives.WriteUInt16BigEndian(tcp.AsSpan(2), destinationPort);
        BinaryPrimitives.WriteUInt32BigEndian(tcp.AsSpan(4), sequence);
        BinaryPrimitives.WriteUInt32BigEndian(tcp.AsSpan(8), acknowledged);
        tcp[12] = 0x50;
        tcp[13] = flags;
        BinaryPrimitives.WriteUInt16BigEndian(tcp.AsSpan(14), 65535);
        payload.CopyTo(tcp.AsSpan(20));
        return tcp;
    }

    public static byte[] EchoRequest()
    {
        byte[] icmp = new byte[40];
        icmp[0] = 8;
        return icmp;
    }

    /// <summary>Whether a frame is a UDP or TCP packet for a port.</summary>
    public static bool IsFor(byte[] frame, byte protocol, ushort port) =>
        Type(frame) == 0x0800 && frame[23] == protocol && BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(36)) == port;

    public static uint Sequence(byte[] frame) => BinaryPrimitives.ReadUInt32BigEndian(frame.AsSpan(38));

    public static byte Flags(byte[] frame) => frame[47];

    public static byte[] UdpPayload(byte[] frame) => frame[42..(34 + BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(38)))];

    public static byte[] TcpPayload(byte[] frame) => frame[(34 + ((frame[46] >> 4) * 4))..(14 + BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(16)))];

    /// <summary>A DHCP message (RFC 2131) of a client without an address.</summary>
    public static byte[] Dhcp(MacAddress client, byte type, uint requested = 0)
    {
        byte[] dhcp = new byte[300];
        (dhcp[0], dhcp[1], dhcp[2]) = (1, 1, 6);
        BinaryPrimitives.WriteUInt32BigEndian(dhcp.AsSpan(4), 0x7E55E2A0);
        client.Write(dhcp.AsSpan(28));
        BinaryPrimitives.WriteUInt32BigEndian(dhcp.AsSpan(236), 0x63825363);
        List<byte> options = [53, 1, type];
        if (requested != 0)
            options.AddRange([50, 4, (byte)(requested >> 24), (byte)(requested >> 16), (byte)(requested >> 8), (byte)requested]);
        options.Add(255);
        options.CopyTo(dhcp, 240);
        return Ip(Everybody, client, Udp, 0, uint.MaxValue, UdpPacket(68, 67, dhcp));
    }

    /// <summary>The value of an option in a DHCP answer; empty when it is not there.</summary>
    public static byte[] DhcpOption(byte[] answer, byte option)
    {
        byte[] dhcp = UdpPayload(answer);
        for (int at = 240; at + 1 < dhcp.Length && dhcp[at] != 255; at += dhcp[at] == 0 ? 1 : 2 + dhcp[at + 1])
        {
            if (dhcp[at] == option)
                return dhcp.AsSpan(at + 2, dhcp[at + 1]).ToArray();
        }

        return [];
    }

    private static byte[] Arp(MacAddress from, MacAddress to, byte operation, uint source, MacAddress targetStation, uint target)
    {
        byte[] arp = new byte[28];
        BinaryPrimitives.WriteUInt64BigEndian(arp, 0x0001_0800_0604_0000UL | operation);
        from.Write(arp.AsSpan(8));
        BinaryPrimitives.WriteUInt32BigEndian(arp.AsSpan(14), source);
        targetStation.Write(arp.AsSpan(18));
        BinaryPrimitives.WriteUInt32BigEndian(arp.AsSpan(24), target);
        return Station.Frame(to, from, 0x0806, arp);
    }
}
