using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Tessera.Sdk.Devices;

namespace Tessera.Kernel.Devices.Network;

/// <summary>
/// Whether a frame is sent in its interface's own name: its Ethernet address, its IP addresses where they are known, and whatever of the two its payload
/// claims (ARP, neighbour discovery, DHCP, a packet within the packet). What cannot be looked through is refused. For an ordinary frame it is one
/// comparison, of the private copy of its header.
/// </summary>
internal sealed class SourceGuard
{
    private const int V4 = 0x0800;
    private const int V6 = 0x86DD;
    private const int ReverseArp = 0x8035;
    private const int Icmp = 1;
    private const int Igmp = 2;
    private const int V4InIp = 4;
    private const int Tcp = 6;
    private const int Udp = 17;
    private const int V6InIp = 41;
    private const int Icmp6 = 58;
    private const int DhcpServer = 67;
    private const int DhcpClient = 68;
    private const int Dhcp6Client = 546;

    private readonly MacAddress _address;
    private readonly uint[] _v4;
    private readonly UInt128[] _v6;
    private readonly bool _knowsAddresses;

    /// <summary>Guards an interface.</summary>
    /// <param name="address">Its Ethernet address.</param>
    /// <param name="addresses">Its IP addresses; none when they are not known. The link-local address that follows from the Ethernet address is its own in any case.</param>
    public SourceGuard(MacAddress address, IReadOnlyCollection<IPAddress> addresses)
    {
        _address = address;
        _v4 = [.. addresses.Where(own => own.AddressFamily == AddressFamily.InterNetwork).Select(own => BinaryPrimitives.ReadUInt32BigEndian(own.GetAddressBytes()))];
        _v6 = [.. addresses.Where(own => own.AddressFamily == AddressFamily.InterNetworkV6).Select(own => BinaryPrimitives.ReadUInt128BigEndian(own.GetAddressBytes())), LinkLocal(address)];
        _knowsAddresses = addresses.Count > 0;
    }

    /// <summary>Whether a frame may go.</summary>
    /// <param name="header">Its beginning, at least an Ethernet header.</param>
    public bool Allows(ReadOnlySpan<byte> header)
    {
        if (MacAddress.Read(header[MacAddress.Bytes..]) != _address)
            return false;
        // TCP right behind the fixed header, which is most of what there is, claims nothing more than that header does.
        int type = BinaryPrimitives.ReadUInt16BigEndian(header[12..]);
        if (type == V4 && header.Length >= 34 && header[23] == Tcp)
            return !_knowsAddresses || _v4.AsSpan().Contains(BinaryPrimitives.ReadUInt32BigEndian(header[26..]));
        if (type == V6 && header.Length >= 54 && header[20] == Tcp)
            return !_knowsAddresses || _v6.AsSpan().Contains(BinaryPrimitives.ReadUInt128BigEndian(header[22..]));
        return Allows(header, FrameHeaders.Read(header));
    }

    private bool Allows(ReadOnlySpan<byte> frame, in FrameHeaders headers) => headers.Kind switch
    {
        FrameKind.Arp => headers.HasAddresses && AllowsArp(frame[headers.Network..]),
        FrameKind.V4 => headers.HasAddresses && AllowsV4(frame, headers),
        FrameKind.V6 => headers.HasAddresses && !headers.NamesHomeAddress && AllowsV6(frame, headers),
        // With addresses known, what is no IP and no ARP is nobody's.
        FrameKind.Other => !_knowsAddresses && (headers.Type != ReverseArp || (frame.Length >= headers.Network + 14 && MacAddress.Read(frame[(headers.Network + 8)..]) == _address)),
        _ => false,
    };

    /// <summary>ARP says its sender's Ethernet address a second time.</summary>
    private bool AllowsArp(ReadOnlySpan<byte> arp)
    {
        // Ethernet and IPv4, their lengths, and what is asked: with other lengths the fields stand elsewhere.
        if (BinaryPrimitives.ReadUInt64BigEndian(arp) is not (0x0001_0800_0604_0001 or 0x0001_0800_0604_0002) || MacAddress.Read(arp[8..]) != _address)
            return false;
        if (!_knowsAddresses)
            return true;
        uint sender = BinaryPrimitives.ReadUInt32BigEndian(arp[14..]);
        // A station that has no address yet says 0, and asks whether anybody else has the one that it wants (RFC 5227).
        return IsOwn(sender) || (sender == 0 && arp[7] == 1 && IsOwn(BinaryPrimitives.ReadUInt32BigEndian(arp[24..])));
    }

    private bool AllowsV4(ReadOnlySpan<byte> frame, in FrameHeaders headers)
    {
        uint source = (uint)headers.Source(frame);
        ReadOnlySpan<byte> payload = headers.Payload(frame);
        if (_knowsAddresses && !IsOwn(source) && !(source == 0 && IsAllowedWithoutAddress(headers, (uint)headers.Destination(frame), payload)))
            return false;
        if (headers.Fragment == FrameFragment.Later)
            return true;
        return headers.Protocol switch
        {
            FrameHeaders.UnknownProtocol => false,
            // Redirects, and routers' advertisements (RFC 1256).
            Icmp => !_knowsAddresses || (payload.Length > 0 && payload[0] is not (5 or 9)),
            Udp => AllowsUdp(payload),
            V4InIp or V6InIp => AllowsInner(frame, headers),
            _ => true,
        };
    }

