using FsCheck;
using FsCheck.Fluent;
using Tessera.Lab.Metrics;
using Tessera.Lab.Recording;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Lab.Tests.Metrics;

/// <summary>What recordings come to.</summary>
internal sealed class MetricsTests
{
    [Test]
    public void Two_hogs_in_turns_of_their_weights_are_perfectly_fair_over_a_round_and_not_within_it()
    {
        // Weights 1:3, rounds of 40 ms: 10 ms and 30 ms.
        Recordings recording = new(1, 256, 768);
        recording.Wake(0, 0).Wake(0, 1);
        for (int round = 0; round < 25; round++)
            recording.Run(round * 40, 0, before: round == 0 ? RunEnd.None : RunEnd.Preempted).Run((round * 40) + 10, 1, before: RunEnd.Preempted);
        RunMetrics metrics = RunMetrics.Of(recording.Until(1000));
        WindowError fine = metrics.ShareErrors[0];
        Assert.Multiple(() =>
        {
            Assert.That(metrics.Domains[0].Share, Is.EqualTo(0.25).Within(1e-9));
            Assert.That(metrics.Domains[0].IdealShare, Is.EqualTo(0.25).Within(1e-9));
            Assert.That(metrics.Domains[1].CpuSeconds, Is.EqualTo(0.75).Within(1e-9));
            Assert.That(metrics.JainIndex, Is.EqualTo(1).Within(1e-12));
            Assert.That(metrics.Switches, Is.EqualTo(49));
            Assert.That(metrics.Preemptions, Is.EqualTo(49));
            Assert.That(metrics.Domains[1].StintNs!.P50, Is.EqualTo(30_000_000));

            // In 10 ms windows one has all: 75 points off in one of four windows, 25 points in three.
            Assert.That(fine.Windows, Is.EqualTo(100));
            Assert.That(fine.Mean, Is.EqualTo(37.5).Within(1e-6));
            Assert.That(fine.Max, Is.EqualTo(75).Within(1e-6));
            Assert.That(metrics.ShareErrors[^1].Window.TotalSeconds, Is.EqualTo(1));
            Assert.That(metrics.ShareErrors[^1].Mean, Is.EqualTo(0).Within(1e-6));
            Assert.That(metrics.WakeToRunNs, Is.Null);
        });
    }

    [Test]
    public void A_wake_counts_from_the_deadline_of_its_timer_and_files_of_earlier_versions_are_read()
    {
        Recordings hand = new(1, 256);
        hand.Idle(0).Wake(10, 0).Run(11, 0);
        ScheduleRecording made = hand.Until(20);
        made = made with { Events = [.. made.Events.Select(item => item.Kind == ScheduleEventKind.Wake ? item with { Late = Recordings.Time(3) } : item)] };
        using StringWriter file = new();
        ScheduleCsv.Write(file, made);
        ScheduleRecording read = ScheduleCsv.Read(new StringReader(file.ToString()), "schedule.csv");
        Assert.That(read.Events, Is.EqualTo(made.Events));
        Assert.That(RunMetrics.Of(read).WakeToRunNs!.Max, Is.EqualTo(4_000_000));
        string earlier = file.ToString().Replace(",late_ns", "", StringComparison.Ordinal).Replace(",3000000", "", StringComparison.Ordinal);
        Assert.That(RunMetrics.Of(ScheduleCsv.Read(new StringReader(earlier), "schedule.csv")).WakeToRunNs!.Max, Is.EqualTo(1_000_000));
    }

    [Test]
    public void The_ideal_is_what_the_scheduler_owes_and_a_recording_keeps_it()
    {
        // A budget of 20 %, a reservation of 30 % with a part by weight of the rest, and one by weight.
        Recordings recording = new(1, 256, 256, 256);
        recording.Wake(0, 0).Wake(0, 1).Wake(0, 2).Run(0, 0).Run(200, 1, before: RunEnd.Preempted).Run(750, 2, before: RunEnd.Preempted);
        Nanoseconds period = Nanoseconds.FromMilliseconds(100);
        Entitlement[] owed = [new(0, 0.2, 0.2, period), new(256, 0.3, 1, period), Entitlement.ByWeight(256)];
        ScheduleRecording made = recording.Until(1000);
        made = made with { Domains = [.. made.Domains.Select((domain, index) => domain with { Owed = owed[index] })] };
        using StringWriter file = new();
        ScheduleCsv.Write(file, made);
        ScheduleRecording read = ScheduleCsv.Read(new StringReader(file.ToString()), "schedule.csv");
        Assert.That(read.Domains, Is.EqualTo(made.Domains));
        Assert.That(RunMetrics.Of(read).Domains.Select(domain => domain.IdealShare), Is.EqualTo(new[] { 0.2, 0.55, 0.25 }).Within(1e-9));
    }

