using System.Net;
using System.Net.Sockets;
using Tessera.Plugins.Net.Nat;
using Tessera.Sdk.Devices;

namespace Tessera.Net.Tests;

/// <summary>Interfaces that share a network, and a network over a switch.</summary>
internal sealed class NatSharingTests
{
    private static readonly NatOptions Shared = new() { Network = "lan", HostLoopback = true };

    [OneTimeSetUp]
    public void Require() => NatStation.RequireSlirp();

    [Test]
    public void Each_gets_a_lease_of_its_own_and_what_is_for_it()
    {
        TestScope scope = new();
        using NatStation one = new(NatStation.NewNat(Shared, scope), 1);
        using NatStation two = new(NatStation.NewNat(Shared, scope), 2);
        List<byte> leases = [];
        foreach (NatStation guest in (NatStation[])[one, two])
        {
            guest.Send(Packets.Dhcp(guest.Mac, 1));
            // An offer is for all: the first that names this guest is its own.
            byte[] offer = guest.Next(frame => Packets.IsFor(frame, Packets.Udp, 68) && MacAddress.Read(Packets.UdpPayload(frame).AsSpan(28)) == guest.Mac);
            leases.Add(Packets.UdpPayload(offer)[19]);
        }

        Assert.That(leases, Is.EqualTo(new byte[] { 15, 16 }));
        one.SendIp(Packets.Icmp, NatStation.Gateway, Packets.EchoRequest());
        Assert.That(one.Settle().Count(frame => Packets.Type(frame) == 0x0800 && frame[23] == Packets.Icmp), Is.EqualTo(1));
        Assert.That(two.Settle().Count(frame => Packets.Type(frame) == 0x0800 && frame[23] == Packets.Icmp), Is.Zero);
    }

    [Test]
    public void Nobody_sends_from_a_neighbours_address_or_asks_for_its_lease()
    {
        using UdpClient server = new(new IPEndPoint(IPAddress.Loopback, 0));
        ushort port = (ushort)((IPEndPoint)server.Client.LocalEndPoint!).Port;
        TestScope scope = new();
        using NatStation one = new(NatStation.NewNat(Shared, scope), 1);
        using NatStation two = new(NatStation.NewNat(Shared, scope), 2);
        _ = one.Settle();
        two.Send(Packets.Ip(Packets.StationOf(NatStation.Gateway), two.Mac, Packets.Udp, one.Address, NatStation.Gateway, Packets.UdpPacket(1, port, "x"u8)));
        two.Send(Packets.Ip(Packets.StationOf(NatStation.Gateway), one.Mac, Packets.Udp, one.Address, NatStation.Gateway, Packets.UdpPacket(1, port, "x"u8)));
        two.Send(Packets.ArpRequest(two.Mac, one.Address, NatStation.Gateway));
        byte[] lease = Packets.Dhcp(one.Mac, 1);
        two.Mac.Write(lease.AsSpan(6));
        two.Send(lease);
        Assert.That((two.Settle(), server.Available), Is.EqualTo((new List<byte[]>(), 0)));
    }

    [Test]
    public void The_same_network_is_described_in_one_way_and_has_each_address_once()
    {
        TestScope scope = new();
        using NatStation one = new(NatStation.NewNat(Shared, scope), 1);
        using Nat other = NatStation.NewNat(Shared with { Restricted = true }, scope);
        Assert.That(() => new NatStation(other, 2), Throws.TypeOf<BackendException>().With.Message.Contains("\"lan\""));
        using Nat again = NatStation.NewNat(Shared, scope);
        Assert.That(() => new NatStation(again, 1), Throws.TypeOf<BackendException>().With.Message.Contains(one.Mac.ToString()));
        using NatStation apart = new(NatStation.NewNat(new NatOptions { Restricted = true }, scope), 1);
        _ = apart.Settle();
        _ = one.Settle();
    }

    [Test]
    public void A_network_ends_with_its_last_interface_and_begins_again()
    {
        TestScope scope = new();
        for (int time = 0; time < 3; time++)
        {
            using NatStation one = new(NatStation.NewNat(Shared with { Connections = 5 + time }, scope), 1);
            using (NatStation two = new(NatStation.NewNat(Shared with { Connections = 5 + time }, scope), 2))
                _ = two.Settle();
            _ = one.Settle();
            // Its address is free again.
            using NatStation third = new(NatStation.NewNat(Shared with { Connections = 5 + time }, scope), 3, address: NatStation.Gateway + 14);
            _ = third.Settle();
        }
    }

    [Test]
    public void Over_a_switch_guests_reach_each_other_and_the_outside()
    {
        TestScope scope = new();
        using NatStation one = new(NatStation.NewNat(Shared, scope, scope.Port()), 1);
        using NatStation two = new(NatStation.NewNat(Shared, scope, scope.Port()), 2);
        using Station inside = new(scope.Port(), 3);
        byte[] between = Station.Frame(two.Mac, one.Mac);
        one.Send(between);
        Assert.That(two.Next(_ => true), Is.EqualTo(between));
        _ = one.Settle();
        Assert.That(inside.Got, Has.Count.EqualTo(1), "the question who is the gateway is for all, and goes to all");

        // Somebody beneath who says to be the gateway is not heard.
        inside.Send(Station.Frame(one.Mac, Packets.StationOf(NatStation.Gateway)));
        Assert.That(one.Settle(), Is.Empty);
    }
}
