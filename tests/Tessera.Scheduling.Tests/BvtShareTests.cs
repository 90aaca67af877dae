using Tessera.Plugins.Schedulers.Bvt;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;
using Tessera.Sdk.Simulation;

namespace Tessera.Scheduling.Tests;

/// <summary>What BVT promises over time: shares, latency, and bounds on both.</summary>
public sealed class BvtShareTests
{
    private static readonly Nanoseconds Allowance = new BvtOptions().ContextSwitchAllowance;

    [TestCase(1, new[] { 1, 3 })]
    [TestCase(1, new[] { 256, 768 })]
    [TestCase(1, new[] { 1, 2, 3, 4, 5, 6, 7, 8 })]
    [TestCase(1, new[] { 100, 170, 256 })]
    [TestCase(1, new[] { 1, int.MaxValue / 2, int.MaxValue / 3 })]
    [TestCase(2, new[] { 1, 1, 1 })]
    [TestCase(2, new[] { 1, 2, 3 })]
    [TestCase(2, new[] { 1, 2, 3, 4, 5, 6, 7, 8 })]
    [TestCase(4, new[] { 128, 256, 256, 256, 256, 512, 512 })]
    public void Shares_follow_the_weights_within_an_allowance(int pcpus, int[] weights)
    {
        VirtualMachine machine = new(Policies.Bvt(), pcpus);
        SchedulableVcpu[] hogs = [.. weights.Select((weight, index) => machine.Start(index + 1, new CpuBoundWorkload(), weight))];
        machine.RunUntil(Nanoseconds.FromSeconds(20));
        double total = weights.Sum(static weight => (double)weight);
        for (int index = 0; index < hogs.Length; index++)
        {
            double expected = 20.0 * pcpus * weights[index] / total;
            double got = machine.Core.AccountOf(hogs[index], machine.Now).CpuTime.TotalSeconds;

            // Ahead by C and behind by what the others are ahead, in the time of its own weight; a charging unit or two for rounding.
            double error = (Allowance.TotalSeconds * (1 + ((hogs.Length + pcpus) * (weights[index] / total)))) + 0.0003;
            Assert.That(got, Is.EqualTo(expected).Within(error), $"weight {weights[index]}");
        }
    }

    [Test]
    public void Weights_no_number_of_cpus_can_satisfy_get_a_cpu_each_and_the_rest_is_shared()
    {
        VirtualMachine machine = new(Policies.Bvt(), pcpus: 3);
        SchedulableVcpu heavy = machine.Start(1, new CpuBoundWorkload(), weight: 1000);
        SchedulableVcpu light = machine.Start(2, new CpuBoundWorkload(), weight: 1);
        SchedulableVcpu[] others = [.. Enumerable.Range(3, 3).Select(domain => machine.Start(domain, new CpuBoundWorkload(), weight: 3))];
        machine.RunUntil(Nanoseconds.FromSeconds(10));
        Assert.That(machine.Core.AccountOf(heavy, machine.Now).CpuTime.TotalSeconds, Is.EqualTo(10).Within(0.02));
        Assert.That(machine.Core.AccountOf(light, machine.Now).CpuTime.TotalSeconds, Is.EqualTo(2).Within(0.02));
        foreach (SchedulableVcpu other in others)
            Assert.That(machine.Core.AccountOf(other, machine.Now).CpuTime.TotalSeconds, Is.EqualTo(6).Within(0.02));
    }

    [Test]
    public void A_newcomer_beside_an_impossible_weight_takes_its_share_and_no_more()
    {
        VirtualMachine machine = new(Policies.Bvt(), pcpus: 2);
        machine.Start(1, new CpuBoundWorkload(), weight: 10_000);
        SchedulableVcpu light = machine.Start(2, new CpuBoundWorkload(), weight: 10);
        machine.RunUntil(Nanoseconds.FromSeconds(100));
        SchedulableVcpu newcomer = machine.Start(3, new CpuBoundWorkload(), weight: 10);
        Nanoseconds before = machine.Core.AccountOf(light, machine.Now).CpuTime;
        machine.RunFor(Nanoseconds.FromSeconds(1));
        double got = (machine.Core.AccountOf(light, machine.Now).CpuTime - before).TotalSeconds;
        Assert.That(got, Is.EqualTo(0.5).Within(0.03));
        Assert.That(machine.Core.AccountOf(newcomer, machine.Now).CpuTime.TotalSeconds, Is.EqualTo(0.5).Within(0.03));
    }

