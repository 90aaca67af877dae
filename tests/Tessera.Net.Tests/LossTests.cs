using System.Buffers.Binary;
using FsCheck;
using FsCheck.Fluent;
using Tessera.Plugins.Net.Loss;
using Tessera.Sdk;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Net.Tests;

/// <summary>What a bad wire does to which frame, in time that the test turns.</summary>
internal sealed class LossTests
{
    private const int Many = 20_000;
    private static readonly TimeSpan Millisecond = TimeSpan.FromMilliseconds(1);

    [Test]
    public void A_wire_without_faults_is_none()
    {
        using Lab lab = new(new LossOptions());
        lab.SendAll(1000);
        lab.AnswerAll(1000);
        Assert.That((lab.Arrived(), lab.Answered()), Is.EqualTo((Numbers(1000), Numbers(1000))));
    }

    [TestCase(0.5)]
    [TestCase(10)]
    [TestCase(50)]
    [TestCase(100)]
    public void The_share_asked_for_is_lost_in_both_directions(double percent)
    {
        using Lab lab = new(new LossOptions { Loss = percent });
        lab.SendAll(Many);
        lab.AnswerAll(Many);
        // Five standard deviations of a binomial: one seed in a million lies outside, and this one always does the same.
        double share = percent / 100;
        double within = 5 * Math.Sqrt(Many * share * (1 - share));
        Assert.That(lab.Arrived().Count, Is.EqualTo(Many * (1 - share)).Within(within));
        Assert.That(lab.Answered().Count, Is.EqualTo(Many * (1 - share)).Within(within));
        if (percent < 100)
            Assert.That(lab.Arrived(), Is.Not.EqualTo(lab.Answered()), "each direction has fates of its own");
    }

    [Test]
    public void The_share_asked_for_arrives_twice()
    {
        using Lab lab = new(new LossOptions { Duplication = 20 });
        lab.SendAll(Many);
        int[] copies = [.. lab.Arrived().GroupBy(number => number).Select(group => group.Count())];
        Assert.That(copies, Has.Length.EqualTo(Many), "nothing is lost");
        Assert.That(copies, Is.All.InRange(1, 2));
        Assert.That(copies.Count(count => count == 2), Is.EqualTo(Many * 0.2).Within(5 * Math.Sqrt(Many * 0.16)));
    }

    [TestCase(LossDirection.Out, 0, 100)]
    [TestCase(LossDirection.In, 100, 0)]
    public void A_direction_is_left_alone_when_the_other_is_named(LossDirection direction, int arrive, int answered)
    {
        using Lab lab = new(new LossOptions { Direction = direction, Loss = 100, Delay = Nanoseconds.FromMilliseconds(5) });
        lab.SendAll(100);
        lab.AnswerAll(100);
        lab.Time.Advance(Millisecond * 100);
        Assert.That((lab.Arrived().Count, lab.Answered().Count), Is.EqualTo((arrive, answered)));
    }

    [Test]
    public void The_same_seed_and_address_do_the_same_and_others_do_not()
    {
        LossOptions options = new() { Loss = 30, Duplication = 30, Delay = Nanoseconds.FromMilliseconds(2), Jitter = Nanoseconds.FromMilliseconds(20), Seed = 7 };
        List<int> first = Order(options, 1);
        Assert.That(Order(options, 1), Is.EqualTo(first));
        Assert.That(Order(options with { Seed = 8 }, 1), Is.Not.EqualTo(first), "another seed");
        Assert.That(Order(options, 3), Is.Not.EqualTo(first), "another interface");
        Assert.That(Order(options with { Delay = Nanoseconds.FromSeconds(1) }, 1), Is.EqualTo(first), "time changes no fate");
    }

