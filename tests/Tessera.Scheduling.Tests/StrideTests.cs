using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Simulation;

namespace Tessera.Scheduling.Tests;

/// <summary>Stride scheduling: the paper's example to the quantum, its error bound, and joining and leaving.</summary>
public sealed class StrideTests
{
    private const long Quantum = 10_000;

    private readonly TimingTable _table = new(Policies.Stride());

    [Test]
    public void Tickets_four_two_one_run_in_order_of_their_passes()
    {
        // Strides 1, 2 and 4. Of equal passes the running vCPU goes on, and of the queued the one that has waited longer goes first.
        SchedulableVcpu[] vcpus = [_table.Add(1, weight: 4), _table.Add(2, weight: 2), _table.Add(3, weight: 1)];
        foreach (SchedulableVcpu vcpu in vcpus)
            _table.Wake(vcpu, 0);
        int[] order = [1, 1, 2, 1, /* all passes are 4 */ 1, 3, 2, 1, 1, 2, 1, /* all are 8 */ 1, 3, 2];
        for (int index = 0; index < order.Length; index++)
            _table.Row(index * Quantum, order[index], Quantum);
    }

    [Test]
    public void Part_of_a_quantum_costs_part_of_a_stride()
    {
        SchedulableVcpu[] vcpus = [_table.Add(1), _table.Add(2)];
        foreach (SchedulableVcpu vcpu in vcpus)
            _table.Wake(vcpu, 0);
        _table.Row(0, 1, Quantum);
        _table.Core.Yield(vcpus[0], Nanoseconds.FromMilliseconds(4));

        // d1 has used 4 ms, d2 uses 10: then d1 has the lesser pass, and after its next quantum it has 14 to the 10 of d2.
        _table.Row(4_000, 2, Quantum);
        _table.Row(14_000, 1, Quantum);
        _table.Row(24_000, 2, Quantum);
    }

    [Test]
    public void Who_leaves_and_joins_keeps_its_distance_from_the_global_pass()
    {
        SchedulableVcpu[] vcpus = [_table.Add(1), _table.Add(2)];
        foreach (SchedulableVcpu vcpu in vcpus)
            _table.Wake(vcpu, 0);
        _table.Row(0, 1, Quantum);

        // d1 sleeps a stride and a half ahead of the global pass, d2 is half a stride ahead; so they are when d1 is back.
        _table.Sleep(vcpus[0], 10_000);
        _table.Row(10_000, 2, Quantum);
        _table.Row(20_000, 2, Quantum);
        _table.Wake(vcpus[0], 25_000);
        _table.Row(30_000, 2, Quantum);
        _table.Row(40_000, 1, Quantum);
        _table.Row(50_000, 2, Quantum);
    }

    [Test]
    public void A_wake_does_not_preempt_but_an_idle_cpu_takes_it_at_once()
    {
        SchedulableVcpu hog = _table.Add(1);
        SchedulableVcpu other = _table.Add(2);
        _table.Row(0, 0, -1);
        _table.Wake(hog, 0);
        Assert.That(_table.Kicked, Is.True);
        _table.Row(0, 1, Quantum);
        _table.Wake(other, 1_000);
        Assert.That(_table.Kicked, Is.False);
        _table.Row(10_000, 2, Quantum);
    }

    [Test]
    public void The_relative_error_of_any_two_stays_below_a_quantum()
    {
        int[] weights = [1, 2, 3, 5, 7, 64, 256, 999];
        VirtualMachine machine = new(Policies.Stride());
        SchedulableVcpu[] vcpus = [.. weights.Select((weight, index) => machine.Start(index + 1, new CpuBoundWorkload(), weight))];
        double worst = 0;
        for (int step = 1; step <= 2_000; step++)
        {
            machine.RunUntil(Nanoseconds.FromMilliseconds(10 * step));
            double[] got = [.. vcpus.Select(vcpu => machine.Core.AccountOf(vcpu, machine.Now).CpuTime.TotalMilliseconds)];
            for (int left = 0; left < got.Length; left++)
            {
                for (int right = 0; right < left; right++)
                    worst = Math.Max(worst, Math.Abs(got[left] - ((got[left] + got[right]) * weights[left] / (weights[left] + weights[right]))));
            }
        }

        Assert.That(worst, Is.LessThanOrEqualTo(10.001), "ms, of a quantum of 10 ms");
    }

