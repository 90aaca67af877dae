using Tessera.Plugins.Net.Nat;
using Tessera.Sdk.Devices;

namespace Tessera.Net.Tests;

/// <summary>Options that cannot be, and forwards in words.</summary>
internal sealed class NatOptionsTests
{
    [TestCase("10.0.2.0", "subnet")]
    [TestCase("10.0.2.1/24", "subnet")]
    [TestCase("10.0.2.0/28", "subnet")]
    [TestCase("127.0.0.0/8", "subnet")]
    [TestCase("fe80::/10", "subnet")]
    public void A_subnet_that_cannot_be_is_named(string subnet, string option) => Fails(new NatOptions { Subnet = subnet }, option, subnet);

    [TestCase("10.0.3.2", "host")]
    [TestCase("10.0.2.255", "host")]
    [TestCase("here", "host")]
    public void A_host_that_cannot_be_is_named(string host, string option) => Fails(new NatOptions { Host = host }, option, host);

    [TestCase("10.0.2.245")]
    [TestCase("10.0.2.1")]
    [TestCase("10.0.3.15")]
    public void Leases_that_do_not_fit_are_named(string start) => Fails(new NatOptions { DhcpStart = start }, "dhcpStart", start);

    [TestCase("10.0.2.2")]
    [TestCase("127.0.0.1")]
    public void A_name_server_that_cannot_be_is_named(string dns) => Fails(new NatOptions { Dns = dns }, "dns", dns);

    [Test]
    public void A_name_that_does_not_fit_a_lease_is_named() => Fails(new NatOptions { Hostname = new string('a', 33) }, "hostname", "32");

    [Test]
    public void The_smallest_subnet_has_room() => Assert.That(NatPlan.Of(new NatOptions { Subnet = "192.168.5.32/27" }).DhcpStart, Is.EqualTo(Packets.Address("192.168.5.46")));

    [Test]
    public void Forwards_are_read()
    {
        NatPlan plan = NatPlan.Of(new NatOptions());
        Assert.That(Forward.Parse("tcp 8080 80; udp 0.0.0.0:5353 10.0.2.20:53;", plan).Select(forward => forward.ToString()),
            Is.EqualTo(new[] { "tcp 127.0.0.1:8080 10.0.2.15:80", "udp 0.0.0.0:5353 10.0.2.20:53" }));
    }

    [TestCase("8080 80", "tcp|udp")]
    [TestCase("icmp 1 2", "tcp|udp")]
    [TestCase("tcp 8080", "tcp|udp")]
    [TestCase("tcp 0 80", "\"0\"")]
    [TestCase("tcp 8080 65536", "\"65536\"")]
    [TestCase("tcp localhost:8080 80", "\"localhost\"")]
    [TestCase("tcp 8080 10.0.2.2:80", "10.0.2.2")]
    [TestCase("tcp 8080 10.0.3.9:80", "10.0.3.9")]
    public void A_forward_that_cannot_be_is_named(string forward, string what) =>
        Assert.That(() => Forward.Parse(forward, NatPlan.Of(new NatOptions())), Throws.TypeOf<BackendException>().With.Message.Contains($"\"{forward}\"").And.Message.Contains(what));

    private static void Fails(NatOptions options, string option, string what) =>
        Assert.That(() => NatPlan.Of(options), Throws.TypeOf<BackendException>().With.Message.Contains($"nat: {option} ").And.Message.Contains(what));
}