    /// <summary>Whatever is asked for, each frame comes within its bounds, and with the order kept in order.</summary>
    [Test]
    public void Frames_come_when_they_are_due() => Prop.ForAll(
        Gen.Choose(0, 5000).Three().Zip(Gen.Choose(0, 1).Zip(Gen.Choose(1, 50))).ToArbitrary(),
        drawn =>
        {
            ((int delay, int jitter, int seed), (int keep, int gap)) = drawn;
            using Lab lab = new(new LossOptions { Delay = new Nanoseconds(delay * 10_000L), Jitter = new Nanoseconds(jitter * 10_000L), KeepOrder = keep == 1, Seed = seed });
            List<TimeSpan> sent = [];
            for (int number = 0; number < 100; number++)
            {
                sent.Add(lab.Time.Now);
                lab.Send(number);
                lab.Time.Advance(TimeSpan.FromTicks(gap * 1000));
            }

            lab.Time.Advance(Millisecond * 200);
            Assert.That(lab.Arrived().Order(), Is.EqualTo(Numbers(100)), "nothing is lost and nothing comes twice");
            if (keep == 1 || jitter == 0)
                Assert.That(lab.Arrived(), Is.EqualTo(Numbers(100)));
            foreach ((int number, TimeSpan at) in lab.Arrivals)
            {
                Assert.That(at - sent[number], Is.GreaterThanOrEqualTo(TimeSpan.FromTicks(delay * 100)));
                // In order, one waits at most for the longest delay of those before it, which were sent earlier.
                Assert.That(at - sent[number], Is.LessThanOrEqualTo(TimeSpan.FromTicks((delay + jitter) * 100) + Millisecond));
            }
        }).QuickCheckThrowOnFailure();

    [Test]
    public void Jitter_reorders_unless_the_order_is_kept()
    {
        LossOptions options = new() { Jitter = Nanoseconds.FromMilliseconds(50) };
        Assert.That(Order(options, 1), Is.Not.Ordered);
        Assert.That(Order(options with { KeepOrder = true }, 1), Is.Ordered);
    }

    [Test]
    public void A_rate_spreads_frames_evenly()
    {
        using Lab lab = new(new LossOptions { Direction = LossDirection.Out, BytesPerSecond = new ByteSize(100_000) });
        for (int number = 0; number < 1000; number++)
            lab.Send(number, 1000);
        lab.Time.Advance(TimeSpan.FromSeconds(2));
        Assert.That(lab.Arrivals, Has.Count.EqualTo(200).Within(1), "100 frames of 1000 bytes a second");
        lab.Time.Advance(TimeSpan.FromSeconds(8));
        Assert.That(lab.Arrived(), Is.EqualTo(Numbers(1000)));
    }

    [Test]
    public void Memory_is_bounded_and_used_again()
    {
        using Lab lab = new(new LossOptions { Direction = LossDirection.Out, Delay = Nanoseconds.FromMilliseconds(10), Buffer = new ByteSize(128 << 10) });
        for (int round = 0; round < 50; round++)
        {
            lab.Arrivals.Clear();
            for (int number = 0; number < 10; number++)
                lab.Send(number, 60_000);
            lab.SendAll(100);
            lab.Time.Advance(Millisecond * 20);
            Assert.That(lab.Arrivals.Select(arrival => arrival.Number), Is.EqualTo((int[])[0, 1, 0, 1, 2, 3]), "two large ones of 30 chunks, and the rest of 64");
        }
    }

    [Test]
    public void Frames_of_every_shape_come_out_as_they_went_in()
    {
        HandTime time = new();
        TestScope scope = new();
        using Station to = new(scope.Port(), 2);
        using Station from = new(new Loss(new LossOptions { Delay = Nanoseconds.FromMilliseconds(3) }, scope.Port(), time), 1);
        List<(byte[] Bytes, FrameOffload Offload)> sent = [];
        Random random = new(1);
        foreach (int length in (int[])[14, 60, 192, 2047, 2048, 2049, 4096, 9000, 65535])
        {
            byte[] payload = new byte[length - 14];
            random.NextBytes(payload);
            byte[] frame = Station.Frame(to.Address, from.Address, 0x88B5, payload)[..length];
            FrameOffload offload = new(FrameChecksum.Blank, FrameSegmentation.TcpV6, 1000 + (length % 100));
            sent.Add((frame, offload));
            from.Send(frame, offload);
        }

        time.Advance(Millisecond * 10);
        Assert.That(to.Got.Select(got => got.Bytes), Is.EqualTo(sent.Select(one => one.Bytes)));
        Assert.That(to.Got.Select(got => got.Offload), Is.EqualTo(sent.Select(one => one.Offload)));
    }

