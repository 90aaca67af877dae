using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Tessera.Plugins.Net.Nat;
using Tessera.Sdk.Devices;

namespace Tessera.Net.Tests;

/// <summary>Slirp is C: what a hostile guest sends does not get there, or does no harm.</summary>
internal sealed class NatHostileTests
{
    private const int Frames = 200_000;

    private static readonly MacAddress Guest = new(0x0016_3E00_0001);
    private static readonly NatPlan Plan = NatPlan.Of(new NatOptions { HostLoopback = true });
    private static readonly uint Address = Packets.Address("10.0.2.15");

    [TestCaseSource(nameof(Refused))]
    public void It_never_gets_to_slirp(byte[] frame) => Assert.That(FrameGuard.Judge(frame, Plan, Guest, out _, out _), Is.EqualTo(Verdict.Drop));

    [TestCaseSource(nameof(Taken))]
    public void It_passes(byte[] frame, string verdict) => Assert.That(FrameGuard.Judge(frame, Plan, Guest, out _, out _).ToString(), Is.EqualTo(verdict));

    [Test]
    public void Padding_of_short_frames_is_left_out()
    {
        byte[] frame = new byte[60];
        Frame(Packets.Udp, NatStation.Gateway, Packets.UdpPacket(1, 2, [])).CopyTo(frame, 0);
        Assert.That(FrameGuard.Judge(frame, Plan, Guest, out uint source, out int length), Is.EqualTo(Verdict.Opens));
        Assert.That((source, length), Is.EqualTo((Address, 42)));
    }

    [Test]
    public void Random_frames_leave_the_network_as_it_was()
    {
        NatStation.RequireSlirp();
        string? given = Environment.GetEnvironmentVariable("TESSERA_FUZZ_SEED");
        int seed = given is null ? Random.Shared.Next() : int.Parse(given, CultureInfo.InvariantCulture);
        TestContext.Out.WriteLine($"TESSERA_FUZZ_SEED={seed}");
        Random random = new(seed);
        using TcpListener server = new(IPAddress.Loopback, 0);
        using UdpClient datagrams = new(new IPEndPoint(IPAddress.Loopback, 0));
        // Nobody accepts: a connection is one once it waits here.
        server.Start();
        ushort[] ports = [(ushort)((IPEndPoint)server.LocalEndpoint).Port, (ushort)((IPEndPoint)datagrams.Client.LocalEndPoint!).Port];
        using NatStation guest = new(NatStation.NewNat(new NatOptions { HostLoopback = true, Connections = 64 }));
        for (int count = 0; count < Frames; count++)
        {
            guest.Send(Hostile(random, guest, ports[random.Next(2)]), new FrameOffload((FrameChecksum)random.Next(3), (FrameSegmentation)random.Next(3), random.Next(0, 3000)));
            // Else most would find the queue full.
            if (count % 128 == 0)
                _ = guest.Settle();
        }

        _ = guest.Settle();
        guest.SendIp(Packets.Icmp, NatStation.Gateway, Packets.EchoRequest());
        _ = guest.Next(frame => Packets.Type(frame) == 0x0800 && frame[23] == Packets.Icmp && frame[34] == 0);
    }

