using Tessera.Plugins.Schedulers.Bvt;
using Tessera.Plugins.Schedulers.RoundRobin;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;
using Tessera.Sdk.Simulation;

namespace Tessera.Simulation.Tests;

/// <summary>Workloads and costs against what can be computed by hand.</summary>
public sealed class WorkloadTests
{
    private static readonly Nanoseconds Ms = Nanoseconds.FromMilliseconds(1);

    [Test]
    public void A_queue_alone_is_the_M_M_1_queue()
    {
        // Utilisation 0.5, service 1 ms: mean response 1 / (µ − λ) = 2 ms.
        VirtualMachine machine = Machine(1);
        QueueWorkload queue = QueueWorkload.Poisson(Nanoseconds.FromMilliseconds(2), Ms, new SimulationRandom(11));
        SchedulableVcpu server = machine.Start(1, queue);
        machine.RunUntil(Nanoseconds.FromSeconds(400));
        Assert.Multiple(() =>
        {
            Assert.That(queue.Completed, Is.EqualTo(200_000).Within(2_000));
            Assert.That(queue.TotalResponseTime / queue.Completed / 1e6, Is.EqualTo(2).Within(0.06));
            Assert.That(machine.Core.AccountOf(server, machine.Now).CpuTime.TotalSeconds, Is.EqualTo(200).Within(2));
        });
    }

    [Test]
    public void Fixed_arrivals_that_fit_are_answered_in_their_service_time()
    {
        VirtualMachine machine = Machine(1);
        QueueWorkload queue = QueueWorkload.Fixed(Nanoseconds.FromMilliseconds(10), Nanoseconds.FromMilliseconds(4));
        machine.Start(1, queue);
        machine.RunUntil(Nanoseconds.FromSeconds(1));
        Assert.That((queue.Completed, queue.ResponseTime.Max), Is.EqualTo((99L, Nanoseconds.FromMilliseconds(4))));
    }

    [Test]
    public void Fixed_arrivals_that_do_not_fit_queue_up()
    {
        VirtualMachine machine = Machine(1);
        QueueWorkload queue = QueueWorkload.Fixed(Nanoseconds.FromMilliseconds(10), Nanoseconds.FromMilliseconds(20));
        machine.Start(1, queue);
        machine.RunUntil(Nanoseconds.FromMilliseconds(1010));

        // The n-th request comes at 10n ms and is answered at 10 + 20n ms.
        Assert.That((queue.Completed, queue.ResponseTime.Max), Is.EqualTo((50L, Nanoseconds.FromMilliseconds(510))));
    }

    [Test]
    public void A_periodic_task_meets_its_deadlines_alone_and_misses_them_beside_its_equal_at_twice_the_load()
    {
        PeriodicWorkload alone = new(Nanoseconds.FromMilliseconds(6), Nanoseconds.FromMilliseconds(10));
        VirtualMachine machine = Machine(1);
        machine.Start(1, alone);
        machine.RunUntil(Nanoseconds.FromSeconds(1));
        Assert.That((alone.Completed, alone.Misses, alone.ResponseTime.Max), Is.EqualTo((100L, 0L, Nanoseconds.FromMilliseconds(6))));

        PeriodicWorkload first = new(Nanoseconds.FromMilliseconds(6), Nanoseconds.FromMilliseconds(10));
        PeriodicWorkload second = new(Nanoseconds.FromMilliseconds(6), Nanoseconds.FromMilliseconds(10));
        VirtualMachine both = Machine(1);
        both.Start(1, first);
        both.Start(2, second);
        both.RunUntil(Nanoseconds.FromSeconds(1));
        Assert.That(first.Completed + second.Completed, Is.EqualTo(166).Within(1));
        Assert.That(first.Misses + second.Misses, Is.GreaterThan(150));
    }

