using Tessera.Plugins.Schedulers.Rtds;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;
using Tessera.Sdk.Simulation;

namespace Tessera.Scheduling.Tests;

/// <summary>Xen's deferrable servers: budgets and deadlines to the microsecond, and EDF's utilisation bound.</summary>
public sealed class RtdsTests
{
    private readonly TimingTable _table = new(Policies.Rtds());

    [Test]
    public void A_budget_in_each_period_and_no_more()
    {
        foreach (int domain in new[] { 1, 2 })
            _table.Wake(_table.Add(domain, options: Server(4, 10)), 0);
        _table.Row(0, 1, 4_000);
        _table.Row(4_000, 2, 4_000);
        _table.Row(8_000, 0, 2_000);
        _table.Row(10_000, 1, 4_000);
        _table.Row(14_000, 2, 4_000);
        _table.Row(18_000, 0, 2_000);
    }

    [Test]
    public void The_earliest_deadline_goes_first_and_a_replenishment_is_a_decision()
    {
        _table.Wake(_table.Add(1, options: Server(4, 10)), 0);
        _table.Wake(_table.Add(2, options: Server(2, 5)), 0);
        _table.Row(0, 2, 2_000);
        _table.Row(2_000, 1, 3_000);

        // d2's new deadline is d1's: the running one goes on.
        _table.Row(5_000, 1, 1_000);
        _table.Row(6_000, 2, 2_000);
        _table.Row(8_000, 0, 2_000);
        _table.Row(10_000, 2, 2_000);
    }

    [Test]
    public void Sleep_keeps_the_budget_until_the_period_ends()
    {
        SchedulableVcpu server = _table.Add(1, options: Server(4, 10));
        _table.Wake(server, 0);
        _table.Row(0, 1, 4_000);
        _table.Sleep(server, 1_000);
        _table.Row(1_000, 0, -1);
        _table.Wake(server, 6_000);
        _table.Row(6_000, 1, 3_000);
        _table.Sleep(server, 7_000);
        _table.Row(7_000, 0, -1);

        // The third period began at 20 ms: what was left of the first is lost.
        _table.Wake(server, 23_000);
        _table.Row(23_000, 1, 4_000);
    }

    [Test]
    public void Extra_time_runs_below_every_budget()
    {
        _table.Wake(_table.Add(1, options: Server(2, 10) with { ExtraTime = true }), 0);
        _table.Wake(_table.Add(2, options: Server(3, 20)), 0);
        _table.Row(0, 1, 2_000);
        _table.Row(2_000, 2, 3_000);
        _table.Row(5_000, 1, 2_000);
        _table.Row(7_000, 1, 2_000);
        _table.Row(9_000, 1, 1_000);
        _table.Row(10_000, 1, 2_000);
    }

    [Test]
    public void Every_server_gets_its_budget_in_each_period_up_to_full_utilisation()
    {
        VirtualMachine machine = new(Policies.Rtds());
        (int Budget, int Period)[] servers = [(2, 5), (3, 10), (6, 20)];
        SchedulableVcpu[] vcpus = [.. servers.Select((server, index) => machine.Start(index + 1, new CpuBoundWorkload(), options: Server(server.Budget, server.Period)))];
        for (int step = 1; step <= 400; step++)
        {
            machine.RunUntil(Nanoseconds.FromMilliseconds(5 * step));
            for (int index = 0; index < servers.Length; index++)
            {
                if (5 * step % servers[index].Period == 0)
                    Assert.That(machine.Core.AccountOf(vcpus[index], machine.Now).CpuTime.TotalMilliseconds, Is.EqualTo(5.0 * step / servers[index].Period * servers[index].Budget));
            }
        }
    }

    [Test]
    public void On_two_cpus_budgets_hold_up_to_the_global_bound()
    {
        // Four of 0.4: 1.6 = 2 − (2 − 1) · 0.4.
        VirtualMachine machine = new(Policies.Rtds(), pcpus: 2);
        int[] periods = [10, 15, 20, 35];
        SchedulableVcpu[] vcpus = [.. periods.Select((period, index) => machine.Start(index + 1, new CpuBoundWorkload(), options: Server(2 * period, 5 * period)))];
        for (int step = 1; step <= 2_000; step++)
        {
            machine.RunUntil(Nanoseconds.FromMilliseconds(5 * step));
            for (int index = 0; index < periods.Length; index++)
            {
                if (step % periods[index] == 0)
                    Assert.That(machine.Core.AccountOf(vcpus[index], machine.Now).CpuTime.TotalMilliseconds, Is.EqualTo(2.0 * step));
            }
        }
    }

    [Test]
    public void In_an_overload_servers_of_equal_period_take_turns()
    {
        VirtualMachine machine = new(Policies.Rtds());
        SchedulableVcpu[] vcpus = [.. Enumerable.Range(1, 8).Select(domain => machine.Start(domain, new CpuBoundWorkload()))];
        machine.RunUntil(Nanoseconds.FromSeconds(10));
        foreach (SchedulableVcpu vcpu in vcpus)
            Assert.That(machine.ShareOf(vcpu, vcpus), Is.EqualTo(0.125).Within(0.03));
    }

    [Test]
    public void New_parameters_count_from_the_next_period()
    {
        VirtualMachine machine = new(Policies.Rtds());
        SchedulableVcpu vcpu = machine.Start(1, new CpuBoundWorkload(), options: Server(4, 10));
        machine.RunUntil(Nanoseconds.FromMilliseconds(100));
        machine.Core.Adjust(vcpu.Domain, null, Server(1, 10), null, machine.Now);
        machine.RunFor(Nanoseconds.FromSeconds(1));
        Assert.That(machine.Core.AccountOf(vcpu, machine.Now).CpuTime.TotalMilliseconds, Is.EqualTo(140).Within(3.001));
    }

    [Test]
    public void A_clock_that_jumps_by_centuries_overflows_nothing()
    {
        VirtualMachine machine = new(Policies.Rtds(), new VirtualMachineOptions { StarvationLimit = Nanoseconds.Zero });
        SchedulableVcpu first = machine.Start(1, new CpuBoundWorkload());
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
        Assert.That(core.AccountOf(first).CpuTime, Is.GreaterThan(Nanoseconds.Zero));
    }

    private static RtdsDomainOptions Server(int budget, int period) => new()
    {
        Budget = Nanoseconds.FromMilliseconds(budget),
        Period = Nanoseconds.FromMilliseconds(period),
        ExtraTime = false,
    };
}
