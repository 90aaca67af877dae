using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;
using Tessera.Sdk.Simulation;

namespace Tessera.Scheduling.Tests;

/// <summary>A policy that fails is named with the evidence, the fallback takes over, and the guests go on.</summary>
public sealed class EjectionTests
{
    private static readonly Nanoseconds Ms = Nanoseconds.FromMilliseconds(1);
    private readonly BentScheduler _policy = new(Policies.RoundRobin());

    [Test]
    public void One_that_throws_while_deciding_is_replaced_within_the_decision()
    {
        HandMachine machine = new(_policy, 1);
        SchedulableVcpu vcpu = machine.Start(1);
        machine.Settle();
        _policy.OnSchedule = static (_, _) => throw new InvalidOperationException("lost count");
        machine.Advance(Milliseconds(10));
        Assert.That(machine.Runs[0], Is.SameAs(vcpu));
        Assert.That(machine.Core.PolicyName, Is.EqualTo("round-robin"));
        Ejection ejection = machine.Core.Ejections.Single();
        Assert.That(ejection.Policy, Is.EqualTo("under-test"));
        Assert.That(ejection.Reason, Is.EqualTo(EjectionReason.Threw));
        Assert.That(ejection.Evidence, Does.StartWith("its Schedule(d1v0) threw InvalidOperationException: lost count"));
        Assert.That(machine.Ejected, Is.EqualTo(new[] { ejection }));
        machine.Advance(Milliseconds(90));
        Assert.That(machine.Core.AccountOf(vcpu, machine.Now).CpuTime, Is.EqualTo(Milliseconds(100)));
    }

    [Test]
    public void One_that_throws_in_a_wake_loses_nobody()
    {
        HandMachine machine = new(_policy, 2);
        SchedulableVcpu[] vcpus = [machine.Start(1), machine.Start(2)];
        machine.Settle();
        SchedulableVcpu late = new(new SchedulableDomain(new DomainId(3)));
        machine.Core.Add(late, machine.Now);
        _policy.OnWake = static _ => throw new ArgumentException("no");
        machine.Core.Wake(late, machine.Now);
        Assert.That(machine.Core.Ejections.Single().Evidence, Does.StartWith("its Wake(d3v0) threw ArgumentException: no"));
        machine.Advance(Milliseconds(300));
        foreach (SchedulableVcpu vcpu in vcpus.Append(late))
            Assert.That(machine.Core.AccountOf(vcpu, machine.Now).CpuTime.TotalMilliseconds, Is.EqualTo(200).Within(20));
    }

    [Test]
    public void One_that_fails_at_once_never_gets_to_decide()
    {
        _policy.OnAttach = static _ => throw new NotSupportedException("needs more CPUs");
        HandMachine machine = new(_policy, 1);
        Assert.That(machine.Core.PolicyName, Is.EqualTo("round-robin"));
        Assert.That(machine.Core.Ejections.Single().Evidence, Does.Contain("Attach() threw NotSupportedException: needs more CPUs"));
    }

    [Test]
    public void When_the_fallback_fails_too_the_machine_says_so()
    {
        BentScheduler Broken() => new(Policies.RoundRobin()) { OnSchedule = static (_, _) => throw new InvalidOperationException("fallback broken") };
        HandMachine machine = new(Broken(), 1, fallback: Broken);
        machine.Start(1);
        Assert.That(machine.Settle, Throws.TypeOf<SchedulerFailedException>().With.Message.Contains("fallback broken"));
    }

    [Test]
    public void Nonsense_is_named_for_what_it_is()
    {
        (string Expected, Func<HandMachine, SchedulableVcpu[], SchedulableVcpu> Choose)[] cases =
        [
            ("it chose d9v0 for p0, which was removed or never added", static (_, _) => new(new SchedulableDomain(new DomainId(9)))),
            ("it chose d2v0 for p0 while it runs on p1", static (_, vcpus) => vcpus[1]),
            ("it chose d3v0 for p0 though it is Blocked", static (_, vcpus) => vcpus[2]),
            ("it chose d4v0 for p0, outside its affinity 1", static (_, vcpus) => vcpus[3]),
        ];
        foreach ((string expected, Func<HandMachine, SchedulableVcpu[], SchedulableVcpu> choose) in cases)
        {
            BentScheduler policy = new(Policies.RoundRobin());
            HandMachine machine = new(policy, 2);
            SchedulableVcpu[] vcpus = [machine.Start(1, affinity: CpuSet.Of(0)), machine.Start(2), machine.Start(3), machine.Start(4, affinity: CpuSet.Of(1))];
            machine.Settle();
            machine.Core.Pause(vcpus[2], machine.Now);
            policy.OnSchedule = (point, decision) => point.Pcpu.Index == 0 ? new(choose(machine, vcpus), Ms) : decision;
            machine.Decide(0);
            Ejection ejection = machine.Core.Ejections.Single();
            Assert.That((ejection.Reason, ejection.Evidence), Is.EqualTo((EjectionReason.Nonsense, expected)));
            machine.Advance(Milliseconds(100));
            foreach (SchedulableVcpu vcpu in vcpus.Except([vcpus[2]]))
                Assert.That(machine.Core.AccountOf(vcpu, machine.Now).CpuTime, Is.GreaterThan(Milliseconds(40)), expected);
        }
    }