    [Test]
    public void What_is_under_way_when_the_interface_leaves_is_lost()
    {
        Lab lab = new(new LossOptions { Delay = Nanoseconds.FromMilliseconds(10) });
        lab.SendAll(10);
        lab.AnswerAll(10);
        lab.Dispose();
        lab.Time.Advance(Millisecond * 100);
        Assert.That((lab.Arrived().Count, lab.Answered().Count, lab.Time.Timers), Is.EqualTo((0, 0, 0)));
    }

    [Test]
    public void An_end_that_throws_gets_nothing_more()
    {
        HandTime time = new();
        using Loss loss = new(new LossOptions { Delay = Nanoseconds.FromMilliseconds(1) }, new Thrower(), time);
        _ = loss.Open(new NetworkPort("one", new(2), new Thrower()));
        for (int number = 0; number < 3; number++)
            loss.Send(new NetworkFrame(new byte[60]));
        Assert.That(() => time.Advance(Millisecond * 10), Throws.Nothing);
    }

    private static List<int> Order(LossOptions options, int station)
    {
        using Lab lab = new(options, station);
        lab.SendAll(200);
        lab.Time.Advance(TimeSpan.FromSeconds(3));
        return lab.Arrived();
    }

    private static List<int> Numbers(int count) => [.. Enumerable.Range(0, count)];

    /// <summary>A station behind a bad wire and one without.</summary>
    private sealed class Lab : IDisposable
    {
        private readonly Station _from;
        private readonly Station _to;
        private readonly List<(int Number, TimeSpan At)> _arrivals = [];

        public Lab(LossOptions options, int station = 1)
        {
            TestScope scope = new();
            _from = new Station(new Loss(options, scope.Port(), Time), station);
            _to = new Station(scope.Port(), 2) { Heard = frame => _arrivals.Add((NumberOf(frame), Time.Now)) };
        }

        public HandTime Time { get; } = new();

        public List<(int Number, TimeSpan At)> Arrivals => _arrivals;

        public void Send(int number, int length = 60) => _from.Send(Numbered(_to, _from, number, length));

        public void SendAll(int count)
        {
            for (int number = 0; number < count; number++)
                Send(number);
        }

        public void AnswerAll(int count)
        {
            for (int number = 0; number < count; number++)
                _to.Send(Numbered(_from, _to, number, 60));
        }

        public List<int> Arrived() => [.. _arrivals.Select(arrival => arrival.Number)];

        public List<int> Answered() => [.. _from.Got.Select(got => NumberOf(got.Bytes))];

        public void Dispose()
        {
            _from.Dispose();
            _to.Dispose();
        }

        private static int NumberOf(byte[] frame) => BinaryPrimitives.ReadInt32LittleEndian(frame.AsSpan(14));

        private static byte[] Numbered(Station to, Station from, int number, int length)
        {
            byte[] payload = new byte[length - 14];
            BinaryPrimitives.WriteInt32LittleEndian(payload, number);
            return Station.Frame(to.Address, from.Address, 0x88B5, payload);
        }
    }

    private sealed class Thrower : INetworkBackend, INetworkReceiver
    {
        private int _calls;

        public NetworkCapabilities Open(NetworkPort port) => NetworkCapabilities.All;

        public void Send(in NetworkFrame frame)
        {
            Assert.That(++_calls, Is.EqualTo(1));
            throw new InvalidOperationException("broken");
        }

        public bool Receive(in NetworkFrame frame) => false;

        public void Dispose()
        {
        }
    }
}
