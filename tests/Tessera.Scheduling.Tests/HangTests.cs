using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;
using Tessera.Sdk.Simulation;

namespace Tessera.Scheduling.Tests;

/// <summary>A call into the policy that does not come back: found by the watchdog's thread, given up, survived.</summary>
public sealed class HangTests : IDisposable
{
    private readonly HandClock _clock = new();
    private readonly BentScheduler _policy = new(Policies.RoundRobin());
    private readonly ManualResetEventSlim _entered = new();
    private readonly ManualResetEventSlim _released = new();
    private readonly HandMachine _machine;

    public HangTests() => _machine = new(_policy, 2, options => options with { HostClock = _clock });

    [TearDown]
    public void Dispose()
    {
        _entered.Dispose();
        _released.Dispose();
    }

    [Test]
    public void A_hung_decision_is_given_up_and_another_thread_takes_the_cpu_over()
    {
        SchedulableVcpu[] vcpus = [_machine.Start(1), _machine.Start(2), _machine.Start(3)];
        _machine.Settle();
        _policy.OnSchedule = (_, decision) =>
        {
            StayInside();
            return decision;
        };
        Dispatch late = default;
        Thread stuck = new(() => late = _machine.Core.Schedule(new PcpuId(0), _machine.Now));
        stuck.Start();
        Assert.That(_entered.Wait(Hang.Limit), Is.True);
        Assert.That(_machine.Core.CheckHung(_machine.Now), Is.False, "it may still come back");
        _clock.Move(Nanoseconds.FromSeconds(2));
        Assert.That(_machine.Core.CheckHung(_machine.Now), Is.True);
        Assert.That(_machine.Hung, Is.EqualTo(new[] { (stuck.ManagedThreadId, (PcpuId?)new PcpuId(0)) }));
        Ejection ejection = _machine.Core.Ejections.Single();
        Assert.That(ejection.Reason, Is.EqualTo(EjectionReason.Hung));
        Assert.That(ejection.Evidence, Is.EqualTo("its Schedule(d1v0) has not come back for 2000 ms (limit 1000 ms)"));

        // The machine goes on without the stuck thread, every vCPU included.
        _machine.Settle();
        _machine.Advance(Nanoseconds.FromMilliseconds(300));
        foreach (SchedulableVcpu vcpu in vcpus)
            Assert.That(_machine.Core.AccountOf(vcpu, _machine.Now).CpuTime.TotalMilliseconds, Is.EqualTo(200).Within(20));

        SchedulableVcpu?[] before = [.. _machine.Runs];
        _released.Set();
        Assert.That(stuck.Join(Hang.Limit), Is.True);
        Assert.That(late, Is.EqualTo(new Dispatch(null, Nanoseconds.Never, Lost: true)));
        Assert.That(_machine.Core.Running(new(0)), Is.SameAs(before[0]), "the late answer changed nothing");
        Assert.That(_machine.Core.CheckHung(_machine.Now), Is.False);
    }

    [Test]
    public void A_wake_that_hangs_still_wakes_and_those_who_wait_for_the_lock_go_on()
    {
        SchedulableVcpu sleeper = _machine.Start(1);
        SchedulableVcpu other = _machine.Start(2);
        _machine.Settle();
        foreach (SchedulableVcpu vcpu in new[] { sleeper, other })
            _machine.Core.Sleep(vcpu, _machine.Now);
        _machine.Decide(0);
        _machine.Decide(1);
        _policy.OnWake = _ => StayInside();
        Thread stuck = new(() => _machine.Core.Wake(sleeper, _machine.Now));
        stuck.Start();
        Assert.That(_entered.Wait(Hang.Limit), Is.True);
        Thread waiting = new(() => _machine.Core.Wake(other, _machine.Now));
        waiting.Start();
        _clock.Move(Nanoseconds.FromSeconds(2));
        Assert.That(_machine.Core.CheckHung(_machine.Now), Is.True);
        Assert.That(_machine.Hung, Is.EqualTo(new[] { (stuck.ManagedThreadId, (PcpuId?)null) }));
        Assert.That(waiting.Join(Hang.Limit), Is.True);
        _machine.Settle();
        Assert.That(_machine.Runs, Is.EquivalentTo(new[] { sleeper, other }));
        _released.Set();
        Assert.That(stuck.Join(Hang.Limit), Is.True);
    }

    [Test]
    public void The_host_is_told_before_a_call_that_was_given_up_comes_back()
    {
        Thread? stuck = null;
        bool? wasBack = null;
        TellingHost host = new(() =>
        {
            _released.Set();
            // Where it does not wait it is back by then.
            wasBack = stuck!.Join(TimeSpan.FromMilliseconds(200));
        });
        SchedulerCore core = new(_policy, "under-test", Policies.RoundRobin, new SchedulerCoreOptions { PcpuCount = 1, HostClock = _clock }, host);
        SchedulableVcpu vcpu = new(new SchedulableDomain(new DomainId(1)));
        core.Add(vcpu, Nanoseconds.Zero);
        _policy.OnWake = _ => StayInside();
        stuck = new Thread(() => core.Wake(vcpu, Nanoseconds.Zero));
        stuck.Start();
        Assert.That(_entered.Wait(Hang.Limit), Is.True);
        _clock.Move(Nanoseconds.FromSeconds(2));
        Assert.That(core.CheckHung(Nanoseconds.Zero), Is.True);
        Assert.That(wasBack, Is.False);
        Assert.That(stuck.Join(Hang.Limit), Is.True);
    }

    [Test]
    public void A_hung_policy_that_comes_back_cannot_ask_for_anything()
    {
        ISchedulerMachine? seen = null;
        BentScheduler policy = new(Policies.RoundRobin()) { OnAttach = machine => seen = machine };
        HandMachine machine = new(policy, 1);
        Assert.That(() => seen!.RequestReschedule(new(0)), Throws.InvalidOperationException, "only from within a call");
        machine.Core.SwapPolicy(Policies.RoundRobin(), "next", null, machine.Now);
        Assert.That(() => seen!.RequestReschedule(new(0)), Throws.Nothing);
    }

    private void StayInside()
    {
        _entered.Set();
        _released.Wait(Hang.Limit);
    }

    private sealed class TellingHost(Action told) : ISchedulerHost
    {
        public void Kick(PcpuId pcpu)
        {
        }

        public void PolicyHung(int managedThreadId, PcpuId? deciding) => told();
    }
}