    [Test]
    public void A_sleeper_that_is_served_at_once_has_what_it_is_due_and_is_not_favoured()
    {
        // Beside a hog, 1 ms of work each 20 ms, which runs first: the fluid gives it the same work, only later.
        Recordings recording = new(1, 256, 256);
        recording.Wake(0, 0).Run(0, 0);
        for (int beat = 0; beat < 50; beat++)
        {
            double at = (beat * 20) + 5;
            recording.Wake(at, 1).Run(at + 0.02, 1, before: RunEnd.Preempted).Sleep(at + 1.02, 1).Run(at + 1.02, 0, before: RunEnd.Slept);
        }

        RunMetrics metrics = RunMetrics.Of(recording.Until(1000));
        Assert.Multiple(() =>
        {
            Assert.That(metrics.Domains[1].Share, Is.EqualTo(0.05).Within(1e-9));
            Assert.That(metrics.Domains[1].IdealShare, Is.EqualTo(0.05).Within(1e-9));
            Assert.That(metrics.Domains[0].IdealShare, Is.EqualTo(0.95).Within(1e-9));
            Assert.That(metrics.WakeToRunNs!.P50, Is.EqualTo(20_000));
            Assert.That(metrics.WakeToRunNs.Count, Is.EqualTo(50));
            Assert.That(metrics.JainIndex, Is.EqualTo(1).Within(1e-9));
        });
    }

    [Test]
    public void A_domain_that_is_busy_by_the_clock_is_due_its_weight_while_it_could_run()
    {
        // Busy for half a second, and let run for a tenth of it beside a hog of its weight: half was due.
        Recordings recording = new(1, 256, 256);
        recording.Wake(0, 0).Wake(0, 1).Run(0, 1).Run(50, 0, before: RunEnd.Preempted).Run(499, 1, before: RunEnd.Preempted).Sleep(500, 1).Run(500, 0, before: RunEnd.Slept);
        RunMetrics metrics = RunMetrics.Of(recording.Until(1000));
        Assert.Multiple(() =>
        {
            Assert.That(metrics.Domains[1].Share, Is.EqualTo(0.051).Within(1e-9));
            Assert.That(metrics.Domains[1].IdealShare, Is.EqualTo(0.25).Within(1e-9));
            Assert.That(metrics.JainIndex, Is.LessThan(0.9));
        });
    }

    [Test]
    public void A_heavy_domain_has_at_most_one_physical_CPU_in_the_ideal()
    {
        Recordings recording = new(2, 1000, 1, 1);
        recording.Wake(0, 0).Wake(0, 1).Wake(0, 2).Run(0, 0, 0).Run(0, 1, 1);
        RunMetrics metrics = RunMetrics.Of(recording.Until(100));
        Assert.Multiple(() =>
        {
            Assert.That(metrics.Domains[0].IdealShare, Is.EqualTo(0.5).Within(1e-9));
            Assert.That(metrics.Domains[1].IdealShare, Is.EqualTo(0.25).Within(1e-9));
            Assert.That(metrics.Domains[2].IdealShare, Is.EqualTo(0.25).Within(1e-9));
            Assert.That(metrics.LostShare, Is.Zero);
        });
    }

    [Test]
    public void Time_idle_while_somebody_waits_is_lost_and_other_idle_time_is_not()
    {
        RunMetrics metrics = RunMetrics.Of(new Recordings(1, 256).Idle(0).Wake(10, 0).Run(12, 0).Sleep(50, 0).Idle(50, before: RunEnd.Slept).Until(100));
        Assert.Multiple(() =>
        {
            Assert.That(metrics.LostShare, Is.EqualTo(0.02).Within(1e-9));
            Assert.That(metrics.BusyShare, Is.EqualTo(0.38).Within(1e-9));
            Assert.That(metrics.Preemptions, Is.Zero);
        });
    }

    [Test]
    public void A_paused_domain_has_no_claim_and_a_resumed_one_has_it_again()
    {
        RunMetrics metrics = RunMetrics.Of(
            new Recordings(1, 256, 256).Wake(0, 0).Wake(0, 1).Run(0, 0).Pause(20, 1).Resume(60, 1).Run(80, 1, before: RunEnd.Preempted).Until(100));
        Assert.Multiple(() =>
        {
            // 20 ms and 40 ms shared, 40 ms alone; the pause ended a period that had not run at all and was short, so it claims nothing then.
            Assert.That(metrics.Domains[0].IdealShare + metrics.Domains[1].IdealShare, Is.EqualTo(1).Within(1e-9));
            Assert.That(metrics.Domains[1].IdealShare, Is.EqualTo(0.2).Within(1e-9));
        });
    }