    [Test]
    public void Slices_too_short_or_too_long_are_put_right()
    {
        HandMachine machine = new(_policy, 1);
        machine.Start(1);
        _policy.OnSchedule = static (_, decision) => decision with { Slice = new(-5) };
        Assert.That(machine.Decide(0).Until, Is.EqualTo(Nanoseconds.FromMicroseconds(1)));
        _policy.OnSchedule = static (_, decision) => decision with { Slice = Nanoseconds.Never };
        Assert.That(machine.Decide(0).Until, Is.EqualTo(Nanoseconds.FromSeconds(10)));
        Assert.That(machine.Core.Ejections, Is.Empty);
    }

    [Test]
    public void One_that_is_too_slow_ten_times_in_a_minute_is_ejected()
    {
        HandClock clock = new();
        HandMachine machine = new(_policy, 1, options => options with { HostClock = clock });
        machine.Start(1);
        _policy.OnSchedule = (_, decision) =>
        {
            clock.Move(Milliseconds(101));
            return decision;
        };
        for (int call = 0; call < 9; call++)
            machine.Decide(0);
        Assert.That(machine.Core.Ejections, Is.Empty, "the host may have been busy");
        machine.Decide(0);
        Ejection ejection = machine.Core.Ejections.Single();
        Assert.That(ejection.Reason, Is.EqualTo(EjectionReason.TooSlow));
        Assert.That(ejection.Evidence, Does.Contain("Schedule(d1v0) took 101 ms (budget 100 ms)"));
        Assert.That(machine.Core.Decisions.Cost.Max, Is.EqualTo(Milliseconds(101)));
    }

    [Test]
    public void Slow_calls_that_are_rare_are_the_hosts_fault()
    {
        HandClock clock = new();
        HandMachine machine = new(_policy, 1, options => options with { HostClock = clock });
        machine.Start(1);
        _policy.OnSchedule = (_, decision) =>
        {
            clock.Move(Milliseconds(101));
            return decision;
        };
        for (int hour = 0; hour < 10; hour++)
        {
            machine.Decide(0);
            machine.Jump(Nanoseconds.FromSeconds(3_600));
        }

        Assert.That(machine.Core.Ejections, Is.Empty);
    }

    [Test]
    public void One_that_starves_somebody_is_ejected_with_its_own_description()
    {
        _policy.OnSchedule = static (_, decision) => decision.Vcpu?.Id.Domain.Value == 2 ? Decision.Idle : decision;
        VirtualMachine machine = new(_policy);
        machine.Start(1, new CpuBoundWorkload());
        SchedulableVcpu starved = machine.Start(2, new CpuBoundWorkload());

        // The bent answer drops d2 from the inner policy's line for good.
        machine.RunUntil(Nanoseconds.FromSeconds(29));
        Assert.That(machine.Core.Ejections, Is.Empty);
        machine.RunUntil(Nanoseconds.FromSeconds(40));
        Ejection ejection = machine.Core.Ejections.Single();
        Assert.That(ejection.Reason, Is.EqualTo(EjectionReason.Starved));
        Assert.That(ejection.Evidence, Does.Contain("left d2v0 (weight 256, Runnable) runnable for").And.Contain("its own view: not in line"));
        machine.RunFor(Nanoseconds.FromSeconds(1));
        Assert.That(machine.Core.AccountOf(starved).CpuTime, Is.GreaterThan(Milliseconds(400)));
    }

    [Test]
    public void One_that_idles_while_somebody_waits_is_ejected_too()
    {
        _policy.OnSchedule = static (_, _) => Decision.Idle;
        VirtualMachine machine = new(_policy);
        SchedulableVcpu starved = machine.Start(1, new CpuBoundWorkload());
        machine.RunUntil(Nanoseconds.FromSeconds(60));
        Assert.That(machine.Core.Ejections.Single().Evidence, Does.Contain("while p0 idled"));
        Assert.That(machine.Core.AccountOf(starved, machine.Now).CpuTime.TotalSeconds, Is.GreaterThan(15));
    }

    [Test]
    public void A_jump_of_the_clock_and_a_tiny_weight_are_nobodys_starvation()
    {
        HandMachine machine = new(Policies.Bvt(), 1);
        machine.Start(1, weight: 1);
        for (int domain = 2; domain < 130; domain++)
            machine.Start(domain, weight: 256);
        machine.Settle();
        for (int hour = 0; hour < 20; hour++)
        {
            machine.Advance(Milliseconds(100));
            machine.Jump(Nanoseconds.FromSeconds(3_600));
        }

        machine.Advance(Nanoseconds.FromSeconds(60));
        Assert.That(machine.Core.Ejections, Is.Empty);
    }

    [Test]
    public void A_paused_pcpu_thread_is_not_the_policys_fault()
    {
        HandMachine machine = new(_policy, 2);
        machine.Start(1, affinity: CpuSet.Of(0));
        machine.Decide(0);
        machine.Decide(1);
        SchedulableVcpu waiting = machine.Start(2, affinity: CpuSet.Of(1));
        for (int second = 0; second < 100; second++)
        {
            machine.Jump(Nanoseconds.FromSeconds(1));
            machine.Decide(0);
        }

        Assert.That(machine.Core.Ejections, Is.Empty, "p1 was kicked and never came");
        Assert.That(waiting.State, Is.EqualTo(RunState.Runnable));
    }

    private static Nanoseconds Milliseconds(long value) => Nanoseconds.FromMilliseconds(value);
}
