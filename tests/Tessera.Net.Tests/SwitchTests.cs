using Tessera.Sdk.Devices;

namespace Tessera.Net.Tests;

/// <summary>Who gets a frame, and who cannot take another's.</summary>
internal sealed class SwitchTests
{
    private static readonly MacAddress Everybody = new(0xFFFF_FFFF_FFFF);
    private static readonly MacAddress Stranger = new(0x0200_0000_0001);

    [Test]
    public void A_frame_reaches_the_one_it_is_for_unchanged_and_nobody_else()
    {
        TestScope scope = new();
        using Station one = new(scope.Port(), 1);
        using Station two = new(scope.Port(), 2);
        using Station three = new(scope.Port(), 3);
        byte[] frame = Station.Frame(two.Address, one.Address);
        FrameOffload offload = new(FrameChecksum.Blank, FrameSegmentation.TcpV4, 1448);
        one.Send(frame, offload);
        Assert.That(two.Got, Has.Count.EqualTo(1));
        Assert.That((two.Got[0].Bytes, two.Got[0].Offload), Is.EqualTo((frame, offload)));
        Assert.That((one.Got.Count, three.Got.Count), Is.EqualTo((0, 0)));
    }

    [Test]
    public void Frames_for_groups_and_for_unknown_stations_reach_all_others()
    {
        TestScope scope = new();
        using Station one = new(scope.Port(), 1);
        using Station two = new(scope.Port(), 2);
        using Station elsewhere = new(scope.Port("other"), 3);
        one.Send(Station.Frame(Everybody, one.Address));
        one.Send(Station.Frame(Stranger, one.Address));
        Assert.That((one.Got.Count, two.Got.Count, elsewhere.Got.Count), Is.EqualTo((0, 2, 0)));
    }

    [Test]
    public void An_address_is_learnt_where_it_sends_and_moves_with_it()
    {
        TestScope scope = new();
        using Station one = new(scope.Port(), 1);
        using Station two = new(scope.Port(), 2);
        using Station three = new(scope.Port(), 3);
        two.Send(Station.Frame(one.Address, Stranger));
        one.Send(Station.Frame(Stranger, one.Address));
        Assert.That((two.Got.Count, three.Got.Count), Is.EqualTo((1, 0)));
        three.Send(Station.Frame(one.Address, Stranger));
        one.Send(Station.Frame(Stranger, one.Address));
        Assert.That((two.Got.Count, three.Got.Count), Is.EqualTo((1, 1)));
    }

    [Test]
    public void Nobody_takes_an_interfaces_own_address_or_fills_the_table()
    {
        TestScope scope = new();
        using Station one = new(scope.Port(addresses: 2), 1);
        using Station two = new(scope.Port(), 2);
        using Station three = new(scope.Port(), 3);
        one.Send(Station.Frame(three.Address, two.Address));
        three.Got.Clear();
        three.Send(Station.Frame(two.Address, three.Address));
        Assert.That((one.Got.Count, two.Got.Count), Is.EqualTo((0, 1)), "two's own address stays two's");
        for (ulong number = 0; number < 10; number++)
            one.Send(Station.Frame(two.Address, new(Stranger.Value + number)));
        one.Got.Clear();
        three.Got.Clear();
        for (ulong number = 0; number < 10; number++)
            two.Send(Station.Frame(new(Stranger.Value + number), two.Address));
        Assert.That((one.Got.Count, three.Got.Count), Is.EqualTo((10, 8)), "two were learnt, the others are unknown");
    }

    [Test]
    public void Two_interfaces_with_one_address_are_refused()
    {
        TestScope scope = new();
        using Station one = new(scope.Port(), 1);
        using INetworkBackend again = scope.Port();
        Assert.That(() => new Station(again, 1), Throws.TypeOf<BackendException>().With.Message.Contains("00:16:3e:00:00:01"));
    }

    [Test]
    public void A_port_that_leaves_is_forgotten()
    {
        TestScope scope = new();
        using Station one = new(scope.Port(), 1);
        Station two = new(scope.Port(), 2);
        two.Dispose();
        one.Send(Station.Frame(two.Address, one.Address));
        Assert.That(two.Got, Is.Empty);
        using Station again = new(scope.Port(), 2);
        one.Send(Station.Frame(two.Address, one.Address));
        Assert.That(again.Got, Has.Count.EqualTo(1));
    }

    [Test]
    public void Forwarding_allocates_nothing()
    {
        TestScope scope = new();
        using INetworkBackend one = scope.Port();
        using INetworkBackend two = scope.Port();
        Counter first = new();
        Counter second = new();
        _ = one.Open(new NetworkPort("one", new(2), first));
        _ = two.Open(new NetworkPort("two", new(4), second));
        byte[] frame = Station.Frame(new(4), new(2));
        one.Send(new NetworkFrame(frame));
        long least = Allocations.LeastOf(() =>
        {
            for (int count = 0; count < 2000; count++)
                one.Send(new NetworkFrame(frame));
        });
        Assert.That(least, Is.Zero);
        Assert.That(second.Frames, Is.EqualTo(10_001));
    }

    private sealed class Counter : INetworkReceiver
    {
        public int Frames { get; private set; }

        public bool Receive(in NetworkFrame frame)
        {
            Frames++;
            return true;
        }
    }
}