    [Test]
    public void A_vCPU_that_wakes_before_its_CPU_turned_away_goes_on_without_a_switch()
    {
        ScheduleReplay replay = ScheduleReplay.Of(new Recordings(1, 256).Wake(0, 0).Run(0, 0).Sleep(4, 0).Wake(5, 0).Run(6, 0).Until(10));
        Assert.Multiple(() =>
        {
            Assert.That(replay.Switches.Sum(), Is.Zero);
            Assert.That(replay.Wakes.Single().Latency, Is.EqualTo(Recordings.Time(1)));
            Assert.That(replay.Runs.Single().To, Is.EqualTo(Recordings.Time(10)));
            Assert.That(replay.BusyPeriods.Select(period => period.Ran), Is.EqualTo(new[] { Recordings.Time(5), Recordings.Time(5) }));
        });
    }

    [Test]
    public void The_series_has_the_shares_of_each_step()
    {
        ScheduleRecording recording = new Recordings(1, 256, 256).Wake(0, 0).Wake(0, 1).Run(0, 0).Run(500, 1, before: RunEnd.Preempted).Until(1000);
        ShareSeries series = ShareTrace.Of(recording, ScheduleReplay.Of(recording), seriesPoints: 10).Series;
        Assert.Multiple(() =>
        {
            Assert.That(series.Step, Is.EqualTo(Recordings.Time(100)));
            Assert.That(series.Real[0], Is.EqualTo(new double[] { 1, 1, 1, 1, 1, 0, 0, 0, 0, 0 }).Within(1e-9));
            Assert.That(series.Ideal[1], Is.All.EqualTo(0.5).Within(1e-9));
        });
    }

    [Test]
    public void The_ideal_never_exceeds_the_machine_and_serves_all_that_was_done() => Check.QuickThrowOnFailure(Prop.ForAll(Gen.Choose(1, int.MaxValue).ToArbitrary(), seed =>
    {
        ScheduleRecording recording = Random(new Random(seed), out int pcpus);
        ScheduleReplay replay = ScheduleReplay.Of(recording);
        ShareTrace trace = ShareTrace.Of(recording, replay);
        double capacity = recording.Length.Value * (double)pcpus;
        double busy = replay.Runs.Sum(run => (run.To - run.From).Value);
        double periods = replay.BusyPeriods.Sum(period => period.Ran.Value);

        // The fluid is work-conserving and has at least the real work to do, but the last arrivals may be unserved at the end.
        double last = FluidGps.LongPeriod.Value * (double)recording.Domains.Count;
        return Math.Abs(trace.Real.Sum() - busy) < 1 && Math.Abs(periods - busy) < 1
            && trace.Ideal.Sum() <= capacity * (1 + 1e-9) && trace.Ideal.Sum() >= busy - last
            && trace.Ideal.All(service => service <= recording.Length.Value * (1 + 1e-9));
    }));

    [TestCase(new double[] { 5, 5, 5 }, new double[] { 1, 1, 1 }, 1)]
    [TestCase(new double[] { 9, 0, 0 }, new double[] { 1, 1, 1 }, 1 / 3.0)]
    [TestCase(new double[] { 2, 4, 7 }, new double[] { 1, 2, 0 }, 1)]
    public void Jains_index_has_its_textbook_values(double[] had, double[] due, double index) =>
        Assert.That(RunMetrics.Jain(had, due), Is.EqualTo(index).Within(1e-12));

    /// <summary>A machine that always runs somebody who wants to, chosen at random.</summary>
    private static ScheduleRecording Random(Random random, out int pcpus)
    {
        pcpus = random.Next(1, 4);
        int domains = random.Next(1, 7);
        Recordings recording = new(pcpus, [.. Enumerable.Range(0, domains).Select(_ => random.Next(1, 5) * 100)]);
        bool[] wants = new bool[domains];
        int[] on = new int[pcpus];
        Array.Fill(on, -1);
        double at = 0;
        for (int step = 0; step < 200; step++)
        {
            at += random.NextDouble() * 4;
            int domain = random.Next(domains);
            int holder = Array.IndexOf(on, domain);
            if (wants[domain] && random.Next(2) == 0)
            {
                wants[domain] = false;
                recording.Sleep(at, domain);
                if (holder >= 0)
                    Turn(holder, RunEnd.Slept);
            }
            else if (!wants[domain])
            {
                wants[domain] = true;
                recording.Wake(at, domain);
            }

            int pcpu = random.Next(pcpus);
            Turn(pcpu, on[pcpu] < 0 ? RunEnd.None : RunEnd.Preempted);
        }

        return recording.Until(at + 1);

        void Turn(int pcpu, RunEnd before)
        {
            int[] waiting = [.. Enumerable.Range(0, domains).Where(each => wants[each] && !on.Contains(each))];
            if (waiting.Length == 0 && before == RunEnd.Preempted)
                return;
            on[pcpu] = waiting.Length == 0 ? -1 : waiting[random.Next(waiting.Length)];
            if (on[pcpu] < 0)
                recording.Idle(at, pcpu, before);
            else
                recording.Run(at, on[pcpu], pcpu, before);
        }
    }
}
