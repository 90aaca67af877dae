using System.Buffers.Binary;
using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Net.Nat;

/// <summary>What becomes of a frame.</summary>
internal enum Verdict
{
    /// <summary>Slirp never sees it.</summary>
    Drop,

    /// <summary>It belongs to something that is there, or needs nothing of the host's.</summary>
    Pass,

    /// <summary>It may begin a connection, which costs a descriptor.</summary>
    Opens,
}

/// <summary>
/// Looks at a guest's frame before slirp, which is C and trusts more than it should: only whole, plain packets pass, from the station they say they are
/// from, to where this network leads. Left out are IPv6, fragments and IP options (slirp keeps fragments for as long as a guest likes), TFTP, the host's
/// loopback by its own address, and everything of the name server's but its port.
/// </summary>
internal static class FrameGuard
{
    /// <summary>Bytes of the longest frame: what slirp takes from a network of 1500.</summary>
    public const int MostBytes = 1514;

    /// <summary>The first two bytes of the addresses of slirp's own stations; their IP address follows.</summary>
    public const ulong StationPrefix = 0x5255UL << 32;

    private const int Ethernet = NetworkFrame.LeastBytes;
    private const int IpHeader = 20;
    private const int DhcpServer = 67;
    private const int TftpServer = 69;
    private const int LeastDhcp = 240;
    private const uint Everybody = uint.MaxValue;

    /// <summary>Judges a frame.</summary>
    /// <param name="frame">All of it, private bytes.</param>
    /// <param name="plan">The network.</param>
    /// <param name="station">The address of the only station that may have sent it.</param>
    /// <param name="source">The IP address that it says it comes from; 0 for none.</param>
    /// <param name="length">Bytes of it that count.</param>
    public static Verdict Judge(ReadOnlySpan<byte> frame, NatPlan plan, MacAddress station, out uint source, out int length)
    {
        (source, length) = (0, frame.Length);
        if (frame.Length is < Ethernet or > MostBytes || MacAddress.Read(frame[MacAddress.Bytes..]) != station)
            return Verdict.Drop;
        FrameHeaders headers = FrameHeaders.Read(frame);
        // No tags: slirp knows none.
        if (headers.Network != Ethernet || !headers.HasAddresses)
            return Verdict.Drop;
        return headers.Kind switch
        {
            FrameKind.Arp => Arp(frame[Ethernet..], plan, station, out source),
            // No options, no extension headers, no fragments.
            FrameKind.V4 when headers.Transport == Ethernet + IpHeader && headers.Fragment == FrameFragment.None => Ip(frame, headers, plan, station, out source, out length),
            _ => Verdict.Drop,
        };
    }

    /// <summary>Whether an address is the gateway's, the name server's, or a group's.</summary>
    public static bool IsForHost(MacAddress address, NatPlan plan) => address.IsGroup || address.Value == (StationPrefix | plan.Host) || address.Value == (StationPrefix | plan.Dns);

    private static Verdict Arp(ReadOnlySpan<byte> arp, NatPlan plan, MacAddress station, out uint source)
    {
        source = 0;
        // Ethernet, IPv4, their lengths; a request or a reply; the sender as it is.
        if (BinaryPrimitives.ReadUInt64BigEndian(arp) is not (0x0001_0800_0604_0001 or 0x0001_0800_0604_0002) || MacAddress.Read(arp[8..]) != station)
            return Verdict.Drop;
        source = BinaryPrimitives.ReadUInt32BigEndian(arp[14..]);
        return source == 0 || IsGuest(source, plan) ? Verdict.Pass : Verdict.Drop;
    }

    private static Verdict Ip(ReadOnlySpan<byte> frame, in FrameHeaders headers, NatPlan plan, MacAddress station, out uint source, out int length)
    {
        (source, length) = (0, headers.End);
        // Version 4, and the bit of the fragments' field that nobody may set.
        if (frame[Ethernet] != 0x45 || (frame[Ethernet + 6] & 0x80) != 0 || headers.End < headers.Transport || headers.End > frame.Length)
            return Verdict.Drop;
        source = (uint)headers.Source(frame);
        uint destination = (uint)headers.Destination(frame);
        ReadOnlySpan<byte> transport = headers.Payload(frame);
        int protocol = headers.Protocol;
        if (protocol == 17 && IsDhcp(transport, destination, plan))
            return (source == 0 || IsGuest(source, plan)) && transport.Length >= 8 + LeastDhcp && MacAddress.Read(transport[36..]) == station ? Verdict.Pass : Verdict.Drop;
        if (!IsGuest(source, plan) || (plan.IsInside(destination) ? destination != plan.Host && destination != plan.Dns : !NatPlan.IsOutsideAddress(destination)))
            return Verdict.Drop;
        return protocol switch
        {
            1 => Icmp(transport, destination, plan),
            6 => Tcp(transport, destination, plan),
            17 => Udp(transport, destination, plan),
            _ => Verdict.Drop,
        };
    }

    private static Verdict Icmp(ReadOnlySpan<byte> icmp, uint destination, NatPlan plan)
    {
        // Echo requests: answers to slirp's own are none of a guest's business.
        if (icmp.Length < 8 || icmp[0] != 8)
            return Verdict.Drop;
        return plan.IsInside(destination) ? Verdict.Pass : Verdict.Opens;
    }

    private static Verdict Tcp(ReadOnlySpan<byte> tcp, uint destination, NatPlan plan)
    {
        if (tcp.Length < 20)
            return Verdict.Drop;
        int header = (tcp[12] >> 4) * 4;
        if (header < 20 || header > tcp.Length)
            return Verdict.Drop;
        // Later segments belong to a connection that was let through, or to a forward's, whose other end is at the gateway; else slirp resets them.
        bool isFirst = (tcp[13] & 0x12) == 2;
        if (!isFirst)
            return Verdict.Pass;
        return IsOffered(destination, BinaryPrimitives.ReadUInt16BigEndian(tcp[2..]), plan) ? Verdict.Opens : Verdict.Drop;
    }

    private static Verdict Udp(ReadOnlySpan<byte> udp, uint destination, NatPlan plan)
    {
        if (udp.Length < 8 || BinaryPrimitives.ReadUInt16BigEndian(udp[4..]) is var length && (length < 8 || length > udp.Length))
            return Verdict.Drop;
        int port = BinaryPrimitives.ReadUInt16BigEndian(udp[2..]);
        return IsOffered(destination, port, plan) && !(destination == plan.Host && port == TftpServer) ? Verdict.Opens : Verdict.Drop;
    }

    private static bool IsOffered(uint destination, int port, NatPlan plan)
    {
        // What slirp takes for the name server's address leads to the host that serves names, whatever the port.
        if (destination == plan.Dns && plan.IsInside(plan.Dns))
            return port == NatPlan.NameServerPort;
        return destination != plan.Host || plan.HostLoopback;
    }

    private static bool IsDhcp(ReadOnlySpan<byte> udp, uint destination, NatPlan plan) =>
        (destination == Everybody || destination == plan.Host) && udp.Length >= 8 && BinaryPrimitives.ReadUInt16BigEndian(udp[2..]) == DhcpServer;

    private static bool IsGuest(uint address, NatPlan plan) =>
        plan.IsInside(address) && address != plan.Network && address != plan.Broadcast && address != plan.Host && address != plan.Dns;
}
