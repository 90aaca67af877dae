using Tessera.Plugins.Net.Filter;
using Tessera.Sdk.Devices;

namespace Tessera.Net.Tests;

/// <summary>Rules in their order.</summary>
internal sealed class FilterTests
{
    private const uint Own = 0x0A00_0001;
    private const uint Other = 0x0A00_0002;

    [TestCase("", true)]
    [TestCase("drop tcp dport 80", false)]
    [TestCase("drop udp dport 80", true)]
    [TestCase("in drop tcp", true)]
    [TestCase("out drop tcp", false)]
    [TestCase("accept tcp dport 70-80; drop tcp", true)]
    [TestCase("drop src 10.0.0.0/24", false)]
    [TestCase("drop dst 10.0.0.1", true)]
    [TestCase("drop ip6", true)]
    [TestCase("drop sport 1000-1999", false)]
    public void The_first_rule_that_matches_decides(string rules, bool passes)
    {
        using Pair pair = new(new FilterOptions { Rules = rules });
        pair.One.Send(pair.Frame(Station.Packet(6, Own, Other, 1234, 80)));
        Assert.That(pair.Two.Got, Has.Count.EqualTo(passes ? 1 : 0));
    }

    [Test]
    public void Frames_for_the_domain_are_filtered_too()
    {
        using Pair pair = new(new FilterOptions { Rules = "in accept tcp sport 80", Otherwise = FilterAction.Drop });
        pair.Two.Send(Station.Frame(pair.One.Address, pair.Two.Address, 0x0800, Station.Packet(6, Other, Own, 80, 1234)));
        pair.Two.Send(Station.Frame(pair.One.Address, pair.Two.Address, 0x0800, Station.Packet(6, Other, Own, 81, 1234)));
        Assert.That(pair.One.Got, Has.Count.EqualTo(1));
    }

    [TestCase("permit tcp", "permit")]
    [TestCase("drop src 10.0.0.0/33", "10.0.0.0/33")]
    [TestCase("drop dport 90-80", "90-80")]
    [TestCase("drop tcp dport", "dport")]
    [TestCase("in", "accept or drop")]
    public void A_rule_that_is_none_is_named(string rules, string named) =>
        Assert.That(() => new Pair(new FilterOptions { Rules = rules }), Throws.TypeOf<BackendException>().With.Message.Contains(named));

    /// <summary>Two stations on a switch, the first behind a filter.</summary>
    private sealed class Pair : IDisposable
    {
        public Pair(FilterOptions options)
        {
            TestScope scope = new();
            One = new Station(new Filter(options, scope.Port()), 1);
            Two = new Station(scope.Port(), 2);
        }

        public Station One { get; }

        public Station Two { get; }

        public byte[] Frame(byte[] packet) => Station.Frame(Two.Address, One.Address, 0x0800, packet);

        public void Dispose()
        {
            One.Dispose();
            Two.Dispose();
        }
    }
}
