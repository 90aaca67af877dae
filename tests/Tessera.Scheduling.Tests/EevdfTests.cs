using Tessera.Plugins.Schedulers.Eevdf;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;
using Tessera.Sdk.Simulation;

namespace Tessera.Scheduling.Tests;

/// <summary>EEVDF: the requests of the paper's example to the microsecond, its bound on lag, and what lag does over sleep.</summary>
public sealed class EevdfTests
{
    private static readonly Nanoseconds OneMillisecond = Nanoseconds.FromMilliseconds(1);

    [Test]
    public void Two_clients_with_requests_of_two_and_one()
    {
        // The clients of the paper's figure 1 (weights 2, requests 2 and 1, quantum 1); of equal deadlines the running one goes on.
        TimingTable table = new(Policies.Eevdf(new() { RequestLength = OneMillisecond }));
        SchedulableVcpu first = table.Add(1, weight: 2, options: new EevdfDomainOptions { RequestLength = Nanoseconds.FromMilliseconds(2) });
        SchedulableVcpu second = table.Add(2, weight: 2);
        table.Wake(first, 0);
        table.Row(0, 1, 1_000);
        table.Wake(second, 1_000);
        int[] order = [1, 2, 2, 1, 1, 2, 2, 1];
        for (int index = 0; index < order.Length; index++)
            table.Row(1_000 * (index + 1), order[index], 1_000);
    }

    [Test]
    public void An_earlier_deadline_preempts_on_wake()
    {
        TimingTable table = new(Policies.Eevdf());
        SchedulableVcpu hog = table.Add(1);
        SchedulableVcpu brisk = table.Add(2, options: new EevdfDomainOptions { RequestLength = Nanoseconds.FromMicroseconds(500) });
        SchedulableVcpu lazy = table.Add(3, options: new EevdfDomainOptions { RequestLength = Nanoseconds.FromMilliseconds(9) });
        table.Wake(hog, 0);
        table.Row(0, 1, 3_000);
        table.Wake(lazy, 1_000);
        Assert.That(table.Kicked, Is.False);
        table.Wake(brisk, 1_500);
        Assert.That(table.Kicked, Is.True);
        table.Row(1_500, 2, 500);
    }

    [Test]
    public void Lag_stays_below_a_request_whatever_the_weights()
    {
        int[] weights = [1, 2, 3, 5, 7, 64, 256, 999];
        double total = weights.Sum();
        VirtualMachine machine = new(Policies.Eevdf());
        SchedulableVcpu[] vcpus = [.. weights.Select((weight, index) => machine.Start(index + 1, new CpuBoundWorkload(), weight))];
        for (int step = 1; step <= 6_000; step++)
        {
            machine.RunUntil(Nanoseconds.FromMilliseconds(step));
            for (int index = 0; index < weights.Length; index++)
            {
                double lag = (step * weights[index] / total) - machine.Core.AccountOf(vcpus[index], machine.Now).CpuTime.TotalMilliseconds;
                Assert.That(lag, Is.EqualTo(0).Within(3.0001), $"ms, of weight {weights[index]} at {step} ms");
            }
        }
    }

    [Test]
    public void Requests_of_other_lengths_keep_the_shares_and_their_own_bounds()
    {
        VirtualMachine machine = new(Policies.Eevdf());
        int[] lengths = [1, 3, 12, 30];
        SchedulableVcpu[] vcpus =
        [
            .. lengths.Select((length, index) => machine.Start(
                index + 1, new CpuBoundWorkload(), options: new EevdfDomainOptions { RequestLength = Nanoseconds.FromMilliseconds(length) })),
        ];
        for (int step = 1; step <= 4_000; step++)
        {
            machine.RunUntil(Nanoseconds.FromMilliseconds(step));
            for (int index = 0; index < lengths.Length; index++)
            {
                double lag = (step / 4.0) - machine.Core.AccountOf(vcpus[index], machine.Now).CpuTime.TotalMilliseconds;
                Assert.That(lag, Is.InRange(-Math.Max(lengths[index], 3) - 0.001, 30.001), $"ms, of the request of {lengths[index]} ms at {step} ms");
            }
        }
    }