    [Test]
    public void Pinned_vcpus_share_their_cpu_by_weight_while_others_roam()
    {
        VirtualMachine machine = new(Policies.Bvt(), pcpus: 2);
        SchedulableVcpu one = machine.Start(1, new CpuBoundWorkload(), weight: 1, affinity: CpuSet.Of(0));
        SchedulableVcpu three = machine.Start(2, new CpuBoundWorkload(), weight: 3, affinity: CpuSet.Of(0));
        SchedulableVcpu alone = machine.Start(3, new CpuBoundWorkload(), weight: 1, affinity: CpuSet.Of(1));
        machine.Decided = static (pcpu, dispatch) => Assert.That(dispatch.Vcpu?.Affinity.Contains(pcpu), Is.Not.False);
        machine.RunUntil(Nanoseconds.FromSeconds(10));
        Assert.That(machine.ShareOf(one, one, three), Is.EqualTo(0.25).Within(0.002));
        Assert.That(machine.Core.AccountOf(alone, machine.Now).CpuTime.TotalSeconds, Is.EqualTo(10));

        // The lone one is far ahead in virtual time by now; one that may run anywhere must not starve it.
        SchedulableVcpu roaming = machine.Start(4, new CpuBoundWorkload(), weight: 1);
        Nanoseconds before = machine.Core.AccountOf(alone, machine.Now).CpuTime;
        machine.RunFor(Nanoseconds.FromSeconds(2));
        Assert.That((machine.Core.AccountOf(alone, machine.Now).CpuTime - before).TotalSeconds, Is.EqualTo(1).Within(0.03));
        Assert.That(machine.Core.AccountOf(roaming, machine.Now).CpuTime.TotalSeconds, Is.EqualTo(1).Within(0.03));
    }

    [Test]
    public void A_change_of_affinity_moves_a_running_vcpu_and_does_not_starve_it()
    {
        VirtualMachine machine = new(Policies.Bvt(), pcpus: 2);
        SchedulableVcpu mover = machine.Start(1, new CpuBoundWorkload(), affinity: CpuSet.Of(1));
        SchedulableVcpu[] others = [.. Enumerable.Range(2, 3).Select(domain => machine.Start(domain, new CpuBoundWorkload(), affinity: CpuSet.Of(0)))];
        machine.RunUntil(Nanoseconds.FromSeconds(20));
        machine.Core.Adjust(mover, CpuSet.Of(0), machine.Now);
        machine.RunFor(Nanoseconds.FromSeconds(4));
        Assert.That(machine.Core.AccountOf(mover, machine.Now).CpuTime.TotalSeconds, Is.EqualTo(21).Within(0.03));
        Assert.That(machine.Core.AccountOf(new PcpuId(1), machine.Now).Idle.TotalSeconds, Is.EqualTo(4).Within(0.001));
        Assert.That(machine.Core.AccountOf(others[0], machine.Now).CpuTime.TotalSeconds, Is.EqualTo(7.67).Within(0.03));
    }

    [Test]
    public void A_changed_weight_counts_from_then_on()
    {
        VirtualMachine machine = new(Policies.Bvt());
        SchedulableVcpu first = machine.Start(1, new CpuBoundWorkload());
        SchedulableVcpu second = machine.Start(2, new CpuBoundWorkload());
        machine.RunUntil(Nanoseconds.FromSeconds(5));
        machine.Core.Adjust(first.Domain, 768, null, null, machine.Now);
        machine.RunFor(Nanoseconds.FromSeconds(8));
        Assert.That(machine.Core.AccountOf(first, machine.Now).CpuTime.TotalSeconds, Is.EqualTo(2.5 + 6).Within(0.03));
        Assert.That(machine.Core.AccountOf(second, machine.Now).CpuTime.TotalSeconds, Is.EqualTo(2.5 + 2).Within(0.03));
    }

    [Test]
    public void Sleep_saves_nothing_up()
    {
        VirtualMachine machine = new(Policies.Bvt());
        SchedulableVcpu hog = machine.Start(1, new CpuBoundWorkload());
        SchedulableVcpu sleeper = machine.Start(2, new CpuBoundWorkload(Nanoseconds.FromMilliseconds(1)));
        machine.RunUntil(Nanoseconds.FromSeconds(100));
        Nanoseconds before = machine.Core.AccountOf(hog, machine.Now).CpuTime;
        SchedulableVcpu[] both = [hog, sleeper];
        machine.Change(sleeper, new CpuBoundWorkload());
        machine.RunFor(Nanoseconds.FromSeconds(1));
        Assert.That((machine.Core.AccountOf(both[0], machine.Now).CpuTime - before).TotalSeconds, Is.EqualTo(0.5).Within(0.011));
    }

