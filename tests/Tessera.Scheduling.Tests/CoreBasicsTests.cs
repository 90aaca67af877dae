using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;
using Tessera.Sdk.Simulation;

namespace Tessera.Scheduling.Tests;

public sealed class CoreBasicsTests
{
    private static readonly Nanoseconds Ms = Nanoseconds.FromMilliseconds(1);
    private readonly BentScheduler _policy = new(Policies.RoundRobin());

    [Test]
    public void Hogs_share_one_cpu_equally_under_round_robin()
    {
        VirtualMachine machine = new(_policy);
        SchedulableVcpu[] hogs = [.. Enumerable.Range(1, 4).Select(domain => machine.Start(domain, new CpuBoundWorkload()))];
        machine.RunUntil(Nanoseconds.FromSeconds(4));
        foreach (SchedulableVcpu hog in hogs)
            Assert.That(machine.Core.AccountOf(hog, machine.Now).CpuTime.TotalSeconds, Is.EqualTo(1).Within(0.011));
        PcpuAccount pcpu = machine.Core.AccountOf(new PcpuId(0), machine.Now);
        Assert.That(pcpu.Busy, Is.EqualTo(Nanoseconds.FromSeconds(4)));
        Assert.That(pcpu.Switches, Is.EqualTo(401).Within(1));
        Assert.That(machine.Core.Ejections, Is.Empty);
    }

    [Test]
    public void Two_hogs_on_two_cpus_both_run_all_the_time_and_nobody_switches()
    {
        VirtualMachine machine = new(_policy, pcpus: 2);
        SchedulableVcpu first = machine.Start(1, new CpuBoundWorkload());
        SchedulableVcpu second = machine.Start(2, new CpuBoundWorkload());
        machine.RunUntil(Nanoseconds.FromSeconds(1));
        Assert.That(machine.Core.AccountOf(first, machine.Now).CpuTime, Is.EqualTo(Nanoseconds.FromSeconds(1)));
        Assert.That(machine.Core.AccountOf(second, machine.Now).CpuTime, Is.EqualTo(Nanoseconds.FromSeconds(1)));
        Assert.That(machine.Core.AccountOf(new PcpuId(1)).Switches, Is.EqualTo(1));
    }

    [Test]
    public void A_sleep_is_told_when_the_cpu_comes_back_and_a_wake_in_between_cancels_it()
    {
        VirtualMachine machine = new(_policy);
        SchedulerCore core = machine.Core;
        SchedulableVcpu vcpu = machine.Start(1, new CpuBoundWorkload());
        PcpuId p0 = new(0);
        Assert.That(core.Schedule(p0, Ms).Vcpu, Is.SameAs(vcpu));
        _policy.Calls.Clear();
        Assert.That(core.Sleep(vcpu, Ms + Ms), Is.True);
        core.Wake(vcpu, Ms + Ms);
        Assert.That(core.Schedule(p0, Ms + Ms).Vcpu, Is.SameAs(vcpu));
        Assert.That(_policy.Calls, Is.EqualTo(new[] { "p0: d1v0 -> d1v0" }));
        _policy.Calls.Clear();
        Assert.That(core.Sleep(vcpu, Ms + Ms), Is.True);
        Assert.That(core.Schedule(p0, Ms + Ms).Vcpu, Is.Null);
        Assert.That(_policy.Calls, Is.EqualTo(new[] { "sleep d1v0", "p0: d1v0 (asleep) -> idle" }));
        Assert.That(vcpu.State, Is.EqualTo(RunState.Blocked));
    }

    [Test]
    public void A_wake_before_the_sleep_keeps_the_vcpu_awake_once_unless_it_was_seen()
    {
        VirtualMachine machine = new(_policy);
        SchedulerCore core = machine.Core;
        SchedulableVcpu vcpu = machine.Start(1, new CpuBoundWorkload());
        core.Schedule(new(0), Ms);
        core.Wake(vcpu, Ms);
        Assert.That(core.Sleep(vcpu, Ms), Is.False);
        Assert.That(core.Sleep(vcpu, Ms), Is.True);
        core.Wake(vcpu, Ms);
        core.Wake(vcpu, Ms);
        core.PrepareToSleep(vcpu);
        Assert.That(core.Sleep(vcpu, Ms), Is.True);
    }