    [Test]
    public void Two_hogs_are_never_a_quantum_from_their_ideal_shares()
    {
        VirtualMachine machine = new(Policies.Stride());
        SchedulableVcpu light = machine.Start(1, new CpuBoundWorkload(), weight: 300);
        machine.Start(2, new CpuBoundWorkload(), weight: 700);
        for (int step = 1; step <= 3_000; step++)
        {
            machine.RunUntil(Nanoseconds.FromMilliseconds(step));
            Assert.That(machine.Core.AccountOf(light, machine.Now).CpuTime.TotalMilliseconds, Is.EqualTo(step * 0.3).Within(9.999));
        }
    }

    [Test]
    public void Shares_follow_the_weights_on_several_cpus()
    {
        VirtualMachine machine = new(Policies.Stride(), pcpus: 2);
        SchedulableVcpu[] vcpus = [.. Enumerable.Range(1, 4).Select(weight => machine.Start(weight, new CpuBoundWorkload(), weight))];
        machine.RunUntil(Nanoseconds.FromSeconds(20));
        for (int index = 0; index < vcpus.Length; index++)
            Assert.That(machine.ShareOf(vcpus[index], vcpus), Is.EqualTo((index + 1) / 10.0).Within(0.003));
    }

    [Test]
    public void A_newcomer_beside_an_impossible_weight_takes_its_share_and_no_more()
    {
        VirtualMachine machine = new(Policies.Stride(), pcpus: 2);
        machine.Start(1, new CpuBoundWorkload(), weight: 10_000);
        SchedulableVcpu light = machine.Start(2, new CpuBoundWorkload(), weight: 10);
        machine.RunUntil(Nanoseconds.FromSeconds(100));
        SchedulableVcpu newcomer = machine.Start(3, new CpuBoundWorkload(), weight: 10);
        Nanoseconds before = machine.Core.AccountOf(light, machine.Now).CpuTime;
        machine.RunFor(Nanoseconds.FromSeconds(1));
        Assert.That((machine.Core.AccountOf(light, machine.Now).CpuTime - before).TotalSeconds, Is.EqualTo(0.5).Within(0.03));
        Assert.That(machine.Core.AccountOf(newcomer, machine.Now).CpuTime.TotalSeconds, Is.EqualTo(0.5).Within(0.03));
    }

    [Test]
    public void A_change_of_tickets_counts_from_then_on()
    {
        VirtualMachine machine = new(Policies.Stride());
        SchedulableVcpu first = machine.Start(1, new CpuBoundWorkload());
        machine.Start(2, new CpuBoundWorkload());
        machine.RunUntil(Nanoseconds.FromSeconds(5));
        machine.Core.Adjust(first.Domain, 768, null, null, machine.Now);
        machine.RunFor(Nanoseconds.FromSeconds(8));
        Assert.That(machine.Core.AccountOf(first, machine.Now).CpuTime.TotalSeconds, Is.EqualTo(2.5 + 6).Within(0.02));
    }

    [Test]
    public void Sleep_saves_nothing_up()
    {
        VirtualMachine machine = new(Policies.Stride());
        SchedulableVcpu hog = machine.Start(1, new CpuBoundWorkload());
        SchedulableVcpu sleeper = machine.Start(2, new CpuBoundWorkload(Nanoseconds.FromMilliseconds(1)));
        machine.RunUntil(Nanoseconds.FromSeconds(100));
        Nanoseconds before = machine.Core.AccountOf(hog, machine.Now).CpuTime;
        machine.Change(sleeper, new CpuBoundWorkload());
        machine.RunFor(Nanoseconds.FromSeconds(1));
        Assert.That((machine.Core.AccountOf(hog, machine.Now).CpuTime - before).TotalSeconds, Is.EqualTo(0.5).Within(0.021));
    }
}