    /// <summary>Asking for a lease, and reports of the groups that a station without an address listens to (RFC 3376).</summary>
    private static bool IsAllowedWithoutAddress(in FrameHeaders headers, uint destination, ReadOnlySpan<byte> payload)
    {
        if (headers.Fragment != FrameFragment.None || payload.Length < 8)
            return false;
        return headers.Protocol switch
        {
            Udp => destination == uint.MaxValue && BinaryPrimitives.ReadUInt32BigEndian(payload) == (((uint)DhcpClient << 16) | DhcpServer),
            Igmp => destination >> 28 == 14 && payload[0] is 0x12 or 0x16 or 0x17 or 0x22,
            _ => false,
        };
    }

    private bool AllowsUdp(ReadOnlySpan<byte> udp)
    {
        if (udp.Length < 4)
            return false;
        int port = BinaryPrimitives.ReadUInt16BigEndian(udp[2..]);
        if (port == DhcpClient)
            return !_knowsAddresses;
        if (port != DhcpServer)
            return true;
        // A request says whose lease it is about: by the Ethernet address, and by the IP address that the client has.
        ReadOnlySpan<byte> dhcp = udp[Math.Min(8, udp.Length)..];
        if (dhcp.Length < 34 || BinaryPrimitives.ReadUInt32BigEndian(dhcp) >> 8 != 0x01_01_06 || MacAddress.Read(dhcp[28..]) != _address)
            return false;
        uint client = BinaryPrimitives.ReadUInt32BigEndian(dhcp[12..]);
        return !_knowsAddresses || client == 0 || IsOwn(client);
    }

    private bool AllowsV6(ReadOnlySpan<byte> frame, in FrameHeaders headers)
    {
        UInt128 source = headers.Source(frame);
        bool isOwn = !_knowsAddresses || _v6.AsSpan().Contains(source);
        if (headers.Fragment == FrameFragment.Later)
            return isOwn;
        ReadOnlySpan<byte> payload = headers.Payload(frame);
        if (headers.Protocol == Icmp6)
            return (isOwn || source == 0) && AllowsIcmp6(payload, isOwn, isWhole: headers.Fragment == FrameFragment.None && headers.End <= frame.Length);
        return isOwn && headers.Protocol switch
        {
            FrameHeaders.UnknownProtocol => false,
            Udp => payload.Length >= 4 && (!_knowsAddresses || BinaryPrimitives.ReadUInt16BigEndian(payload[2..]) != Dhcp6Client),
            V4InIp or V6InIp => AllowsInner(frame, headers),
            _ => true,
        };
    }

    /// <summary>Neighbour discovery (RFC 4861) says whose address is where; the reports of listeners (RFC 3810) say nothing of the kind.</summary>
    private bool AllowsIcmp6(ReadOnlySpan<byte> icmp, bool hasSource, bool isWhole)
    {
        const int listenerReport = 131;
        const int listenerDone = 132;
        const int routerSolicitation = 133;
        const int routerAdvertisement = 134;
        const int neighbourSolicitation = 135;
        const int neighbourAdvertisement = 136;
        const int redirect = 137;
        const int inverseSolicitation = 141;
        const int inverseAdvertisement = 142;
        const int listenerReport2 = 143;

        if (icmp.IsEmpty)
            return false;
        switch (icmp[0])
        {
            case listenerReport or listenerDone or listenerReport2:
                return true;
            case routerSolicitation:
                return isWhole && AreOwn(icmp, 8);
            case neighbourSolicitation:
                // Without a source it asks whether anybody else has the address that it wants.
                return isWhole && AreOwn(icmp, 24) && (hasSource || IsOwnTarget(icmp));
            case neighbourAdvertisement:
                return hasSource && isWhole && AreOwn(icmp, 24) && IsOwnTarget(icmp);
            case routerAdvertisement:
                return !_knowsAddresses && isWhole && AreOwn(icmp, 16);
            case redirect or inverseSolicitation or inverseAdvertisement:
                return !_knowsAddresses;
            default:
                return hasSource;
        }
    }

    private bool IsOwnTarget(ReadOnlySpan<byte> icmp) => !_knowsAddresses || _v6.AsSpan().Contains(BinaryPrimitives.ReadUInt128BigEndian(icmp[8..]));

    /// <summary>Whether the Ethernet addresses among the options, which begin somewhere, are all its own.</summary>
    private bool AreOwn(ReadOnlySpan<byte> icmp, int at)
    {
        if (icmp.Length < at)
            return false;
        for (ReadOnlySpan<byte> options = icmp[at..]; options.Length > 0;)
        {
            int length = options.Length < 8 ? 0 : options[1] * 8;
            if (length == 0 || length > options.Length || (options[0] is 1 or 2 && MacAddress.Read(options[2..]) != _address))
                return false;
            options = options[length..];
        }

        return true;
    }

    /// <summary>A packet within a packet is taken out by stations that do not ask whether they expected it: it comes from the same interface, and says so.</summary>
    private bool AllowsInner(ReadOnlySpan<byte> frame, in FrameHeaders headers) =>
        Allows(frame, FrameHeaders.ReadPacket(frame, headers.Protocol == V6InIp ? FrameKind.V6 : FrameKind.V4, headers.Transport));

    private bool IsOwn(uint address) => _v4.AsSpan().Contains(address);

    /// <summary>The link-local address that a station gives itself by its Ethernet address (RFC 4291, appendix A).</summary>
    private static UInt128 LinkLocal(MacAddress address) =>
        ((UInt128)0xFE80_0000_0000_0000UL << 64) | ((address.Value >> 24 ^ 0x02_0000) << 40) | 0xFF_FE00_0000UL | (address.Value & 0xFF_FFFF);
}
