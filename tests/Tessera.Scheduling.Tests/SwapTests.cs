using System.Runtime.CompilerServices;
using Tessera.Plugins.Schedulers.Bvt;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;
using Tessera.Sdk.Simulation;

namespace Tessera.Scheduling.Tests;

public sealed class SwapTests
{
    [Test]
    public void A_swap_keeps_every_state_and_the_new_policy_decides_from_then_on()
    {
        VirtualMachine machine = new(Policies.RoundRobin(), pcpus: 2);
        SchedulableVcpu light = machine.Start(1, new CpuBoundWorkload(), weight: 1);
        SchedulableVcpu[] heavy = [.. Enumerable.Range(2, 3).Select(domain => machine.Start(domain, new CpuBoundWorkload(), weight: 3))];
        SchedulableVcpu asleep = machine.Start(5, new CpuBoundWorkload(Nanoseconds.FromMilliseconds(1)));
        SchedulableVcpu paused = machine.Start(6, new CpuBoundWorkload());
        machine.Core.Pause(paused, machine.Now);
        machine.RunUntil(Nanoseconds.FromSeconds(4));
        Assert.That(machine.ShareOf(light, [light, .. heavy]), Is.EqualTo(0.25).Within(0.01));
        Nanoseconds before = machine.Core.AccountOf(light, machine.Now).CpuTime;
        Assert.That(machine.Core.SwapPolicy(Policies.Bvt(), "bvt", null, machine.Now), Is.Null);
        Assert.That(machine.Core.PolicyName, Is.EqualTo("bvt"));
        Assert.That((asleep.State, paused.State), Is.EqualTo((RunState.Blocked, RunState.Blocked)));
        machine.RunFor(Nanoseconds.FromSeconds(10));
        Assert.That((machine.Core.AccountOf(light, machine.Now).CpuTime - before).TotalSeconds, Is.EqualTo(2).Within(0.03));
        machine.Core.Resume(paused, machine.Now);
        machine.Core.Wake(asleep, machine.Now);
        machine.RunFor(Nanoseconds.FromSeconds(1));
        Assert.That(machine.Core.AccountOf(paused).CpuTime, Is.GreaterThan(Nanoseconds.Zero));
        Assert.That(machine.Core.Ejections, Is.Empty);
    }

    [Test]
    public void A_running_vcpu_is_asleep_to_a_new_policy_until_its_cpu_comes_back()
    {
        HandMachine machine = new(Policies.RoundRobin(), 2);
        SchedulableVcpu runs = machine.Start(1);
        machine.Settle();
        SchedulableVcpu waits = machine.Start(2, affinity: CpuSet.Of(0));
        BentScheduler next = new(Policies.RoundRobin());
        Assert.That(machine.Runs[0], Is.SameAs(runs));
        machine.Core.SwapPolicy(next, "next", null, machine.Now);
        Assert.That(next.Calls, Is.EqualTo(new[] { "add d1v0", "add d2v0", "wake d2v0" }));
        Assert.That(machine.Core.Running(new(0)), Is.Null);
        next.Calls.Clear();

        // The other CPU comes first and must not get what still runs on p0.
        Assert.That(machine.Decide(1).Vcpu, Is.Null);
        Assert.That(machine.Decide(0).Vcpu, Is.SameAs(waits));
        Assert.That(machine.Decide(1).Vcpu, Is.SameAs(runs));
        Assert.That(next.Calls, Is.EqualTo(new[] { "p1: idle -> idle", "wake d1v0", "p0: idle -> d2v0", "p1: idle -> d1v0" }));
    }

    [Test]
    public void Options_are_given_anew_with_the_policy()
    {
        HandMachine machine = new(Policies.RoundRobin(), 1);
        SchedulableVcpu vcpu = machine.Start(1);
        BvtDomainOptions warp = new() { Warp = true };
        machine.Core.SwapPolicy(Policies.Bvt(), "bvt", _ => warp, machine.Now);
        Assert.That(vcpu.Domain.Options, Is.SameAs(warp));
        Assert.That(machine.Core.SwapPolicy(Policies.RoundRobin(), "round-robin", null, machine.Now), Is.Null);
        Assert.That(vcpu.Domain.Options, Is.Null);
    }

    [Test]
    public void A_swap_to_a_policy_that_fails_says_so_and_leaves_the_fallback()
    {
        HandMachine machine = new(Policies.Bvt(), 1);
        machine.Start(1);
        machine.Settle();
        BentScheduler broken = new(Policies.RoundRobin()) { OnAdd = static _ => throw new InvalidOperationException("no room") };
        Ejection? ejection = machine.Core.SwapPolicy(broken, "broken", null, machine.Now);
        Assert.That(ejection?.Policy, Is.EqualTo("broken"));
        Assert.That(machine.Core.PolicyName, Is.EqualTo("round-robin"));
        machine.Settle();
        Assert.That(machine.Runs[0], Is.Not.Null);
    }

    [Test]
    public void The_core_keeps_nothing_of_a_policy_that_is_gone()
    {
        HandMachine machine = new(Policies.RoundRobin(), 2);
        for (int domain = 1; domain <= 5; domain++)
            machine.Start(domain);
        WeakReference old = SwapIn(machine);
        machine.Advance(Nanoseconds.FromMilliseconds(50));
        machine.Core.SwapPolicy(Policies.RoundRobin(), "next", null, machine.Now);
        machine.Settle();
        for (int attempt = 0; attempt < 10 && old.IsAlive; attempt++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }

        Assert.That(old.IsAlive, Is.False);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static WeakReference SwapIn(HandMachine machine)
    {
        IScheduler policy = Policies.Bvt();
        machine.Core.SwapPolicy(policy, "bvt", null, machine.Now);
        return new(policy);
    }
}
