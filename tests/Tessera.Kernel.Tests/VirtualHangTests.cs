using Tessera.Guests;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Kernel.Tests;

/// <summary>A scheduler that does not come back in virtual time: the host's watchdog throws it out, the machine goes on where it was, and the run says so.</summary>
internal sealed class VirtualHangTests
{
    private static readonly Nanoseconds Limit = Nanoseconds.FromSeconds(1);

    [Test]
    public void A_hang_is_ejected_named_and_survived(
        [Values(SchedulerCall.Schedule, SchedulerCall.Wake, SchedulerCall.Sleep, SchedulerCall.Yield, SchedulerCall.Remove)] SchedulerCall call)
    {
        HangingScheduler scheduler = new();
        using TestMachine test = TestMachine.StartInVirtualTime(scheduler, Limit);
        Domain spin = test.Run("spin");
        Domain beat = test.Run("beat", new BeatOptions { Period = Nanoseconds.FromMilliseconds(5) });
        Domain yielding = test.Run("fuzz", new FuzzOptions { Mode = FuzzMode.YieldStorm, Count = 0 });
        RunUntil(test, 50);
        Assert.That(test.Machine.Accounts.Snapshot().Ejections, Is.Empty);
        scheduler.HangIn(call, domain: null);
        Domain hello = test.Run("hello");
        RunUntil(test, 300);
        Ejection ejection = test.Machine.Accounts.Snapshot().Ejections.Single();
        Assert.That((ejection.Policy, ejection.Reason), Is.EqualTo((nameof(HangingScheduler), EjectionReason.Hung)));
        Assert.That(ejection.Evidence, Does.StartWith($"its {call}("));
        Assert.That(hello.State, Is.EqualTo(DomainState.Shutdown));
        ExpectProgress(test, 600, spin, beat, yielding);

        // The thread that was given up comes back and finds that nothing is its own.
        scheduler.End();
        ExpectProgress(test, 900, spin, beat, yielding);
        Assert.That(test.Machine.Accounts.Snapshot().Ejections, Is.EqualTo(new[] { ejection }));
        test.Machine.Destroy(hello);
    }

    [TestCase(SchedulerCall.Add)]
    [TestCase(SchedulerCall.Adjust)]
    [TestCase(SchedulerCall.Sleep)]
    public void A_hang_in_a_call_of_the_control_side_lets_its_caller_go(SchedulerCall call)
    {
        HangingScheduler scheduler = new();
        using TestMachine test = TestMachine.StartInVirtualTime(scheduler, Limit);
        Domain spin = test.Run("spin");
        RunUntil(test, 20);
        scheduler.HangIn(call, domain: null);
        test.Machine.Adjust(spin, 512, null, null);
        test.Machine.Pause(spin);
        RunUntil(test, 40);
        test.Machine.Resume(spin);
        Domain last = test.Run("spin");
        RunUntil(test, 60);
        Assert.That(test.Machine.Accounts.Snapshot().Ejections.Single().Evidence, Does.StartWith($"its {call}("));
        ExpectProgress(test, 200, spin, last);
        scheduler.End();
    }

    [Test]
    public void It_happens_at_the_same_place_of_the_run_each_time_and_the_rest_is_the_same()
    {
        (Nanoseconds, ulong) first = Run();
        Assert.That(Run(), Is.EqualTo(first));

        static (Nanoseconds At, ulong Units) Run()
        {
            HangingScheduler scheduler = new();
            using TestMachine test = TestMachine.StartInVirtualTime(scheduler, Limit);
            Domain spin = test.Run("spin");
            _ = test.Run("beat", new BeatOptions { Period = Nanoseconds.FromMilliseconds(5) });
            RunUntil(test, 33);
            scheduler.HangIn(SchedulerCall.Wake, domain: null);
            RunUntil(test, 300);
            scheduler.End();
            return (test.Machine.Accounts.Snapshot().Ejections.Single().At, TestMachine.ReportOf(spin).Units);
        }
    }

    [Test]
    public void A_call_that_takes_long_and_comes_back_changes_nothing()
    {
        ulong without = Run(TimeSpan.Zero);
        Assert.That(Run(TimeSpan.FromSeconds(2)), Is.EqualTo(without));

        static ulong Run(TimeSpan away)
        {
            HangingScheduler scheduler = new();
            // The limit unless another is given, which is far away.
            using TestMachine test = TestMachine.StartInVirtualTime(scheduler);
            Domain spin = test.Run("spin");
            RunUntil(test, 10);
            if (away > TimeSpan.Zero)
                scheduler.HangIn(SchedulerCall.Schedule, domain: null);
            using Timer back = new(_ => scheduler.LetGo(goOn: true), null, away, Timeout.InfiniteTimeSpan);
            RunUntil(test, 100);
            Assert.That(test.Machine.Accounts.Snapshot().Ejections, Is.Empty);
            return TestMachine.ReportOf(spin).Units;
        }
    }

    [Test]
    public void A_machine_that_runs_can_be_disposed_of_by_another_thread([Values(SchedulerCall.None, SchedulerCall.Schedule)] SchedulerCall call)
    {
        HangingScheduler scheduler = new();
        using TestMachine test = TestMachine.StartInVirtualTime(scheduler, Limit);
        _ = test.Run("spin");
        RunUntil(test, 10);
        if (call != SchedulerCall.None)
            scheduler.HangIn(call, domain: null);
        // As good as for ever.
        Task run = Task.Run(() => test.Machine.RunUntil(Nanoseconds.FromSeconds(1_000_000)));
        if (call == SchedulerCall.None)
            Assert.That(SpinWait.SpinUntil(() => test.Machine.Now > Nanoseconds.FromMilliseconds(20), Hang.Limit), Is.True);
        else
            scheduler.WaitForHang();
        Assert.That(Task.Run(test.Machine.Dispose).Wait(Hang.Limit), Is.True, "Dispose does not come back");
        Assert.That(() => run.Wait(Hang.Limit), Throws.InstanceOf<AggregateException>().With.InnerException.InstanceOf<ObjectDisposedException>());
        Assert.That(() => test.Machine.RunUntil(Nanoseconds.FromSeconds(2_000_000)), Throws.InstanceOf<ObjectDisposedException>());
        if (call != SchedulerCall.None)
            scheduler.End();
    }

    private static void RunUntil(TestMachine test, long milliseconds)
    {
        test.Machine.RunUntil(Nanoseconds.FromMilliseconds(milliseconds));
        Assert.That(test.Machine.Now, Is.GreaterThanOrEqualTo(Nanoseconds.FromMilliseconds(milliseconds)));
    }

    private static void ExpectProgress(TestMachine test, long until, params Domain[] domains)
    {
        ulong[] before = [.. domains.Select(domain => TestMachine.ReportOf(domain).Units)];
        RunUntil(test, until);
        for (int index = 0; index < domains.Length; index++)
            Assert.That(TestMachine.ReportOf(domains[index]).Units, Is.GreaterThan(before[index]), () => $"{domains[index].Name}: {TestMachine.Describe(domains[index])}");
    }
}