    [Test]
    public void Pauses_nest_with_each_other_and_with_blocking()
    {
        VirtualMachine machine = new(_policy);
        SchedulerCore core = machine.Core;
        SchedulableVcpu vcpu = machine.Start(1, new CpuBoundWorkload());
        core.Schedule(new(0), Ms);
        core.Pause(vcpu, Ms);
        core.Pause(vcpu, Ms);
        core.Sleep(vcpu, Ms);
        Assert.That(core.Schedule(new(0), Ms).Vcpu, Is.Null);
        core.Resume(vcpu, Ms);
        core.Wake(vcpu, Ms);
        Assert.That(vcpu.State, Is.EqualTo(RunState.Blocked));
        core.Resume(vcpu, Ms);
        Assert.That(vcpu.State, Is.EqualTo(RunState.Runnable));
        Assert.That(core.Schedule(new(0), Ms).Vcpu, Is.SameAs(vcpu));
        Assert.That(() => core.Resume(vcpu, Ms), Throws.InvalidOperationException);
    }

    [Test]
    public void A_vcpu_removed_while_it_runs_is_nobody_at_the_next_decision()
    {
        VirtualMachine machine = new(_policy);
        SchedulerCore core = machine.Core;
        SchedulableVcpu vcpu = machine.Start(1, new CpuBoundWorkload());
        core.Schedule(new(0), Ms);
        core.Remove(vcpu, Ms);
        Assert.That(vcpu.State, Is.EqualTo(RunState.Offline));
        Assert.That(() => core.Add(vcpu, Ms), Throws.InvalidOperationException, "its context is still on the CPU");
        _policy.Calls.Clear();
        Assert.That(core.Schedule(new(0), Ms + Ms).Vcpu, Is.Null);
        Assert.That(_policy.Calls, Is.EqualTo(new[] { "p0: idle -> idle" }));
        Assert.That(core.AccountOf(vcpu).CpuTime, Is.EqualTo(Ms));
        core.Add(vcpu, Ms + Ms);
        core.Wake(vcpu, Ms + Ms);
        Assert.That(core.Schedule(new(0), Ms + Ms).Vcpu, Is.SameAs(vcpu));
    }

    [Test]
    public void Time_that_goes_back_counts_as_the_latest_seen()
    {
        VirtualMachine machine = new(_policy);
        SchedulableVcpu vcpu = machine.Start(1, new CpuBoundWorkload());
        machine.Core.Schedule(new(0), Ms + Ms);
        Dispatch dispatch = machine.Core.Schedule(new(0), Ms);
        Assert.That(dispatch.Until, Is.EqualTo(Nanoseconds.FromMilliseconds(12)));
        Assert.That(machine.Core.AccountOf(vcpu).CpuTime, Is.EqualTo(Nanoseconds.Zero));
    }

    [Test]
    public void Wake_latency_is_counted_from_the_wake_to_running()
    {
        VirtualMachine machine = new(_policy);
        machine.Start(1, new CpuBoundWorkload());
        SchedulableVcpu beat = machine.Start(2, new PeriodicWorkload(Ms, Nanoseconds.FromMilliseconds(25)));
        machine.RunUntil(Nanoseconds.FromSeconds(1));
        LatencySummary latency = machine.Core.AccountOf(beat).WakeLatency;
        Assert.That(latency.Count, Is.EqualTo(40).Within(1));
        Assert.That(latency.Max, Is.InRange(Ms, Nanoseconds.FromMilliseconds(10)));
    }

    [Test]
    public void An_affinity_outside_the_machine_is_refused_by_name()
    {
        VirtualMachine machine = new(_policy, pcpus: 2);
        Assert.That(
            () => machine.Start(1, new CpuBoundWorkload(), affinity: CpuSet.Of(2, 3)),
            Throws.ArgumentException.With.Message.Contains("d1v0: its affinity (2,3) has none of this machine's physical CPUs (0 to 1)"));
    }
}
