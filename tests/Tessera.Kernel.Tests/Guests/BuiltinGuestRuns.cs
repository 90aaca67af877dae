using Tessera.Guests;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Kernel.Tests;

/// <summary>Every built-in guest, for real.</summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.Each))]
[NonParallelizable]
internal sealed class BuiltinGuestRuns(string engine)
{
    [Test]
    public void Hello_writes_to_the_ring_and_by_hypercall_and_powers_off()
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain hello = machine.Run("hello", new HelloOptions { Message = "good morning" });
        machine.WaitForEnd(hello);
        Assert.That((hello.State, hello.ExitReason), Is.EqualTo((DomainState.Shutdown, "poweroff")), TestMachine.Describe(hello));
        Assert.That(hello.Console.TailLines(5), Is.EqualTo(new[] { "good morning" }), "it comes by the ring and through console_io");
        Assert.That(TestMachine.ReportOf(hello).Progress, Is.EqualTo(GuestProgress.Finished));
    }

    [Test]
    public void Spin_counts()
    {
        using TestMachine machine = TestMachine.Start(engine);
        machine.WaitForUnits(machine.Run("spin"), 10_000);
    }

    [Test]
    public void Beat_records_every_wake()
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain beat = machine.Run("beat", new BeatOptions { Period = Nanoseconds.FromMilliseconds(2) });
        machine.WaitForUnits(beat, 100);
        machine.Machine.Pause(beat);
        GuestReport report = TestMachine.ReportOf(beat);
        Assert.That(report.Latency!.Count, Is.InRange((long)report.Units, (long)report.Units + 1));
        Assert.That(report.Latency.Percentile(50), Is.Positive);
    }

    [Test]
    public void A_wake_by_the_timer_counts_from_the_timers_deadline()
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain beat = machine.Run("beat", new BeatOptions { Period = Nanoseconds.FromMilliseconds(2) });
        machine.WaitForUnits(beat, 10);
        machine.Machine.Accounts.StartRecording(10_000);
        machine.WaitForUnits(beat, TestMachine.ReportOf(beat).Units + 50);
        ScheduleLog log = machine.Machine.Accounts.StopRecording()!;

        // A thread notices a deadline when it has passed, if only by a nanosecond.
        int[] late = [.. log.Entries.ToArray().Where(entry => entry.Kind == ScheduleEventKind.Wake && entry.At > log.Start).Select(entry => entry.LateNs)];
        Assert.That(late, Is.Not.Empty);
        Assert.That(late.Count(static ns => ns > 0), Is.GreaterThan(late.Length / 2), string.Join(" ", late));
    }

    [Test]
    public void Burst_works_and_sleeps()
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain burst = machine.Run("burst", new BurstOptions { Period = Nanoseconds.FromMilliseconds(20), Duty = 25 });
        Assert.That(machine.WaitFor(() => TestMachine.ReportOf(burst).Latency!.Count >= 20, Hang.Limit), Is.True, TestMachine.Describe(burst));
    }

    [TestCase(2)]
    [TestCase(8)]
    [TestCase(64)]
    public void Paging_finds_nothing_wrong(int pages)
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain paging = machine.Run("paging", new PagingOptions { Pages = pages, Rounds = 50 });
        machine.WaitForEnd(paging);
        Assert.That((paging.ExitReason, TestMachine.ReportOf(paging).Units), Is.EqualTo(("poweroff", 50UL)), TestMachine.Describe(paging));
    }

    [Test]
    public void Spins_share_by_weight()
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain[] spins = [.. new[] { 100, 200, 400 }.Select(weight => machine.Run("spin", weight: weight))];
        double[] times = [];
        double[] work = [];

        // Work is done in the CPU time that the host leaves; over a longer time a busy host takes from each alike.
        Assert.That(machine.WaitFor(() => machine.CpuTimeOf(spins[0]) > Nanoseconds.FromMilliseconds(600), Hang.Limit), Is.True);
        _ = machine.WaitFor(
            () =>
            {
                times = Parts(spins, spin => machine.CpuTimeOf(spin).TotalSeconds);
                work = Parts(spins, spin => TestMachine.ReportOf(spin).Units);
                return Error(times) < 0.015 && Error(work) < 0.06;
            },
            Hang.Limit);
        Assert.That(Error(times), Is.LessThan(0.015), $"CPU time {string.Join(", ", times)}");
        Assert.That(Error(work), Is.LessThan(0.06), $"work {string.Join(", ", work)}");

        static double[] Parts(Domain[] spins, Func<Domain, double> of)
        {
            double[] values = [.. spins.Select(of)];
            return [.. values.Select(value => value / values.Sum())];
        }

        static double Error(double[] parts) => parts.Select((part, index) => Math.Abs(part - ((1 << index) / 7.0))).Max();
    }

    [Test]
    public void A_longer_duty_is_busier()
    {
        double Busy(int duty)
        {
            using TestMachine machine = TestMachine.Start(engine);
            Domain burst = machine.Run("burst", new BurstOptions { Period = Nanoseconds.FromMilliseconds(100), Duty = duty });
            Assert.That(machine.WaitFor(() => TestMachine.ReportOf(burst).Latency!.Count >= 15, Hang.Limit), Is.True, TestMachine.Describe(burst));
            return machine.CpuTimeOf(burst).TotalSeconds / (machine.Machine.Now - burst.StartedAt).TotalSeconds;
        }

        // The host's own load lengthens both; the order stays.
        (double tenth, double most) = (Busy(10), Busy(80));
        TestContext.Out.WriteLine($"busy {tenth:0.000} at 10 %, {most:0.000} at 80 %");
        Assert.That(most, Is.GreaterThan(tenth));
    }

    [Test]
    public void Two_pagings_do_not_see_each_other()
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain[] pagings = [.. Enumerable.Range(0, 3).Select(_ => machine.Run("paging", new PagingOptions { Rounds = 200 }))];
        foreach (Domain paging in pagings)
        {
            machine.WaitForEnd(paging);
            Assert.That((paging.ExitReason, TestMachine.ReportOf(paging).Units), Is.EqualTo(("poweroff", 200UL)), TestMachine.Describe(paging));
        }
    }

    [Test]
    public void Every_guest_that_does_not_end_runs_in_the_least_memory_beside_the_others()
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain[] domains = [.. BuiltinGuests.Names.Where(name => name is not ("hello" or "probe")).Select(name => machine.Run(name, name == "fuzz" ? new FuzzOptions { Mode = FuzzMode.YieldStorm, Count = 0 } : null))];
        foreach (Domain domain in domains)
            machine.WaitForUnits(domain, 20);
        Assert.That(domains.Select(domain => domain.State), Is.All.EqualTo(DomainState.Running));
    }
}