    [Test]
    public void Warp_gives_low_latency_beside_a_hundred_hogs()
    {
        // 2 ms every 50: four times its share, so unwarped it waits until the others have caught up.
        VcpuAccount Beat(BvtDomainOptions? options)
        {
            VirtualMachine machine = new(Policies.Bvt());
            for (int domain = 1; domain <= 100; domain++)
                machine.Start(domain, new CpuBoundWorkload());
            SchedulableVcpu beat = machine.Start(200, new PeriodicWorkload(Nanoseconds.FromMilliseconds(2), Nanoseconds.FromMilliseconds(50), skipLate: true), options: options);
            machine.RunUntil(Nanoseconds.FromSeconds(10));
            return machine.Core.AccountOf(beat);
        }

        VcpuAccount unwarped = Beat(null);
        VcpuAccount warped = Beat(new() { Warp = true, WarpValue = Nanoseconds.FromSeconds(1), WarpLimit = default });
        Assert.That(unwarped.WakeLatency.P50, Is.GreaterThan(Nanoseconds.FromMilliseconds(5)));
        Assert.That(warped.WakeLatency.P99, Is.LessThan(Nanoseconds.FromMicroseconds(10)));
        Assert.That(unwarped.CpuTime.TotalMilliseconds, Is.LessThan(120));
        Assert.That(warped.CpuTime.TotalMilliseconds, Is.EqualTo(400).Within(3));
    }

    [Test]
    public void Warp_does_not_raise_the_share_and_its_limit_bounds_each_grab()
    {
        BvtDomainOptions warp = new()
        {
            Warp = true,
            WarpValue = Nanoseconds.FromSeconds(1000),
            WarpLimit = Nanoseconds.FromMilliseconds(100),
            UnwarpTime = Nanoseconds.FromMilliseconds(400),
        };
        VirtualMachine machine = new(Policies.Bvt());
        SchedulableVcpu greedy = machine.Start(1, new CpuBoundWorkload(), options: warp);
        for (int domain = 2; domain <= 10; domain++)
            machine.Start(domain, new CpuBoundWorkload());
        machine.RunUntil(Nanoseconds.FromSeconds(10));

        // Warped for 100 ms of every 500, and too far ahead for anything in between: a fifth, not everything.
        Assert.That(machine.Core.AccountOf(greedy, machine.Now).CpuTime.TotalSeconds, Is.EqualTo(2).Within(0.11));

        // With an ordinary warp it is a loan: paid back over time.
        VirtualMachine honest = new(Policies.Bvt());
        SchedulableVcpu borrower = honest.Start(1, new CpuBoundWorkload(), options: warp with { WarpValue = Nanoseconds.FromMilliseconds(50) });
        for (int domain = 2; domain <= 10; domain++)
            honest.Start(domain, new CpuBoundWorkload());
        honest.RunUntil(Nanoseconds.FromSeconds(20));
        Assert.That(honest.Core.AccountOf(borrower, honest.Now).CpuTime.TotalSeconds, Is.EqualTo(2).Within(0.11));
    }

    [Test]
    public void A_clock_that_jumps_by_centuries_overflows_nothing()
    {
        VirtualMachine machine = new(Policies.Bvt(), new VirtualMachineOptions { StarvationLimit = Nanoseconds.Zero });
        SchedulableVcpu light = machine.Start(1, new CpuBoundWorkload(), weight: 1);
        SchedulableVcpu heavy = machine.Start(2, new CpuBoundWorkload(), weight: int.MaxValue);
        SchedulerCore core = machine.Core;
        Nanoseconds step = new(long.MaxValue / 16);
        for (int index = 1; index < 16; index++)
        {
            Nanoseconds now = new(step.Value * index);
            Assert.That(core.Schedule(new(0), now).Vcpu, Is.Not.Null);
            core.Sleep(heavy, now);
            core.Schedule(new(0), now);
            core.Wake(heavy, now);
            core.Schedule(new(0), now);
        }

        Assert.That(core.Ejections, Is.Empty);
        Assert.That(core.AccountOf(light).CpuTime + core.AccountOf(heavy).CpuTime, Is.EqualTo(new Nanoseconds(step.Value * 14)));
        Assert.That(core.Describe(light), Does.Not.Contain("A = -"));
    }

    [Test]
    public void An_allowance_below_the_charging_unit_is_refused()
    {
        BvtOptions options = new() { MinimumChargingUnit = Nanoseconds.FromMilliseconds(1), ContextSwitchAllowance = Nanoseconds.FromMicroseconds(500) };
        Assert.That(() => new BvtScheduler(options), Throws.ArgumentException.With.Message.Contains("must be at least as long"));
    }
}
