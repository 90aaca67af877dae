using Tessera.Plugins.Schedulers.Sedf;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;
using Tessera.Sdk.Simulation;

namespace Tessera.Scheduling.Tests;

/// <summary>Xen's simple EDF: slices, sleeps and extra time to the microsecond, and EDF's utilisation bound.</summary>
public sealed class SedfTests
{
    private readonly TimingTable _table = new(Policies.Sedf());

    [Test]
    public void The_earliest_deadline_runs_for_its_slice()
    {
        _table.Wake(_table.Add(1, options: Reserve(4, 10)), 0);
        _table.Wake(_table.Add(2, options: Reserve(2, 5)), 0);
        _table.Row(0, 2, 2_000);
        _table.Row(2_000, 1, 3_000);

        // d2's next deadline is d1's: the running one goes on.
        _table.Row(5_000, 1, 1_000);
        _table.Row(6_000, 2, 2_000);
        _table.Row(8_000, 0, 2_000);
    }

    [Test]
    public void Time_that_is_not_reserved_is_given_in_quanta_of_500_microseconds()
    {
        _table.Wake(_table.Add(1, options: Reserve(2, 5)), 0);
        _table.Wake(_table.Add(2), 0);
        _table.Wake(_table.Add(3), 0);
        _table.Row(0, 1, 2_000);
        int[] order = [2, 3, 2, 3, 2, 3];
        for (int quantum = 0; quantum < order.Length; quantum++)
            _table.Row(2_000 + (500 * quantum), order[quantum], 500);
        _table.Row(5_000, 1, 2_000);
    }

    [Test]
    public void A_short_sleep_ends_the_slice_and_extra_time_makes_up_for_it()
    {
        SchedulableVcpu reserved = _table.Add(1, options: Reserve(4, 10));
        _table.Wake(reserved, 0);
        _table.Wake(_table.Add(2), 0);
        _table.Row(0, 1, 4_000);
        _table.Sleep(reserved, 3_000);
        _table.Row(3_000, 2, 500);
        _table.Row(3_500, 2, 500);

        // It lost a millisecond of its slice; that goes before the other's extra time.
        _table.Wake(reserved, 3_700);
        Assert.That(_table.Kicked, Is.True);
        _table.Row(3_700, 1, 500);
        _table.Row(4_200, 1, 500);
        _table.Row(4_700, 2, 500);
        _table.Row(10_000, 1, 4_000);
    }

    [Test]
    public void A_long_sleep_begins_a_new_period_and_a_latency_hint_a_short_one()
    {
        SchedulableVcpu plain = _table.Add(1, options: Reserve(4, 20));
        SchedulableVcpu hinted = _table.Add(2, options: Reserve(4, 20) with { Latency = Nanoseconds.FromMilliseconds(5) });
        _table.Wake(plain, 0);
        _table.Row(0, 1, 4_000);
        _table.Wake(hinted, 1_000);
        Assert.That(_table.Kicked, Is.True);
        _table.Row(1_000, 2, 1_000);

        // Its next period is of 10 ms with a slice of 2.
        _table.Row(2_000, 1, 3_000);
        _table.Row(5_000, 0, 1_000);
        _table.Row(6_000, 2, 2_000);
        _table.Row(8_000, 0, 8_000);

        // And then the full one.
        _table.Row(16_000, 2, 4_000);
    }

    [Test]
    public void Every_slice_is_had_in_its_period_up_to_full_utilisation()
    {
        VirtualMachine machine = new(Policies.Sedf());
        (int Slice, int Period)[] reservations = [(2, 5), (3, 10), (6, 20)];
        SchedulableVcpu[] vcpus =
            [.. reservations.Select((own, index) => machine.Start(index + 1, new CpuBoundWorkload(), options: Reserve(own.Slice, own.Period)))];
        SchedulableVcpu extra = machine.Start(9, new CpuBoundWorkload());
        for (int step = 1; step <= 400; step++)
        {
            machine.RunUntil(Nanoseconds.FromMilliseconds(5 * step));
            for (int index = 0; index < reservations.Length; index++)
            {
                if (5 * step % reservations[index].Period == 0)
                    Assert.That(machine.Core.AccountOf(vcpus[index], machine.Now).CpuTime.TotalMilliseconds, Is.EqualTo(5.0 * step / reservations[index].Period * reservations[index].Slice));
            }
        }

        Assert.That(machine.Core.AccountOf(extra, machine.Now).CpuTime, Is.EqualTo(Nanoseconds.Zero));
    }

    [Test]
    public void On_two_cpus_slices_hold_up_to_the_global_bound()
    {
        VirtualMachine machine = new(Policies.Sedf(), pcpus: 2);
        SchedulableVcpu[] vcpus = [.. Enumerable.Range(1, 4).Select(index => machine.Start(index, new CpuBoundWorkload(), options: Reserve(4 * index, 10 * index)))];
        machine.RunUntil(Nanoseconds.FromSeconds(12));
        foreach (SchedulableVcpu vcpu in vcpus)
            Assert.That(machine.Core.AccountOf(vcpu, machine.Now).CpuTime.TotalSeconds, Is.EqualTo(4.8));
    }

    [Test]
    public void Extra_time_is_shared_by_weight_beside_a_reservation()
    {
        VirtualMachine machine = new(Policies.Sedf());
        SchedulableVcpu reserved = machine.Start(1, new CpuBoundWorkload(), options: Reserve(30, 100));
        SchedulableVcpu one = machine.Start(2, new CpuBoundWorkload(), weight: 100);
        SchedulableVcpu three = machine.Start(3, new CpuBoundWorkload(), weight: 300);
        machine.RunUntil(Nanoseconds.FromSeconds(10));
        Assert.That(machine.Core.AccountOf(reserved, machine.Now).CpuTime.TotalSeconds, Is.EqualTo(3));
        Assert.That(machine.ShareOf(one, one, three), Is.EqualTo(0.25).Within(0.001));
    }

    [Test]
    public void A_clock_that_jumps_by_centuries_overflows_nothing()
    {
        VirtualMachine machine = new(Policies.Sedf(), new VirtualMachineOptions { StarvationLimit = Nanoseconds.Zero });
        machine.Start(1, new CpuBoundWorkload(), options: Reserve(4, 10));
        SchedulableVcpu second = machine.Start(2, new CpuBoundWorkload());
        SchedulerCore core = machine.Core;
        for (int index = 1; index < 16; index++)
        {
            Nanoseconds now = new(long.MaxValue / 16 * index);
            Assert.That(core.Schedule(new(0), now).Vcpu, Is.Not.Null);
            core.Sleep(second, now);
            core.Schedule(new(0), now);
            core.Wake(second, now);
            core.Schedule(new(0), now);
        }

        Assert.That(core.Ejections, Is.Empty);
    }

    private static SedfDomainOptions Reserve(int slice, int period) => new()
    {
        Slice = Nanoseconds.FromMilliseconds(slice),
        Period = Nanoseconds.FromMilliseconds(period),
        ExtraTime = false,
    };
}