    private static IEnumerable<TestCaseData> Refused()
    {
        byte[] udp = Packets.UdpPacket(1000, 53, "x"u8);
        byte[] syn = Packets.TcpPacket(1000, 80, 1, 0, Packets.Syn);
        TestCaseData Case(string name, byte[] frame) => new TestCaseData(frame).SetArgDisplayNames(name);
        yield return Case("nothing but Ethernet", Station.Frame(Packets.StationOf(NatStation.Gateway), Guest)[..14]);
        yield return Case("IPv6", Station.Frame(Packets.StationOf(NatStation.Gateway), Guest, 0x86DD, new byte[60]));
        yield return Case("NCSI", Station.Frame(Packets.StationOf(NatStation.Gateway), Guest, 0x88F8, new byte[60]));
        yield return Case("too long", Frame(Packets.Udp, NatStation.Gateway, Packets.UdpPacket(1, 2, new byte[1473])));
        yield return Case("from another station", Packets.Ip(Packets.StationOf(NatStation.Gateway), new(0x0016_3E00_0002), Packets.Udp, Address, NatStation.Gateway, udp));
        foreach (string source in (string[])["10.0.2.2", "10.0.2.3", "10.0.2.0", "10.0.2.255", "10.0.3.15", "0.0.0.0", "16.0.0.0", "127.0.0.1", "255.255.255.255"])
            yield return Case($"from {source}", Packets.Ip(Packets.StationOf(NatStation.Gateway), Guest, Packets.Udp, Packets.Address(source), NatStation.Gateway, udp));
        foreach (string destination in (string[])["127.0.0.1", "127.1.2.3", "0.0.0.0", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "10.0.2.255", "10.0.2.0", "10.0.2.16"])
            yield return Case($"to {destination}", Frame(Packets.Tcp, Packets.Address(destination), syn));
        yield return Case("the name server's other ports", Frame(Packets.Tcp, NatStation.NameServer, syn));
        yield return Case("TFTP", Frame(Packets.Udp, NatStation.Gateway, Packets.UdpPacket(1000, 69, "x"u8)));
        yield return Case("IGMP", Frame(2, NatStation.Gateway, new byte[8]));
        yield return Case("an echo's reply", Frame(Packets.Icmp, NatStation.Gateway, new byte[8]));
        yield return Case("half an ICMP header", Frame(Packets.Icmp, NatStation.Gateway, [8, 0, 0, 0]));
        yield return Case("half a UDP header", Frame(Packets.Udp, NatStation.Gateway, [1, 2, 3, 4]));
        yield return Case("half a TCP header", Frame(Packets.Tcp, NatStation.Gateway, syn[..12]));
        yield return Case("a TCP header longer than its packet", Changed(Frame(Packets.Tcp, NatStation.Gateway, syn), 46, 0xF0));
        yield return Case("a TCP header shorter than one", Changed(Frame(Packets.Tcp, NatStation.Gateway, syn), 46, 0x10));
        yield return Case("UDP longer than its packet", Changed(Frame(Packets.Udp, NatStation.Gateway, udp), 39, 200));
        yield return Case("UDP shorter than its header", Changed(Frame(Packets.Udp, NatStation.Gateway, udp), 39, 7));
        yield return Case("IP options", Changed(Frame(Packets.Udp, NatStation.Gateway, udp), 14, 0x46));
        yield return Case("an IP header of nothing", Changed(Frame(Packets.Udp, NatStation.Gateway, udp), 14, 0x40));
        yield return Case("IP version 6 in version 4's frame", Changed(Frame(Packets.Udp, NatStation.Gateway, udp), 14, 0x65));
        yield return Case("IP longer than its frame", Changed(Frame(Packets.Udp, NatStation.Gateway, udp), 17, 200));
        yield return Case("IP shorter than its header", Changed(Frame(Packets.Udp, NatStation.Gateway, udp), 17, 19));
        yield return Case("a first fragment", Changed(Frame(Packets.Udp, NatStation.Gateway, udp), 20, 0x20));
        yield return Case("a later fragment", Changed(Frame(Packets.Udp, NatStation.Gateway, udp), 21, 1));
        byte[] arp = Packets.ArpRequest(Guest, Address, NatStation.Gateway);
        yield return Case("ARP cut short", arp[..41]);
        yield return Case("ARP of long addresses", Changed(arp, 18, 8));
        yield return Case("ARP in another's name", Changed(arp, 27, 9));
        yield return Case("ARP that says to be the gateway", Packets.ArpReply(Guest, Packets.StationOf(NatStation.Gateway), NatStation.Gateway, Address));
        yield return Case("DHCP in another's name", Changed(Packets.Dhcp(Guest, 1), 14 + 20 + 8 + 28, 9));
        yield return Case("DHCP cut short", Packets.Ip(Packets.Everybody, Guest, Packets.Udp, 0, uint.MaxValue, Packets.UdpPacket(68, 67, new byte[239])));
    }

