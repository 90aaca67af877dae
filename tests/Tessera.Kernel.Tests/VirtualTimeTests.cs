using Tessera.Kernel.Time;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;

namespace Tessera.Kernel.Tests;

/// <summary>The clock that is work, what is planned by it, and what comes from outside.</summary>
internal sealed class VirtualTimeTests
{
    [TestCase(1)]
    [TestCase(3)]
    [TestCase(1000)]
    [TestCase(2999)]
    public void Work_and_time_go_into_each_other_and_back(int rate)
    {
        GuestTime time = new() { InstructionsPerMicrosecond = rate };
        foreach (long nanoseconds in (long[])[0, 1, 999, 1_000, 1_001, 123_456_789, 86_400_000_000_000])
        {
            long work = time.ToInstructions(nanoseconds);
            Assert.That(time.ToNanoseconds(work), Is.GreaterThanOrEqualTo(nanoseconds), "the clock has reached the instant");
            Assert.That(work == 0 || time.ToNanoseconds(work - 1) < nanoseconds || rate > 1000, Is.True, "and had not one instruction before");
        }
    }

    [Test]
    public void Things_of_one_instant_happen_in_the_order_in_which_they_were_planned()
    {
        VirtualTime time = new(new VirtualTimeOptions());
        List<string> happened = [];
        Plan("b", 20);
        Plan("a", 10);
        Plan("c", 20);
        Plan("d", 20);
        while (time.Next != long.MaxValue)
            time.RunNext();
        Assert.That(happened, Is.EqualTo(new[] { "a 10", "b 20", "c 20", "d 20" }));

        void Plan(string name, long after) => time.After(new(after), () => happened.Add($"{name} {time.Clock.Now.Value}"));
    }

    [Test]
    public void Its_timers_strike_by_its_clock_and_not_after_they_were_changed()
    {
        VirtualTime time = new(new VirtualTimeOptions());
        List<long> struck = [];
        ITimer timer = time.CreateTimer(_ => struck.Add(time.GetTimestamp()), null, TimeSpan.FromMilliseconds(5), Timeout.InfiniteTimeSpan);
        Assert.That(timer.Change(TimeSpan.FromMilliseconds(2), TimeSpan.FromMilliseconds(3)), Is.True);
        for (int happened = 0; happened < 4; happened++)
            time.RunNext();
        timer.Dispose();
        while (time.Next != long.MaxValue)
            time.RunNext();
        Assert.That(struck, Is.EqualTo(new[] { 2_000_000, 5_000_000, 8_000_000 }));
    }

    [Test]
    public void What_is_posted_comes_in_where_the_machine_is_and_is_recorded()
    {
        Outside outside = new(new VirtualTime(new VirtualTimeOptions()));
        List<OutsideEvent> recorded = [];
        List<byte> arrived = [];
        outside.Recorder = recorded.Add;
        outside.Declare("keys", arrived.AddRange);
        Assert.That(outside.Post("keys", [1, 2]), Is.EqualTo(2));
        Assert.That(outside.Post("nobody", [3]), Is.Zero);
        outside.Steps = 7;
        Assert.That(outside.Next(reached: 100, at: 90, end: 80), Is.Null, "the machine stops before");
        OutsideEvent arrival = outside.Next(reached: 100, at: 90, end: 200)!;
        outside.Let(arrival);
        Assert.That((arrival.Step, arrival.At, arrival.Source), Is.EqualTo((7L, 90L, "keys")));
        Assert.That(arrived, Is.EqualTo(new byte[] { 1, 2 }));
        Assert.That(recorded, Is.EqualTo(new[] { arrival }));
        Assert.That(outside.Post("keys", []), Is.Zero);
    }

    [Test]
    public void A_replay_gives_a_recording_again_and_ends_with_it()
    {
        Outside outside = Replay(new OutsideEvent(2, 50, "keys", [1]), new OutsideEvent(2, 60, "", []));
        Assert.That(outside.Post("keys", [9]), Is.Zero, "whoever posts is not heard");
        Assert.That(outside.Next(0, 50, 1_000), Is.Null);
        outside.Steps = 2;
        Assert.That(outside.Next(40, 55, 1_000)!.Data, Is.EqualTo(new byte[] { 1 }));
        Assert.That(outside.Next(40, 60, 60), Is.Null, "the end comes when the machine goes on");
        Assert.That(outside.IsOver, Is.False);
        Assert.That(outside.Next(40, 60, 1_000), Is.Null);
        Assert.That(outside.IsOver, Is.True);
    }

    [Test]
    public void A_replay_that_goes_another_way_says_so()
    {
        Outside late = Replay(new OutsideEvent(2, 50, "keys", [1]));
        late.Steps = 3;
        Assert.Throws<ReplayException>(() => late.Next(0, 50, 1_000));
        Outside early = Replay(new OutsideEvent(2, 50, "keys", [1]));
        early.Steps = 2;
        Assert.Throws<ReplayException>(() => early.Next(0, 49, 1_000));
        Assert.Throws<ReplayException>(() => Replay().Let(new OutsideEvent(0, 0, "other", [])));
    }

    private static Outside Replay(params OutsideEvent[] recording)
    {
        Outside outside = new(new VirtualTime(new VirtualTimeOptions()));
        outside.Declare("keys", static _ => { });
        outside.Replay(recording);
        return outside;
    }
}