    [Test]
    public void A_job_that_is_late_is_missed_before_it_is_completed_and_once()
    {
        PeriodicWorkload task = new(Nanoseconds.FromMilliseconds(25), Nanoseconds.FromMilliseconds(10));
        VirtualMachine machine = Machine(1);
        machine.Start(1, task);
        (int At, long Missed)[] expected = [(9, 0), (10, 0), (11, 1), (20, 1), (21, 2), (25, 2), (26, 2), (31, 3), (50, 4), (51, 5)];
        foreach ((int at, long missed) in expected)
        {
            machine.RunUntil(Nanoseconds.FromMilliseconds(at));
            Assert.That(task.MissesBy(machine.Now), Is.EqualTo(missed), $"{at} ms");
        }
    }

    [Test]
    public void Jobs_of_one_that_never_runs_are_missed_too()
    {
        PeriodicWorkload starved = new(Nanoseconds.FromMilliseconds(1), Nanoseconds.FromMilliseconds(10));
        PeriodicWorkload beat = new(Nanoseconds.FromMilliseconds(1), Nanoseconds.FromMilliseconds(10), skipLate: true);
        BusyPeriodWorkload burst = new(Nanoseconds.FromMilliseconds(1), Nanoseconds.FromMilliseconds(10));
        VirtualMachine machine = Machine(1);
        foreach ((int domain, Workload workload) in new (int, Workload)[] { (1, starved), (2, beat), (3, burst) })
            machine.Core.Pause(machine.Start(domain, workload), machine.Now);
        machine.RunUntil(Nanoseconds.FromMilliseconds(105));
        Assert.That((starved.Completed, starved.MissesBy(machine.Now)), Is.EqualTo((0L, 10L)));
        Assert.That((beat.SkippedBy(machine.Now), beat.MissesBy(machine.Now)), Is.EqualTo((10L, 1L)));
        Assert.That(burst.SkippedBy(machine.Now), Is.EqualTo(10));
    }

    [Test]
    public void A_late_job_costs_the_next_when_late_ones_are_skipped()
    {
        PeriodicWorkload task = new(Nanoseconds.FromMilliseconds(15), Nanoseconds.FromMilliseconds(10), skipLate: true);
        VirtualMachine machine = Machine(1);
        machine.Start(1, task);
        machine.RunUntil(Nanoseconds.FromMilliseconds(200));
        Assert.That((task.Completed, task.Skipped), Is.EqualTo((10L, 10L)));
    }

    [Test]
    public void An_on_off_load_runs_and_rests_in_its_proportion()
    {
        OnOffWorkload load = new(Nanoseconds.FromMilliseconds(3), Nanoseconds.FromMilliseconds(7));
        VirtualMachine machine = Machine(1);
        SchedulableVcpu vcpu = machine.Start(1, load);
        machine.RunUntil(Nanoseconds.FromSeconds(1));
        Assert.That((load.Completed, machine.Core.AccountOf(vcpu, machine.Now).CpuTime), Is.EqualTo((100L, Nanoseconds.FromMilliseconds(300))));
    }

    [Test]
    public void A_load_by_the_clock_is_busy_for_its_time_whatever_it_gets()
    {
        // Busy 50 of 100 ms by the clock beside a hog: it gets half of that, as on the real machine.
        VirtualMachine machine = new(new BvtScheduler(new() { ContextSwitchAllowance = Ms }));
        machine.Start(1, new CpuBoundWorkload());
        BusyPeriodWorkload load = new(Nanoseconds.FromMilliseconds(50), Nanoseconds.FromMilliseconds(100));
        SchedulableVcpu vcpu = machine.Start(2, load);
        machine.RunUntil(Nanoseconds.FromSeconds(10));
        Assert.That(load.Completed, Is.EqualTo(100).Within(1));
        Assert.That(machine.Core.AccountOf(vcpu, machine.Now).CpuTime.TotalSeconds, Is.EqualTo(2.5).Within(0.1));
    }

