using System.Buffers.Binary;
using System.Net;
using Tessera.Kernel.Devices.Network;
using Tessera.Sdk.Devices;

namespace Tessera.Kernel.Tests.Devices.Network;

/// <summary>What a frame claims behind its headers is its interface's own too.</summary>
internal sealed class SourceClaimTests
{
    private const string Own = "2001:db8::1";
    private const string Other = "2001:db8::2";
    private const string LinkLocal = "fe80::216:3eff:fe00:1";
    private const string None = "::";
    private const uint Own4 = 0x0A00_0001;
    private const uint Other4 = 0x0A00_0002;
    private const uint Everybody = uint.MaxValue;

    private static readonly MacAddress Address = new(0x0016_3E00_0001);
    private static readonly MacAddress Stranger = new(0x0016_3E00_0002);
    private static readonly SourceGuard Anywhere = new(Address, []);
    private static readonly SourceGuard AtHome = new(Address, [IPAddress.Parse("10.0.0.1"), IPAddress.Parse(Own)]);

    /// <summary>Whether it passes with addresses known, and without.</summary>
    [TestCaseSource(nameof(Claims))]
    public void What_a_payload_claims_is_its_own(byte[] frame, bool atHome, bool anywhere)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(AtHome.Allows(frame), Is.EqualTo(atHome), "addresses known");
            Assert.That(Anywhere.Allows(frame), Is.EqualTo(anywhere), "addresses not known");
            Assert.That(AtHome.Allows([.. frame[..12], 0x88, 0xA8, 0, 1, 0x81, 0, 0, 5, .. frame[12..]]), Is.EqualTo(atHome), "the same in two virtual networks");
        }
    }

    /// <summary>A guard that reads beyond what is there would throw.</summary>
    [Test]
    public void Frames_cut_short_anywhere_are_judged()
    {
        foreach (TestCaseData data in Claims())
        {
            byte[] frame = (byte[])data.Arguments[0]!;
            for (int length = 14; length < frame.Length; length++)
                _ = AtHome.Allows(frame.AsSpan(0, length)) | Anywhere.Allows(frame.AsSpan(0, length));
        }
    }

    private static IEnumerable<TestCaseData> Claims()
    {
        yield return Case("neighbour advertisement", Icmp6(Own, Neighbour(136, Own, 2, Address)), true, true);
        yield return Case("neighbour advertisement of another's address", Icmp6(Own, Neighbour(136, Other, 2, Address)), false, true);
        yield return Case("neighbour advertisement with another's Ethernet address", Icmp6(Own, Neighbour(136, Own, 2, Stranger)), false, false);
        yield return Case("neighbour advertisement without a source", Icmp6(None, Neighbour(136, Own, 2, Address)), false, true);
        yield return Case("neighbour advertisement behind an option", Icmp6(Own, Neighbour(136, Other, 2, Address), Options(60)), false, true);
        yield return Case("neighbour advertisement behind a hop-by-hop and a routing header", Icmp6(Own, Neighbour(136, Other, 2, Address), Options(0), Options(43)), false, true);
        yield return Case("own neighbour advertisement behind an option", Icmp6(Own, Neighbour(136, Own, 2, Address), Options(60)), true, true);
        yield return Case("neighbour advertisement in fragments", Icmp6(Own, Neighbour(136, Own, 2, Address), Fragment(0, more: true)), false, false);
        yield return Case("neighbour advertisement whose options are none", Icmp6(Own, [.. Neighbour(136, Own, 2, Address)[..25], 0, 0, 0, 0, 0, 0, 0]), false, false);
        yield return Case("neighbour solicitation", Icmp6(LinkLocal, Neighbour(135, Other, 1, Address)), true, true);
        yield return Case("neighbour solicitation with another's Ethernet address", Icmp6(LinkLocal, Neighbour(135, Other, 1, Stranger)), false, false);
        yield return Case("detection of duplicates", Icmp6(None, Neighbour(135, Own)), true, true);
        yield return Case("detection of duplicates of the link-local address", Icmp6(None, Neighbour(135, LinkLocal)), true, true);
        yield return Case("detection of duplicates of another's address", Icmp6(None, Neighbour(135, Other)), false, true);
        yield return Case("router solicitation", Icmp6(LinkLocal, [133, 0, 0, 0, 0, 0, 0, 0, .. LinkOption(1, Address)]), true, true);
        yield return Case("router solicitation without a source", Icmp6(None, [133, 0, 0, 0, 0, 0, 0, 0]), true, true);
        yield return Case("router solicitation with another's Ethernet address", Icmp6(LinkLocal, [133, 0, 0, 0, 0, 0, 0, 0, .. LinkOption(1, Stranger)]), false, false);
        yield return Case("router advertisement", Icmp6(LinkLocal, [134, .. new byte[15], .. LinkOption(1, Address)]), false, true);
        yield return Case("router advertisement with another's Ethernet address", Icmp6(LinkLocal, [134, .. new byte[15], .. LinkOption(1, Stranger)]), false, false);
        yield return Case("redirect", Icmp6(LinkLocal, [137, .. new byte[39]]), false, true);
        yield return Case("listener report", Icmp6(LinkLocal, [143, .. new byte[27]], Options(0)), true, true);
        yield return Case("listener report without a source", Icmp6(None, [143, .. new byte[27]], Options(0)), true, true);
        yield return Case("echo request", Icmp6(Own, [128, .. new byte[7]]), true, true);
        yield return Case("echo request without a source", Icmp6(None, [128, .. new byte[7]]), false, true);
        yield return Case("DHCPv6 request", V6(LinkLocal, 17, Udp(546, 547, new byte[8])), true, true);
        yield return Case("DHCPv6 answer", V6(LinkLocal, 17, Udp(547, 546, new byte[8])), false, true);
        yield return Case("UDP over IPv6 without a source", V6(None, 17, Udp(546, 547, new byte[8])), false, true);
        yield return Case("home address", V6(Own, 17, Udp(1, 2, new byte[8]), [60, 2, 1, 0, 0xC9, 16, .. IPAddress.Parse(Other).GetAddressBytes(), 1, 0]), false, false);
        yield return Case("IPv6 in IPv6 from another", V6(Own, 41, Inner(V6(Other, 17, Udp(1, 2, new byte[8])))), false, true);
        yield return Case("own IPv6 in IPv6", V6(Own, 41, Inner(V6(Own, 17, Udp(1, 2, new byte[8])))), true, true);
        yield return Case("more extension headers than are looked through", V6(Own, 17, Udp(1, 2, new byte[8]), [.. Enumerable.Repeat(Options(60), 9)]), false, false);
        yield return Case("later fragment", V6(Own, 17, new byte[16], Fragment(8, more: false)), true, true);
        yield return Case("later fragment from another", V6(Other, 17, new byte[16], Fragment(8, more: false)), false, true);

        yield return Case("asking for a lease", V4(0, Everybody, 17, Udp(68, 67, Dhcp(Address, 0))), true, true);
        yield return Case("asking for a lease of one station", V4(0, Other4, 17, Udp(68, 67, Dhcp(Address, 0))), false, true);
        yield return Case("asking for another's lease", V4(0, Everybody, 17, Udp(68, 67, Dhcp(Stranger, 0))), false, false);
        yield return Case("giving back another's lease", V4(Own4, Other4, 17, Udp(68, 67, Dhcp(Address, Other4))), false, true);
        yield return Case("giving back its lease", V4(Own4, Other4, 17, Udp(68, 67, Dhcp(Address, Own4))), true, true);
        yield return Case("UDP from nowhere", V4(0, Everybody, 17, Udp(68, 53, new byte[64])), false, true);
        yield return Case("fragment from nowhere", V4(0, Everybody, 17, new byte[64], fragment: 8), false, true);
        yield return Case("TCP from nowhere", V4(0, Other4, 6, new byte[20]), false, true);
        yield return Case("granting a lease", V4(Own4, Everybody, 17, Udp(67, 68, Dhcp(Address, 0))), false, true);
        yield return Case("report of a group without an address", V4(0, 0xE000_0016, 2, [0x22, .. new byte[15]]), true, true);
        yield return Case("query of groups without an address", V4(0, 0xE000_0001, 2, [0x11, .. new byte[15]]), false, true);
        yield return Case("echo request over IPv4", V4(Own4, Other4, 1, [8, .. new byte[7]]), true, true);
        yield return Case("redirect over IPv4", V4(Own4, Other4, 1, [5, .. new byte[7]]), false, true);
        yield return Case("router advertisement over IPv4", V4(Own4, Other4, 1, [9, .. new byte[15]]), false, true);
        yield return Case("IPv4 in IPv4 from another", V4(Own4, Other4, 4, Inner(V4(Other4, Own4, 6, new byte[20]))), false, true);
        yield return Case("own IPv4 in IPv4", V4(Own4, Other4, 4, Inner(V4(Own4, Other4, 6, new byte[20]))), true, true);

        yield return Case("ARP answer", Arp(2, Address, Own4, Other4), true, true);
        yield return Case("ARP answer for another", Arp(2, Address, Other4, Own4), false, true);
        yield return Case("gratuitous ARP", Arp(1, Address, Own4, Own4), true, true);
        yield return Case("gratuitous ARP for another", Arp(1, Address, Other4, Other4), false, true);
        yield return Case("ARP probe", Arp(1, Address, 0, Own4), true, true);
        yield return Case("ARP probe of another's address", Arp(1, Address, 0, Other4), false, true);
        yield return Case("ARP answer from nowhere", Arp(2, Address, 0, Own4), false, true);
        yield return Case("ARP of other lengths", [.. Arp(2, Address, Own4, Other4)[..18], 8, .. Arp(2, Address, Own4, Other4)[19..]], false, false);
        yield return Case("reverse ARP for another", [.. Arp(3, Stranger, Own4, Own4)[..12], 0x80, 0x35, .. Arp(3, Stranger, Own4, Own4)[14..]], false, false);
    }

    private static TestCaseData Case(string name, byte[] frame, bool atHome, bool anywhere) => new TestCaseData(frame, atHome, anywhere).SetArgDisplayNames(name);

    private static byte[] Frame(int type, ReadOnlySpan<byte> payload)
    {
        byte[] frame = new byte[14 + payload.Length];
        Address.Write(frame.AsSpan(6));
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(12), (ushort)type);
        payload.CopyTo(frame.AsSpan(14));
        return frame;
    }

    private static byte[] Inner(byte[] frame) => frame[14..];

    private static byte[] V4(uint source, uint destination, byte protocol, byte[] payload, int fragment = 0)
    {
        byte[] ip = [0x45, 0, 0, (byte)(20 + payload.Length), 0, 0, (byte)(fragment >> 11), (byte)(fragment >> 3), 64, protocol, .. new byte[10], .. payload];
        BinaryPrimitives.WriteUInt32BigEndian(ip.AsSpan(12), source);
        BinaryPrimitives.WriteUInt32BigEndian(ip.AsSpan(16), destination);
        return Frame(0x0800, ip);
    }

    /// <summary>An IPv6 packet; extension headers begin with their own number, where the next header's belongs.</summary>
    private static byte[] V6(string source, byte protocol, byte[] payload, params byte[][] extensions)
    {
        List<byte> all = [];
        for (int index = 0; index < extensions.Length; index++)
            all.AddRange([index + 1 < extensions.Length ? extensions[index + 1][0] : protocol, .. extensions[index][1..]]);
        all.AddRange(payload);
        return Frame(0x86DD, [0x60, 0, 0, 0, 0, (byte)all.Count, extensions.Length > 0 ? extensions[0][0] : protocol, 255, .. IPAddress.Parse(source).GetAddressBytes(), .. IPAddress.Parse("ff02::1").GetAddressBytes(), .. all]);
    }

    private static byte[] Icmp6(string source, byte[] message, params byte[][] extensions) => V6(source, 58, message, extensions);

    private static byte[] Options(byte number) => [number, 0, 1, 4, 0, 0, 0, 0];

    private static byte[] Fragment(int offset, bool more) => [44, 0, (byte)(offset >> 8), (byte)(offset | (more ? 1 : 0)), 0, 0, 0, 1];

    private static byte[] Neighbour(byte type, string target, byte option = 0, MacAddress address = default) =>
        [type, 0, 0, 0, 0, 0, 0, 0, .. IPAddress.Parse(target).GetAddressBytes(), .. option == 0 ? [] : LinkOption(option, address)];

    private static byte[] LinkOption(byte option, MacAddress address)
    {
        byte[] bytes = [option, 1, 0, 0, 0, 0, 0, 0];
        address.Write(bytes.AsSpan(2));
        return bytes;
    }

    private static byte[] Udp(ushort source, ushort destination, byte[] payload) =>
        [(byte)(source >> 8), (byte)source, (byte)(destination >> 8), (byte)destination, 0, (byte)(8 + payload.Length), 0, 0, .. payload];

    private static byte[] Dhcp(MacAddress client, uint address)
    {
        byte[] dhcp = new byte[120];
        (dhcp[0], dhcp[1], dhcp[2]) = (1, 1, 6);
        BinaryPrimitives.WriteUInt32BigEndian(dhcp.AsSpan(12), address);
        client.Write(dhcp.AsSpan(28));
        return dhcp;
    }

    private static byte[] Arp(byte operation, MacAddress sender, uint source, uint target)
    {
        byte[] arp = [0, 1, 8, 0, 6, 4, 0, operation, .. new byte[20]];
        sender.Write(arp.AsSpan(8));
        BinaryPrimitives.WriteUInt32BigEndian(arp.AsSpan(14), source);
        BinaryPrimitives.WriteUInt32BigEndian(arp.AsSpan(24), target);
        return Frame(0x0806, arp);
    }
}
