using Tessera.Plugins.Schedulers.Credit2;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;
using Tessera.Sdk.Simulation;

namespace Tessera.Scheduling.Tests;

/// <summary>Xen's credit2: slices, resets and preemption to the microsecond; shares, caps and wake latency over seconds.</summary>
public sealed class Credit2Tests
{
    private readonly TimingTable _table = new(Policies.Credit2());

    [Test]
    public void Slices_end_when_credits_meet_and_a_reset_gives_to_all()
    {
        foreach (int domain in new[] { 1, 2 })
            _table.Wake(_table.Add(domain), 0);

        // Equal credit: the shortest slice the rate limit allows; then to where the other's credit is.
        _table.Row(0, 1, 1_000);
        _table.Row(1_000, 2, 1_000);
        _table.Row(2_000, 2, 500);
        _table.Row(2_500, 1, 1_000);
    }

    [Test]
    public void A_vcpu_alone_runs_the_longest_slice()
    {
        _table.Wake(_table.Add(1), 0);
        _table.Row(0, 1, 10_000);
        _table.Row(10_000, 1, 10_000);
    }

    [Test]
    public void One_that_wakes_preempts_whoever_has_less_credit_once_the_rate_limit_is_over()
    {
        SchedulableVcpu hog = _table.Add(1);
        SchedulableVcpu beat = _table.Add(2);
        _table.Wake(hog, 0);
        _table.Row(0, 1, 10_000);
        _table.Wake(beat, 400);
        Assert.That(_table.Kicked, Is.True);
        _table.Row(400, 1, 600);
        _table.Row(1_000, 2, 1_000);
        _table.Sleep(beat, 1_200);
        _table.Row(1_200, 1, 9_000);
    }

    [Test]
    public void Shares_follow_the_weights()
    {
        VirtualMachine machine = new(Policies.Credit2());
        int[] weights = [64, 128, 256, 512];
        SchedulableVcpu[] vcpus = [.. weights.Select((weight, index) => machine.Start(index + 1, new CpuBoundWorkload(), weight))];
        machine.RunUntil(Nanoseconds.FromSeconds(20));
        for (int index = 0; index < weights.Length; index++)
            Assert.That(machine.ShareOf(vcpus[index], vcpus), Is.EqualTo(weights[index] / 960.0).Within(0.005));
    }

    [Test]
    public void Three_hogs_share_two_cpus()
    {
        VirtualMachine machine = new(Policies.Credit2(), pcpus: 2);
        SchedulableVcpu[] vcpus = [.. Enumerable.Range(1, 3).Select(domain => machine.Start(domain, new CpuBoundWorkload()))];
        machine.RunUntil(Nanoseconds.FromSeconds(10));
        foreach (SchedulableVcpu vcpu in vcpus)
            Assert.That(machine.ShareOf(vcpu, vcpus), Is.EqualTo(1 / 3.0).Within(0.002));
    }

    [Test]
    public void Caps_hold_within_a_point([Values(5, 10, 25, 40, 90)] int cap, [Values] bool alone)
    {
        VirtualMachine machine = new(Policies.Credit2());
        SchedulableVcpu capped = machine.Start(1, new CpuBoundWorkload(), weight: 60_000, options: new Credit2DomainOptions { Cap = cap });
        if (!alone)
            machine.Start(2, new CpuBoundWorkload(), weight: 1);
        machine.RunUntil(Nanoseconds.FromSeconds(10));
        Assert.That(machine.Core.AccountOf(capped, machine.Now).CpuTime.TotalSeconds / 10 * 100, Is.EqualTo(cap).Within(1));
    }

    [Test]
    public void A_cap_holds_for_all_vcpus_of_the_domain_together()
    {
        VirtualMachine machine = new(Policies.Credit2(), pcpus: 2);
        Credit2DomainOptions options = new() { Cap = 80 };
        SchedulableDomain domain = new(new DomainId(1), options: options);
        SchedulableVcpu[] vcpus = [.. Enumerable.Range(0, 3).Select(index => machine.Start(domain, index, new CpuBoundWorkload()))];
        machine.RunUntil(Nanoseconds.FromSeconds(10));
        Assert.That(vcpus.Sum(vcpu => machine.Core.AccountOf(vcpu, machine.Now).CpuTime.TotalSeconds) / 10 * 100, Is.EqualTo(80).Within(1));
    }

    [Test]
    public void A_cap_taken_away_counts_no_more()
    {
        VirtualMachine machine = new(Policies.Credit2());
        SchedulableVcpu vcpu = machine.Start(1, new CpuBoundWorkload(), options: new Credit2DomainOptions { Cap = 10 });
        machine.RunUntil(Nanoseconds.FromSeconds(5.005));
        machine.Core.Adjust(vcpu.Domain, null, new Credit2DomainOptions(), null, machine.Now);
        Nanoseconds before = machine.Core.AccountOf(vcpu, machine.Now).CpuTime;
        machine.RunFor(Nanoseconds.FromSeconds(5));
        Assert.That((machine.Core.AccountOf(vcpu, machine.Now).CpuTime - before).TotalSeconds, Is.EqualTo(5).Within(0.001));
    }

    [Test]
    public void One_that_needs_little_wakes_within_the_rate_limit()
    {
        VirtualMachine machine = new(Policies.Credit2());
        for (int domain = 1; domain <= 8; domain++)
            machine.Start(domain, new CpuBoundWorkload());
        SchedulableVcpu beat = machine.Start(20, new PeriodicWorkload(Nanoseconds.FromMicroseconds(500), Nanoseconds.FromMilliseconds(23), skipLate: true));
        machine.RunUntil(Nanoseconds.FromSeconds(20));
        Assert.That(machine.Core.AccountOf(beat).WakeLatency.P99, Is.LessThanOrEqualTo(Nanoseconds.FromMicroseconds(1_050)));
    }

    [Test]
    public void Sleep_saves_up_half_a_millisecond_at_most()
    {
        VirtualMachine machine = new(Policies.Credit2());
        SchedulableVcpu hog = machine.Start(1, new CpuBoundWorkload());
        SchedulableVcpu sleeper = machine.Start(2, new CpuBoundWorkload(Nanoseconds.FromMilliseconds(1)));
        machine.RunUntil(Nanoseconds.FromSeconds(100));
        Nanoseconds before = machine.Core.AccountOf(hog, machine.Now).CpuTime;
        machine.Change(sleeper, new CpuBoundWorkload());
        machine.RunFor(Nanoseconds.FromSeconds(1));
        Assert.That((machine.Core.AccountOf(hog, machine.Now).CpuTime - before).TotalSeconds, Is.EqualTo(0.5).Within(0.012));
    }

    [Test]
    public void A_clock_that_jumps_by_centuries_overflows_nothing()
    {
        VirtualMachine machine = new(Policies.Credit2(), new VirtualMachineOptions { StarvationLimit = Nanoseconds.Zero });
        machine.Start(1, new CpuBoundWorkload(), weight: 1, options: new Credit2DomainOptions { Cap = 50 });
        SchedulableVcpu heavy = machine.Start(2, new CpuBoundWorkload(), weight: int.MaxValue);
        SchedulerCore core = machine.Core;
        for (int index = 1; index < 16; index++)
        {
            Nanoseconds now = new(long.MaxValue / 16 * index);
            core.Schedule(new(0), now);
            core.Sleep(heavy, now);
            core.Schedule(new(0), now);
            core.Wake(heavy, now);
            Assert.That(core.Schedule(new(0), now).Vcpu, Is.Not.Null);
        }

        Assert.That(core.Ejections, Is.Empty);
    }
}
