using Tessera.Plugins.Schedulers.Rtds;
using Tessera.Plugins.Schedulers.Sedf;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Simulation;

namespace Tessera.Scheduling.Tests.Published;

/// <summary>
/// The periodic tasks of lectures on real-time scheduling: each needs its CPU time in each period and wakes at the very instant at which the period
/// begins. Earliest deadline first meets all their deadlines, as no set asks for more than the CPU.
/// </summary>
public sealed class LectureTests
{
    private static readonly (int Burst, int Period)[][] Sets =
    [
        [(10, 40), (15, 50), (26, 60)],
        [(25, 50), (30, 75)],
        [(2, 5), (4, 7)],
        [(1, 4), (2, 6), (3, 8)],
        [(3, 20), (2, 5), (2, 10)],
        [(20, 100), (40, 150), (100, 350)],
        [(1, 2), (1, 3), (1, 6)],
    ];

    [Test]
    public void Tasks_that_wake_at_their_periods_meet_every_deadline(
        [Values("sedf", "rtds")] string policy, [Range(0, 6)] int set, [Values] bool extraTime, [Values(0, 3)] int stagger)
    {
        VirtualMachine machine = new(Policies.Named(policy));
        (PeriodicWorkload Task, int Period)[] tasks = [.. Sets[set].Select((task, index) =>
        {
            PeriodicWorkload workload = new(Ms(task.Burst), Ms(task.Period), phase: Ms(index * stagger));
            machine.Start(index + 1, workload, options: Reserve(policy, task.Burst, task.Period, extraTime));
            return (workload, task.Period);
        })];
        machine.RunUntil(Ms(6_000));
        foreach ((PeriodicWorkload task, int period) in tasks)
        {
            Assert.That(task.MissesBy(machine.Now), Is.Zero);
            Assert.That(task.Completed, Is.GreaterThanOrEqualTo((6_000 / period) - 1));
        }
    }

    /// <summary>A CPU-bound domain in the time that nobody has reserved changes nothing for those who have.</summary>
    [Test]
    public void A_hog_beside_them_costs_no_deadline()
    {
        VirtualMachine machine = new(Policies.Sedf());
        PeriodicWorkload[] tasks = [.. Sets[0].Select((task, index) =>
        {
            PeriodicWorkload workload = new(Ms(task.Burst), Ms(task.Period));
            machine.Start(index + 1, workload, options: Reserve("sedf", task.Burst, task.Period, extraTime: true));
            return workload;
        })];
        machine.Start(9, new CpuBoundWorkload());
        machine.RunUntil(Ms(6_000));
        Assert.That(tasks.Select(task => task.MissesBy(machine.Now)), Is.All.Zero);
    }

    private static Nanoseconds Ms(int value) => Nanoseconds.FromMilliseconds(value);

    private static object Reserve(string policy, int slice, int period, bool extraTime) => policy == "sedf"
        ? new SedfDomainOptions { Slice = Ms(slice), Period = Ms(period), ExtraTime = extraTime }
        : new RtdsDomainOptions { Budget = Ms(slice), Period = Ms(period), ExtraTime = extraTime };
}
