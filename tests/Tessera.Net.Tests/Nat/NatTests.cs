using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Tessera.Plugins.Net.Nat;
using Tessera.Sdk.Devices;

namespace Tessera.Net.Tests;

/// <summary>What a guest gets of the outside.</summary>
internal sealed class NatTests
{
    private static readonly NatOptions WithLoopback = new() { HostLoopback = true };

    [OneTimeSetUp]
    public void Require() => NatStation.RequireSlirp();

    [Test]
    public void A_guest_gets_an_address_and_is_told_the_way()
    {
        using NatStation guest = new(NatStation.NewNat(new NatOptions { Hostname = "guest-1", DomainName = "example.org" }));
        guest.Send(Packets.Dhcp(guest.Mac, 1));
        byte[] offer = guest.Next(frame => Packets.IsFor(frame, Packets.Udp, 68));
        uint offered = BinaryPrimitives.ReadUInt32BigEndian(Packets.UdpPayload(offer).AsSpan(16));
        guest.Send(Packets.Dhcp(guest.Mac, 3, offered));
        byte[] answer = guest.Next(frame => Packets.IsFor(frame, Packets.Udp, 68));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(offered, Is.EqualTo(Packets.Address("10.0.2.15")));
            Assert.That(Packets.DhcpOption(offer, 53), Is.EqualTo(new byte[] { 2 }), "an offer");
            Assert.That(Packets.DhcpOption(answer, 53), Is.EqualTo(new byte[] { 5 }), "an acknowledgement");
            Assert.That(Packets.DhcpOption(answer, 1), Is.EqualTo(new byte[] { 255, 255, 255, 0 }));
            Assert.That(Packets.DhcpOption(answer, 3), Is.EqualTo(new byte[] { 10, 0, 2, 2 }));
            Assert.That(Packets.DhcpOption(answer, 6), Is.EqualTo(new byte[] { 10, 0, 2, 3 }));
            Assert.That(Encoding.ASCII.GetString(Packets.DhcpOption(answer, 12)), Is.EqualTo("guest-1"));
            Assert.That(Encoding.ASCII.GetString(Packets.DhcpOption(answer, 15)), Is.EqualTo("example.org"));
        }
    }

    [Test]
    public void Other_subnets_and_addresses_are_as_configured()
    {
        NatOptions options = new() { Subnet = "172.16.8.0/22", Host = "172.16.8.1", Dns = "9.9.9.9", DhcpStart = "172.16.9.100" };
        using NatStation guest = new(NatStation.NewNat(options), address: Packets.Address("172.16.9.9"));
        guest.Send(Packets.Dhcp(guest.Mac, 1));
        byte[] offer = guest.Next(frame => Packets.IsFor(frame, Packets.Udp, 68));
        Assert.That(Packets.UdpPayload(offer)[16..20], Is.EqualTo(new byte[] { 172, 16, 9, 100 }));
        Assert.That(Packets.DhcpOption(offer, 6), Is.EqualTo(new byte[] { 9, 9, 9, 9 }));
        guest.Send(Packets.ArpRequest(guest.Mac, guest.Address, Packets.Address("172.16.8.1")));
        _ = guest.Next(frame => Packets.IsArpReply(frame, Packets.Address("172.16.8.1")));
    }

    [Test]
    public void The_gateway_answers_who_asks_for_it_and_pings_it()
    {
        using NatStation guest = new(NatStation.NewNat());
        guest.Send(Packets.ArpRequest(guest.Mac, guest.Address, NatStation.Gateway));
        byte[] answer = guest.Next(frame => Packets.IsArpReply(frame, NatStation.Gateway));
        Assert.That(MacAddress.Read(answer.AsSpan(6)), Is.EqualTo(Packets.StationOf(NatStation.Gateway)));
        guest.SendIp(Packets.Icmp, NatStation.Gateway, Packets.EchoRequest());
        byte[] pong = guest.Next(frame => Packets.Type(frame) == 0x0800 && frame[23] == Packets.Icmp);
        Assert.That(pong[34], Is.Zero, "an echo's reply");
    }

    [Test]
    public async Task A_connection_reaches_the_hosts_loopback_and_carries_what_was_sent()
    {
        using TcpListener server = new(IPAddress.Loopback, 0);
        server.Start();
        ushort port = (ushort)((IPEndPoint)server.LocalEndpoint).Port;
        using NatStation guest = new(NatStation.NewNat(WithLoopback));
        _ = guest.Settle();
        (uint own, uint other) = guest.Connect(40000, port);
        using TcpClient accepted = await server.AcceptTcpClientAsync();

        // One frame of 5,000 bytes that is yet to be cut, its checksum blank.
        byte[] sent = new byte[5000];
        new Random(1).NextBytes(sent);
        byte[] large = Packets.Ip(Packets.StationOf(NatStation.Gateway), guest.Mac, Packets.Tcp, guest.Address, NatStation.Gateway, Packets.TcpPacket(40000, port, own, other, Packets.Ack, sent));
        (large[50], large[51]) = (0, 0);
        guest.Send(large, new FrameOffload(FrameChecksum.Blank, FrameSegmentation.TcpV4, 1448));
        byte[] got = new byte[sent.Length];
        await accepted.GetStream().ReadExactlyAsync(got);
        Assert.That(got, Is.EqualTo(sent));

        await accepted.GetStream().WriteAsync("hello"u8.ToArray());
        byte[] reply = guest.Next(frame => Packets.IsFor(frame, Packets.Tcp, 40000) && Packets.TcpPayload(frame).Length > 0);
        Assert.That(Packets.TcpPayload(reply), Is.EqualTo("hello"u8.ToArray()));
    }

    [Test]
    public async Task Datagrams_go_there_and_back()
    {
        using UdpClient server = new(new IPEndPoint(IPAddress.Loopback, 0));
        ushort port = (ushort)((IPEndPoint)server.Client.LocalEndPoint!).Port;
        using NatStation guest = new(NatStation.NewNat(WithLoopback));
        _ = guest.Settle();
        guest.SendIp(Packets.Udp, NatStation.Gateway, Packets.UdpPacket(5000, port, "ping"u8));
        UdpReceiveResult got = await server.ReceiveAsync();
        Assert.That(got.Buffer, Is.EqualTo("ping"u8.ToArray()));
        _ = await server.SendAsync("pong"u8.ToArray(), got.RemoteEndPoint);
        byte[] back = guest.Next(frame => Packets.IsFor(frame, Packets.Udp, 5000));
        Assert.That(Packets.UdpPayload(back), Is.EqualTo("pong"u8.ToArray()));
        Assert.That(BinaryPrimitives.ReadUInt32BigEndian(back.AsSpan(26)), Is.EqualTo(NatStation.Gateway), "from whom it was asked");
    }

    [Test]
    public async Task Names_are_asked_of_the_hosts_own_server()
    {
        // One question for the root's name servers.
        byte[] question = [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
        string? resolver = File.Exists("/etc/resolv.conf") ? (await File.ReadAllLinesAsync("/etc/resolv.conf")).FirstOrDefault(line => line.StartsWith("nameserver ", StringComparison.Ordinal))?.Split(' ')[1] : null;
        if (!IPAddress.TryParse(resolver, out IPAddress? address) || address.AddressFamily != AddressFamily.InterNetwork || !await Answers(address, question))
            Assert.Ignore($"The host's name server ({resolver ?? "none"}) does not answer the test itself.");
        using NatStation guest = new(NatStation.NewNat());
        _ = guest.Settle();
        guest.SendIp(Packets.Udp, NatStation.NameServer, Packets.UdpPacket(5353, 53, question));
        byte[] answer = Packets.UdpPayload(guest.Next(frame => Packets.IsFor(frame, Packets.Udp, 5353)));
        Assert.That((answer[0], answer[1], answer[2] & 0x80), Is.EqualTo(((byte)0x12, (byte)0x34, 0x80)));
    }

    [Test]
    public void The_hosts_loopback_is_closed_unless_it_is_opened()
    {
        using TcpListener server = new(IPAddress.Loopback, 0);
        using UdpClient datagrams = new(new IPEndPoint(IPAddress.Loopback, 0));
        server.Start();
        ushort port = (ushort)((IPEndPoint)server.LocalEndpoint).Port;
        ushort datagramPort = (ushort)((IPEndPoint)datagrams.Client.LocalEndPoint!).Port;
        using NatStation guest = new(NatStation.NewNat());
        foreach (uint destination in (uint[])[NatStation.Gateway, NatStation.NameServer, Packets.Address("127.0.0.1"), 0])
        {
            guest.SendIp(Packets.Tcp, destination, Packets.TcpPacket(40000, port, 1, 0, Packets.Syn));
            guest.SendIp(Packets.Udp, destination, Packets.UdpPacket(5000, datagramPort, "ping"u8));
        }

        Assert.That(guest.Settle(), Is.Empty);
        Assert.That((server.Pending(), datagrams.Available), Is.EqualTo((false, 0)));
    }

    [Test]
    public async Task A_forwarded_port_of_the_host_leads_to_the_guest()
    {
        ushort port = FreePort();
        using NatStation guest = new(NatStation.NewNat(new NatOptions { Forwards = $"tcp {port} 80", Restricted = true }));
        Assert.That(guest.Address, Is.EqualTo(Packets.Address("10.0.2.15")));
        using TcpClient client = new();
        await client.ConnectAsync(IPAddress.Loopback, port);
        _ = guest.Next(frame => Packets.IsArpRequest(frame, guest.Address));
        guest.Send(Packets.ArpReply(guest.Mac, Packets.StationOf(NatStation.Gateway), guest.Address, NatStation.Gateway));
        byte[] first = guest.Next(frame => Packets.IsFor(frame, Packets.Tcp, 80));
        Assert.That(Packets.Flags(first), Is.EqualTo(Packets.Syn));
        ushort from = BinaryPrimitives.ReadUInt16BigEndian(first.AsSpan(34));
        guest.SendIp(Packets.Tcp, NatStation.Gateway, Packets.TcpPacket(80, from, 500, Packets.Sequence(first) + 1, Packets.Syn | Packets.Ack));
        guest.SendIp(Packets.Tcp, NatStation.Gateway, Packets.TcpPacket(80, from, 501, Packets.Sequence(first) + 1, Packets.Ack, "served"u8));
        byte[] got = new byte[6];
        await client.GetStream().ReadExactlyAsync(got);
        Assert.That(got, Is.EqualTo("served"u8.ToArray()));
    }

    [Test]
    public void A_port_that_is_taken_is_said_and_one_that_was_let_go_is_free()
    {
        using TcpListener taken = new(IPAddress.Loopback, 0);
        taken.Start();
        int port = ((IPEndPoint)taken.LocalEndpoint).Port;
        using Nat nat = NatStation.NewNat(new NatOptions { Forwards = $"tcp {port} 80" });
        Assert.That(() => new NatStation(nat), Throws.TypeOf<BackendException>().With.Message.Contains($"127.0.0.1:{port}"));
        ushort free = FreePort();
        for (int time = 0; time < 2; time++)
            new NatStation(NatStation.NewNat(new NatOptions { Forwards = $"tcp {free} 80" })).Dispose();
    }

    [Test]
    public void Connections_are_bounded()
    {
        using UdpClient server = new(new IPEndPoint(IPAddress.Loopback, 0));
        ushort port = (ushort)((IPEndPoint)server.Client.LocalEndPoint!).Port;
        using NatStation guest = new(NatStation.NewNat(WithLoopback with { Connections = 3 }));
        for (ushort from = 5000; from < 5010; from++)
            guest.SendIp(Packets.Udp, NatStation.Gateway, Packets.UdpPacket(from, port, "x"u8));
        _ = guest.Settle();
        IPEndPoint? sender = null;
        int got = 0;
        for (; server.Available > 0; got++)
            _ = server.Receive(ref sender);
        Assert.That(got, Is.EqualTo(3));
    }

    [Test]
    public void Sending_allocates_nothing()
    {
        using NatStation guest = new(NatStation.NewNat());
        byte[] frame = Packets.Ip(Packets.StationOf(NatStation.Gateway), guest.Mac, Packets.Icmp, guest.Address, NatStation.Gateway, Packets.EchoRequest());
        for (int count = 0; count < 1000; count++)
            guest.Send(frame);
        long least = Allocations.LeastOf(() =>
        {
            for (int count = 0; count < 1000; count++)
                guest.Send(frame);
        });
        Assert.That(least, Is.Zero);
    }

    private static ushort FreePort()
    {
        using TcpListener listener = new(IPAddress.Loopback, 0);
        listener.Start();
        return (ushort)((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private static async Task<bool> Answers(IPAddress resolver, byte[] question)
    {
        using UdpClient client = new();
        using CancellationTokenSource patience = new(TimeSpan.FromSeconds(3));
        try
        {
            _ = await client.SendAsync(question, new IPEndPoint(resolver, 53), patience.Token);
            _ = await client.ReceiveAsync(patience.Token);
            return true;
        }
        catch (Exception exception) when (exception is SocketException or OperationCanceledException)
        {
            return false;
        }
    }
}
