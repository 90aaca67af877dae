using Tessera.Sdk;
using Tessera.Sdk.Conformance;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Simulation;

namespace Tessera.Samples.Lottery.Tests;

/// <summary>The rules of every scheduler, and what the class promises.</summary>
[TestFixture]
public sealed class LotteryConformance : SchedulerConformance
{
    protected override IScheduler Create() => new LotteryScheduler(new());
}

/// <summary>What the paper says of lotteries, in virtual time.</summary>
[TestFixture]
public sealed class LotteryTests
{
    private static readonly Nanoseconds TenMinutes = Nanoseconds.FromSeconds(600);

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(5)]
    [TestCase(10)]
    public void Two_tasks_run_at_the_ratio_of_their_tickets(int ratio)
    {
        VirtualMachine machine = new(new LotteryScheduler(new()));
        SchedulableVcpu light = machine.Start(1, new CpuBoundWorkload(), weight: 256);
        SchedulableVcpu heavy = machine.Start(2, new CpuBoundWorkload(), weight: 256 * ratio);
        machine.RunFor(TenMinutes);
        Assert.That(machine.ShareOf(heavy, light, heavy), Is.EqualTo(ratio / (ratio + 1.0)).Within(4 * StandardDeviation(60_000, ratio / (ratio + 1.0))));
    }

    /// <summary>The paper's own example: of two with equal tickets, one yields after a fifth of each quantum, and would get a fifth as much CPU time.</summary>
    [Test]
    public void Compensation_tickets_give_a_task_that_uses_a_fifth_of_its_quantum_its_share()
    {
        HandMachine machine = new(new LotteryScheduler(new()), pcpus: 1);
        machine.Start(1);
        SchedulableVcpu fifth = machine.Start(2);
        machine.Settle();
        for (int turn = 0; turn < 60_000; turn++)
        {
            bool yields = machine.Runs[0] == fifth;
            machine.Jump(Nanoseconds.FromMilliseconds(yields ? 2 : 10));
            if (yields)
                machine.Core.Yield(fifth, machine.Now);
            machine.Decide(0);
        }

        double used = machine.Core.AccountOf(fifth, machine.Now).CpuTime.TotalSeconds / machine.Now.TotalSeconds;
        Assert.That(used, Is.EqualTo(0.5).Within(0.01));
    }

    [Test]
    public void Equal_seeds_draw_equal_winners_and_others_do_not()
    {
        Assert.That(Winners(7), Is.EqualTo(Winners(7)));
        Assert.That(Winners(7), Is.Not.EqualTo(Winners(8)));
    }

    private static double StandardDeviation(double draws, double share) => Math.Sqrt(share * (1 - share) / draws);

    private static List<int> Winners(long seed)
    {
        VirtualMachine machine = new(new LotteryScheduler(new() { Seed = seed }), pcpus: 2);
        List<int> winners = [];
        machine.Decided = (_, dispatch) => winners.Add(dispatch.Vcpu?.Id.Domain.Value ?? 0);
        for (int domain = 1; domain <= 5; domain++)
            machine.Start(domain, new CpuBoundWorkload(), weight: 100 * domain);
        machine.RunFor(Nanoseconds.FromSeconds(10));
        return winners;
    }
}