    [Test]
    public void A_trace_is_repeated_as_recorded()
    {
        string file = Path.Combine(TestContext.CurrentContext.WorkDirectory, "trace.csv");
        File.WriteAllText(file, "# recorded\nrun_ns,pause_ns\n1000000,2000000\n\n3000000, 0\n500000,1500000\n");
        TraceWorkload once = TraceWorkload.Read(file);
        TraceWorkload again = TraceWorkload.Read(file, repeat: true);
        VirtualMachine machine = Machine(2);
        SchedulableVcpu first = machine.Start(1, once, affinity: CpuSet.Of(0));
        SchedulableVcpu second = machine.Start(2, again, affinity: CpuSet.Of(1));
        machine.RunUntil(Nanoseconds.FromMilliseconds(80));
        Assert.Multiple(() =>
        {
            Assert.That(machine.Core.AccountOf(first, machine.Now).CpuTime, Is.EqualTo(new Nanoseconds(4_500_000)));
            Assert.That(machine.Core.AccountOf(second, machine.Now).CpuTime, Is.EqualTo(new Nanoseconds(10 * 4_500_000)));
            Assert.That((once.Completed, again.Completed), Is.EqualTo((3L, 30L)));
        });
    }

    [TestCase("1000000\n", "(1)")]
    [TestCase("run,pause\n5,5\n0,5\n", "(3)")]
    [TestCase("5,-1\n", "(1)")]
    [TestCase("# nothing\n", "no line")]
    public void A_wrong_trace_says_where(string text, string where)
    {
        string file = Path.Combine(TestContext.CurrentContext.WorkDirectory, "wrong.csv");
        File.WriteAllText(file, text);
        Assert.That(() => TraceWorkload.Read(file), Throws.TypeOf<FormatException>().With.Message.Contains(where));
    }

    [Test]
    public void Switches_cost_what_they_are_said_to_cost()
    {
        // Two hogs, 10 ms turns, 100 µs a switch: the vCPUs' own work is 99 % of the time.
        VirtualMachine machine = new(new RoundRobinScheduler(new()), new VirtualMachineOptions { ContextSwitchCost = Nanoseconds.FromMicroseconds(100) });
        SchedulableVcpu first = machine.Start(1, new CpuBoundWorkload());
        machine.Start(2, new CpuBoundWorkload());
        machine.RunUntil(Nanoseconds.FromSeconds(10));
        Assert.That(machine.Overhead.TotalMilliseconds, Is.EqualTo(100).Within(0.1));
        Assert.That(machine.OverheadOf(first).Value, Is.EqualTo(machine.Overhead.Value / 2).Within(100_000));
        Assert.That(machine.Core.AccountOf(first, machine.Now).CpuTime, Is.EqualTo(Nanoseconds.FromSeconds(5)));
    }

    [Test]
    public void A_vcpu_alone_is_switched_to_once()
    {
        VirtualMachine machine = new(new RoundRobinScheduler(new()), new VirtualMachineOptions { ContextSwitchCost = Ms, WakeCost = Nanoseconds.FromMicroseconds(10) });
        PeriodicWorkload task = new(Nanoseconds.FromMilliseconds(2), Nanoseconds.FromMilliseconds(10));
        machine.Start(1, task);
        machine.RunUntil(Nanoseconds.FromMilliseconds(995));
        Assert.That(machine.Overhead, Is.EqualTo(Ms + new Nanoseconds(100 * 10_000)));
        Assert.That(task.WakeLatency.Percentile(50).Value, Is.EqualTo(10_000).Within(400));
    }

    [Test]
    public void A_change_of_workload_counts_at_once()
    {
        VirtualMachine machine = Machine(1);
        SchedulableVcpu vcpu = machine.Start(1, new CpuBoundWorkload());
        machine.RunUntil(Nanoseconds.FromMilliseconds(33));
        machine.Change(vcpu, new CpuBoundWorkload(Nanoseconds.FromMilliseconds(5)));
        machine.RunUntil(Nanoseconds.FromMilliseconds(100));
        Assert.That(machine.Core.AccountOf(vcpu, machine.Now).CpuTime, Is.EqualTo(Nanoseconds.FromMilliseconds(38)));
        machine.Change(vcpu, new CpuBoundWorkload());
        machine.RunUntil(Nanoseconds.FromMilliseconds(200));
        Assert.That(machine.Core.AccountOf(vcpu, machine.Now).CpuTime, Is.EqualTo(Nanoseconds.FromMilliseconds(138)));
    }

    private static VirtualMachine Machine(int pcpus) => new(new RoundRobinScheduler(new()), pcpus);
}