    private static IEnumerable<TestCaseData> Taken()
    {
        TestCaseData Case(string name, byte[] frame, Verdict verdict) => new TestCaseData(frame, verdict.ToString()).SetArgDisplayNames(name);
        yield return Case("ARP", Packets.ArpRequest(Guest, Address, NatStation.Gateway), Verdict.Pass);
        yield return Case("ARP that looks whether an address is free", Packets.ArpRequest(Guest, 0, Address), Verdict.Pass);
        yield return Case("DHCP", Packets.Dhcp(Guest, 1), Verdict.Pass);
        yield return Case("names by UDP", Frame(Packets.Udp, NatStation.NameServer, Packets.UdpPacket(1000, 53, "x"u8)), Verdict.Opens);
        yield return Case("names by TCP", Frame(Packets.Tcp, NatStation.NameServer, Packets.TcpPacket(1000, 53, 1, 0, Packets.Syn)), Verdict.Opens);
        yield return Case("a ping of the gateway", Frame(Packets.Icmp, NatStation.Gateway, Packets.EchoRequest()), Verdict.Pass);
        yield return Case("a ping of the world", Frame(Packets.Icmp, Packets.Address("192.0.2.1"), Packets.EchoRequest()), Verdict.Opens);
        yield return Case("a connection", Frame(Packets.Tcp, Packets.Address("192.0.2.1"), Packets.TcpPacket(1000, 80, 1, 0, Packets.Syn)), Verdict.Opens);
        yield return Case("more of it", Frame(Packets.Tcp, Packets.Address("192.0.2.1"), Packets.TcpPacket(1000, 80, 2, 2, Packets.Ack)), Verdict.Pass);
        yield return Case("the longest", Frame(Packets.Udp, Packets.Address("192.0.2.1"), Packets.UdpPacket(1, 2, new byte[1472])), Verdict.Opens);
    }

    private static byte[] Frame(byte protocol, uint destination, byte[] transport) => Packets.Ip(Packets.StationOf(NatStation.Gateway), Guest, protocol, Address, destination, transport);

    private static byte[] Changed(byte[] frame, int at, byte value)
    {
        frame[at] = value;
        return frame;
    }

    /// <summary>A plain frame with some of it spoilt, and in half the cases with checksums that hide it. It goes nowhere but to the test's own servers.</summary>
    private static byte[] Hostile(Random random, NatStation guest, ushort port)
    {
        byte[] payload = new byte[random.Next(0, 1460)];
        random.NextBytes(payload);
        byte[] frame = random.Next(8) switch
        {
            0 => Packets.ArpRequest(guest.Mac, guest.Address, NatStation.Gateway),
            1 => Packets.Dhcp(guest.Mac, (byte)random.Next(9), (uint)random.Next()),
            2 => Ip(Packets.Icmp, [8, 0, 0, 0, .. payload]),
            3 => Ip(Packets.Udp, Packets.UdpPacket((ushort)random.Next(65536), port, payload)),
            4 => Ip(Packets.Tcp, Packets.TcpPacket((ushort)random.Next(2000, 2032), port, (uint)random.Next(), 0, Packets.Syn)),
            5 or 6 => Ip(Packets.Tcp, Packets.TcpPacket((ushort)random.Next(2000, 2032), port, (uint)random.Next(), (uint)random.Next(), (byte)random.Next(64), payload)),
            _ => payload.Length >= 14 ? payload : new byte[14],
        };
        byte[] Ip(byte protocol, byte[] transport) => Packets.Ip(Packets.StationOf(NatStation.Gateway), guest.Mac, protocol, guest.Address, NatStation.Gateway, transport);

        if (random.Next(4) == 0)
            frame = frame[..random.Next(14, frame.Length + 1)];
        for (int changes = random.Next(4); changes > 0; changes--)
            frame[random.Next(6, frame.Length)] = (byte)random.Next(256);
        if (frame.Length >= 38 && Packets.Type(frame) == 0x0800)
        {
            // Where it goes stays: these are real sockets of this host.
            System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(30), NatStation.Gateway);
            int transport = 14 + ((frame[14] & 15) * 4);
            if (frame[23] is Packets.Udp or Packets.Tcp && frame.Length >= transport + 4)
                System.Buffers.Binary.BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(transport + 2), port);
            if (random.Next(2) == 0)
                Packets.Seal(frame);
        }

        return frame;
    }
}
