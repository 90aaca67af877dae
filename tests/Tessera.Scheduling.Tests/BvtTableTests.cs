using Tessera.Plugins.Schedulers.Bvt;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Simulation;

namespace Tessera.Scheduling.Tests;

/// <summary>BVT's decisions to the microsecond, on one CPU, with C = 5 ms and mcu = 100 µs.</summary>
public sealed class BvtTableTests
{
    private readonly TimingTable _table = new(Policies.Bvt());

    [Test]
    public void Two_equal_hogs_alternate_an_allowance_ahead_of_each_other()
    {
        foreach (int domain in new[] { 1, 2 })
            _table.Wake(_table.Add(domain), 0);
        _table.Row(0, 1, 5_000);
        _table.Row(5_000, 2, 10_000);
        _table.Row(15_000, 1, 10_000);
        _table.Row(25_000, 2, 10_000);
    }

    [Test]
    public void Weights_stretch_the_slices()
    {
        _table.Wake(_table.Add(1, weight: 256), 0);
        _table.Wake(_table.Add(2, weight: 768), 0);
        _table.Row(0, 1, 5_000);

        // d1 is 5 ms of virtual time ahead: 15 ms of d2's CPU time, and the allowance.
        _table.Row(5_000, 2, 20_000);

        // d2 is 20/3 − 5 ms ahead of d1.
        _table.Row(25_000, 1, 6_700);
        _table.Row(31_700, 2, 20_100);
    }

    [Test]
    public void A_vcpu_alone_gets_ten_allowances_and_nobody_means_idle()
    {
        SchedulableVcpu only = _table.Add(1);
        _table.Row(0, 0, -1);
        _table.Wake(only, 100);
        Assert.That(_table.Kicked, Is.True);
        _table.Row(100, 1, 50_000);
        _table.Sleep(only, 20_000);
        _table.Row(20_000, 0, -1);
    }

    [Test]
    public void One_that_wakes_goes_first_if_it_is_behind_whatever_the_allowance()
    {
        SchedulableVcpu hog = _table.Add(1);
        SchedulableVcpu beat = _table.Add(2);
        _table.Wake(hog, 0);
        _table.Row(0, 1, 50_000);
        _table.Wake(beat, 1_000);

        // SVT is the hog's own virtual time, which the beat gets: equal, so no preemption, but a look after the allowance.
        Assert.That(_table.Kicked, Is.False);
        Assert.That(_table.DueMicroseconds, Is.EqualTo(6_000));
        _table.Row(6_000, 2, 10_000);
        _table.Sleep(beat, 6_200);
        _table.Row(6_200, 1, 50_000);

        // It slept with less virtual time than the hog has now, and gets the hog's.
        _table.Wake(beat, 30_000);
        Assert.That(_table.Kicked, Is.False);
    }

    [Test]
    public void One_that_wakes_preempts_whoever_is_ahead_by_less_than_the_allowance()
    {
        foreach (int domain in new[] { 1, 2 })
            _table.Wake(_table.Add(domain), 0);
        SchedulableVcpu beat = _table.Add(3);
        _table.Row(0, 1, 5_000);
        _table.Row(5_000, 2, 10_000);

        // d1 has 5 ms, d2 has 7: the beat gets 5, is 2 ms behind d2, and shares the 5 ms with d1.
        _table.Wake(beat, 12_000);
        Assert.That(_table.Kicked, Is.True);
        _table.Row(12_000, 3, 5_000);
        _table.Row(17_000, 1, 7_000);
    }

    [Test]
    public void A_warped_one_preempts_at_once()
    {
        SchedulableVcpu hog = _table.Add(1);
        SchedulableVcpu beat = _table.Add(2, options: new BvtDomainOptions { Warp = true, WarpValue = Nanoseconds.FromMilliseconds(20), WarpLimit = default });
        _table.Wake(hog, 0);
        _table.Row(0, 1, 50_000);
        _table.Wake(beat, 1_000);
        Assert.That(_table.Kicked, Is.True);

        // It may use what it borrowed and the allowance.
        _table.Row(1_000, 2, 25_000);
    }

    [Test]
    public void At_its_warp_limit_it_loses_the_cpu_and_is_warped_again_after_the_unwarp_time()
    {
        SchedulableVcpu hog = _table.Add(1);
        BvtDomainOptions warp = new()
        {
            Warp = true,
            WarpValue = Nanoseconds.FromMilliseconds(100),
            WarpLimit = Nanoseconds.FromMilliseconds(8),
            UnwarpTime = Nanoseconds.FromMilliseconds(30),
        };
        SchedulableVcpu greedy = _table.Add(2, options: warp);
        _table.Wake(hog, 0);
        _table.Row(0, 1, 50_000);
        _table.Wake(greedy, 1_000);
        _table.Row(1_000, 2, 8_000);

        // Unwarped it is 8 ms ahead: the hog has 8 ms and the allowance.
        _table.Row(9_000, 1, 13_000);
        _table.Row(22_000, 2, 10_000);
        _table.Row(32_000, 1, 7_000);

        // 30 ms after the limit: warped again, for another 8 ms.
        _table.Row(39_000, 2, 8_000);
    }

    [Test]
    public void One_that_yields_is_passed_over_once()
    {
        SchedulableVcpu first = _table.Add(1);
        SchedulableVcpu second = _table.Add(2);
        _table.Wake(first, 0);
        _table.Wake(second, 0);
        _table.Row(0, 1, 5_000);
        _table.Core.Yield(first, Nanoseconds.FromMicroseconds(1_000));
        _table.Row(1_000, 2, 6_000);
        _table.Row(7_000, 1, 10_000);
    }

    [Test]
    public void Round_robin_takes_turns()
    {
        TimingTable table = new(Policies.RoundRobin());
        SchedulableVcpu[] vcpus = [table.Add(1), table.Add(2), table.Add(3)];
        foreach (SchedulableVcpu vcpu in vcpus)
            table.Wake(vcpu, 0);
        table.Row(0, 1, 10_000);
        table.Row(10_000, 2, 10_000);
        table.Sleep(vcpus[1], 12_000);
        table.Row(12_000, 3, 10_000);
        table.Wake(vcpus[1], 13_000);
        table.Row(22_000, 1, 10_000);
        table.Row(32_000, 2, 10_000);
    }

    [Test]
    public void Two_wakes_before_a_decision_leave_no_cpu_idle_that_one_of_them_may_use()
    {
        HandMachine machine = new(new BvtScheduler(new BvtOptions()), 2);
        SchedulableVcpu pinned = machine.Start(1, affinity: CpuSet.Of(0));
        machine.Settle();
        Assert.That(machine.Core.Sleep(pinned, machine.Now));
        _ = machine.Decide(0);

        // The first asks idle CPU 0; the second may use no other, and CPU 0 takes it.
        SchedulableVcpu anywhere = machine.Start(2);
        machine.Core.Wake(pinned, machine.Now);
        machine.Settle();
        Assert.That(machine.Runs, Is.EqualTo(new[] { pinned, anywhere }));
    }
}
