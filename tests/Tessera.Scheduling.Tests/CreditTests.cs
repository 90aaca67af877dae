using Tessera.Plugins.Schedulers.Credit;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Simulation;

namespace Tessera.Scheduling.Tests;

/// <summary>Xen's credit scheduler: slices, ticks and boost to the microsecond; shares, caps and stealing over seconds.</summary>
public sealed class CreditTests
{
    private readonly TimingTable _table = new(Policies.Credit());

    [Test]
    public void Two_hogs_take_turns_of_a_slice_which_ticks_do_not_cut()
    {
        foreach (int domain in new[] { 1, 2 })
            _table.Wake(_table.Add(domain), 0);
        int[] order = [1, 1, 1, 2, 2, 2, 1, 1, 1];
        for (int tick = 0; tick < order.Length; tick++)
            _table.Row(10_000 * tick, order[tick], 10_000);
    }

    [Test]
    public void Who_wakes_with_credits_left_is_boosted_until_a_tick_finds_it_running()
    {
        SchedulableVcpu hog = _table.Add(1);
        SchedulableVcpu beat = _table.Add(2);
        _table.Wake(hog, 0);
        _table.Row(0, 1, 10_000);
        _table.Row(10_000, 1, 10_000);
        _table.Wake(beat, 15_000);
        Assert.That(_table.Kicked, Is.True);
        Assert.That(_table.Core.Describe(beat), Does.Contain("BOOST"));
        _table.Row(15_000, 2, 5_000);
        _table.Row(20_000, 2, 10_000);
        Assert.That(_table.Core.Describe(beat), Does.Contain("UNDER"));
    }

    [Test]
    public void The_rate_limit_lets_the_running_one_finish_its_millisecond()
    {
        SchedulableVcpu beat = _table.Add(3);
        RunTwoHogs();
        _table.Wake(beat, 60_300);
        Assert.That(_table.Kicked, Is.True);
        _table.Row(60_300, 1, 700);
        _table.Row(61_000, 3, 9_000);
    }

    [Test]
    public void Who_is_over_its_credits_is_not_boosted()
    {
        SchedulableVcpu[] hogs = RunTwoHogs();

        // d2 has just used a whole slice and earned half of one.
        _table.Sleep(hogs[1], 61_000);
        _table.Wake(hogs[1], 62_000);
        Assert.That(_table.Kicked, Is.False);
        Assert.That(_table.Core.Describe(hogs[1]), Does.Contain("OVER, -150 credits"));
    }

    [Test]
    public void Caps_hold_within_a_point([Values(10, 25, 40, 50, 90)] int cap, [Values] bool alone)
    {
        VirtualMachine machine = new(Policies.Credit());
        SchedulableVcpu capped = machine.Start(1, new CpuBoundWorkload(), weight: 60_000, options: new CreditDomainOptions { Cap = cap });
        if (!alone)
            machine.Start(2, new CpuBoundWorkload(), weight: 1);
        machine.RunUntil(Nanoseconds.FromSeconds(20));
        Assert.That(machine.Core.AccountOf(capped, machine.Now).CpuTime.TotalSeconds / 20 * 100, Is.EqualTo(cap).Within(1));
    }

    [Test]
    public void A_cap_holds_for_all_vcpus_of_the_domain_together()
    {
        VirtualMachine machine = new(Policies.Credit(), pcpus: 2);
        CreditDomainOptions options = new() { Cap = 80 };
        SchedulableDomain domain = new(new DomainId(1), options: options);
        SchedulableVcpu[] vcpus = [.. Enumerable.Range(0, 2).Select(index => machine.Start(domain, index, new CpuBoundWorkload()))];
        machine.RunUntil(Nanoseconds.FromSeconds(20));
        Assert.That(vcpus.Sum(vcpu => machine.Core.AccountOf(vcpu, machine.Now).CpuTime.TotalSeconds) / 20 * 100, Is.EqualTo(80).Within(1));
    }

    [Test]
    public void A_cap_taken_away_counts_no_more()
    {
        VirtualMachine machine = new(Policies.Credit());
        SchedulableVcpu vcpu = machine.Start(1, new CpuBoundWorkload(), options: new CreditDomainOptions { Cap = 10 });
        machine.RunUntil(Nanoseconds.FromSeconds(5.1));
        machine.Core.Adjust(vcpu.Domain, null, new CreditDomainOptions(), null, machine.Now);
        Nanoseconds before = machine.Core.AccountOf(vcpu, machine.Now).CpuTime;
        machine.RunFor(Nanoseconds.FromSeconds(5));
        Assert.That((machine.Core.AccountOf(vcpu, machine.Now).CpuTime - before).TotalSeconds, Is.EqualTo(5).Within(0.001));
    }

    [Test]
    public void Shares_follow_the_weights()
    {
        VirtualMachine machine = new(Policies.Credit());
        int[] weights = [128, 256, 512];
        SchedulableVcpu[] vcpus = [.. weights.Select((weight, index) => machine.Start(index + 1, new CpuBoundWorkload(), weight))];
        machine.RunUntil(Nanoseconds.FromSeconds(60));
        for (int index = 0; index < weights.Length; index++)
            Assert.That(machine.ShareOf(vcpus[index], vcpus), Is.EqualTo(weights[index] / 896.0).Within(0.01));
    }

    [Test]
    public void Three_hogs_share_two_cpus_because_who_is_under_is_stolen_from_who_is_over()
    {
        VirtualMachine machine = new(Policies.Credit(), pcpus: 2);
        SchedulableVcpu[] vcpus = [.. Enumerable.Range(1, 3).Select(domain => machine.Start(domain, new CpuBoundWorkload()))];
        machine.RunUntil(Nanoseconds.FromSeconds(60));
        foreach (SchedulableVcpu vcpu in vcpus)
            Assert.That(machine.ShareOf(vcpu, vcpus), Is.EqualTo(1 / 3.0).Within(0.02));
    }

    [Test]
    public void Boost_gives_low_wake_latency_beside_hogs()
    {
        VirtualMachine machine = new(Policies.Credit());
        for (int domain = 1; domain <= 8; domain++)
            machine.Start(domain, new CpuBoundWorkload());
        SchedulableVcpu beat = machine.Start(20, new PeriodicWorkload(Nanoseconds.FromMicroseconds(500), Nanoseconds.FromMilliseconds(23), skipLate: true));
        machine.RunUntil(Nanoseconds.FromSeconds(20));
        Assert.That(machine.Core.AccountOf(beat).WakeLatency.P99, Is.LessThanOrEqualTo(Nanoseconds.FromMicroseconds(1_050)), "the rate limit");
    }

    /// <summary>Up to 60 ms, when the first of them begins its second slice, its boost long over.</summary>
    private SchedulableVcpu[] RunTwoHogs()
    {
        SchedulableVcpu[] hogs = [_table.Add(1), _table.Add(2)];
        foreach (SchedulableVcpu hog in hogs)
            _table.Wake(hog, 0);
        for (int tick = 0; tick <= 6; tick++)
            _table.Row(10_000 * tick, tick is >= 3 and < 6 ? 2 : 1, 10_000);
        return hogs;
    }
}