    [Test]
    public void A_short_request_wakes_sooner_than_a_long_one_for_the_same_share()
    {
        Nanoseconds Latency(long microseconds)
        {
            VirtualMachine machine = new(Policies.Eevdf());
            for (int domain = 1; domain <= 10; domain++)
                machine.Start(domain, new CpuBoundWorkload());
            EevdfDomainOptions options = new() { RequestLength = Nanoseconds.FromMicroseconds(microseconds) };
            SchedulableVcpu beat = machine.Start(20, new PeriodicWorkload(Nanoseconds.FromMicroseconds(200), Nanoseconds.FromMilliseconds(20), skipLate: true), options: options);
            machine.RunUntil(Nanoseconds.FromSeconds(10));
            return machine.Core.AccountOf(beat).WakeLatency.P99;
        }

        Nanoseconds brisk = Latency(200);
        Assert.That(brisk, Is.LessThan(Nanoseconds.FromMilliseconds(3)), "a quantum");
        Assert.That(Latency(20_000), Is.GreaterThan(Nanoseconds.FromMilliseconds(10)));
    }

    [Test]
    public void Lag_is_kept_over_sleep_but_not_saved_up()
    {
        VirtualMachine machine = new(Policies.Eevdf());
        SchedulableVcpu hog = machine.Start(1, new CpuBoundWorkload());
        SchedulableVcpu sleeper = machine.Start(2, new CpuBoundWorkload(OneMillisecond));
        machine.RunUntil(Nanoseconds.FromSeconds(100));
        Nanoseconds before = machine.Core.AccountOf(hog, machine.Now).CpuTime;
        machine.Change(sleeper, new CpuBoundWorkload());
        machine.RunFor(Nanoseconds.FromSeconds(1));
        Assert.That((machine.Core.AccountOf(hog, machine.Now).CpuTime - before).TotalSeconds, Is.EqualTo(0.5).Within(0.0061));
    }

    [Test]
    public void Two_on_each_cpu_share_it_by_weight_and_idle_cpus_take_from_busy_ones()
    {
        VirtualMachine machine = new(Policies.Eevdf(), pcpus: 2);
        SchedulableVcpu[] vcpus = [.. Enumerable.Range(1, 4).Select(domain => machine.Start(domain, new CpuBoundWorkload(), weight: 256))];
        machine.RunUntil(Nanoseconds.FromSeconds(10));
        foreach (SchedulableVcpu vcpu in vcpus)
            Assert.That(machine.ShareOf(vcpu, vcpus), Is.EqualTo(0.25).Within(0.002));
        machine.Stop(vcpus[0]);
        machine.Stop(vcpus[1]);
        machine.RunFor(Nanoseconds.FromSeconds(1));
        foreach (SchedulableVcpu vcpu in vcpus[2..])
            Assert.That(machine.Core.AccountOf(vcpu, machine.Now).CpuTime.TotalSeconds, Is.EqualTo(6).Within(0.02));
    }

    [Test]
    public void Pinned_vcpus_share_their_cpu_and_one_that_roams_fills_the_other()
    {
        VirtualMachine machine = new(Policies.Eevdf(), pcpus: 2);
        SchedulableVcpu one = machine.Start(1, new CpuBoundWorkload(), weight: 1, affinity: CpuSet.Of(0));
        SchedulableVcpu three = machine.Start(2, new CpuBoundWorkload(), weight: 3, affinity: CpuSet.Of(0));
        SchedulableVcpu roaming = machine.Start(3, new CpuBoundWorkload(), weight: 1);
        machine.Decided = static (pcpu, dispatch) => Assert.That(dispatch.Vcpu?.Affinity.Contains(pcpu), Is.Not.False);
        machine.RunUntil(Nanoseconds.FromSeconds(10));
        Assert.That(machine.ShareOf(one, one, three), Is.EqualTo(0.25).Within(0.002));
        Assert.That(machine.Core.AccountOf(roaming, machine.Now).CpuTime.TotalSeconds, Is.EqualTo(10).Within(0.01));
    }

    [Test]
    public void A_clock_that_jumps_by_centuries_overflows_nothing()
    {
        VirtualMachine machine = new(Policies.Eevdf(), new VirtualMachineOptions { StarvationLimit = Nanoseconds.Zero });
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
    }
}
