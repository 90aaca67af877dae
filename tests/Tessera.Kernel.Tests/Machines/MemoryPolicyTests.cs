using Tessera.Kernel.Store;
using Tessera.Plugins.Schedulers.RoundRobin;
using Tessera.Sdk;
using Tessera.Sdk.Memory;

namespace Tessera.Kernel.Tests;

/// <summary>What a memory policy says is done, and one that fails hurts nobody.</summary>
internal sealed class MemoryPolicyTests
{
    private static readonly Nanoseconds Often = Nanoseconds.FromMilliseconds(1);

    /// <summary>Each makes one call of the policy fail, and says how the machine names it.</summary>
    private static IEnumerable<TestCaseData> Failures()
    {
        yield return Failing("Admit: ArithmeticException", new() { OnAdmit = static (_, _) => throw new ArithmeticException() });
        yield return Failing("Admit: InvalidOperationException: It gives 513", new() { OnAdmit = static (one, _) => one.MaxFrames + 1 });
        yield return Failing("Grant: ArithmeticException", new() { OnGrant = static (_, _, _) => throw new ArithmeticException() });
        yield return Failing("Grant: InvalidOperationException: It gives -1", new() { OnGrant = static (_, _, _) => -1 });
        yield return Failing("Grant: InvalidOperationException: It gives 6", new() { OnGrant = static (_, asked, _) => asked + 1 });
        yield return Failing("Grant: DivideByZeroException", new() { OnReleased = static (_, _) => throw new DivideByZeroException() });
        yield return Failing("RebalancePeriod: ArithmeticException", new() { OnPeriod = static () => throw new ArithmeticException() });

        static TestCaseData Failing(string named, ScriptedMemoryPolicy policy) =>
            new TestCaseData(named, policy).SetArgDisplayNames(named);
    }

    [TestCaseSource(nameof(Failures))]
    public void A_policy_that_fails_is_named_and_domains_get_memory_all_the_same(string named, ScriptedMemoryPolicy policy)
    {
        using HandMachine machine = new(memoryPolicy: policy);
        HandDomain guest = machine.Create();
        Assert.That(guest.Domain.AssignedFrames, Is.EqualTo(512));
        guest.Balloon(give: 5, take: 5);
        Assert.That(guest.Domain.AssignedFrames, Is.EqualTo(512));
        string? failure = machine.Machine.MemoryPolicyFailure;
        Assert.That(failure, Does.Contain($"{typeof(ScriptedMemoryPolicy).FullName} failed in {named}").And.Contain("static-partition"));
        HandDomain next = machine.Create();
        next.Balloon(give: 9, take: 7);
        Assert.That((next.Domain.AssignedFrames, machine.Machine.MemoryPolicyFailure), Is.EqualTo((510L, failure)));
    }

    [Test]
    public void A_domain_starts_with_as_many_frames_as_it_was_admitted_with()
    {
        using HandMachine machine = new(memoryPolicy: new ScriptedMemoryPolicy { OnAdmit = static (_, _) => 505 });
        HandDomain guest = machine.Create();
        Assert.That(guest.Domain.AssignedFrames, Is.EqualTo(505));
        Assert.That(TargetOf(machine, guest), Is.EqualTo("2020"));
        guest.Balloon(give: 0, take: 7);
        Assert.That(guest.Domain.AssignedFrames, Is.EqualTo(512));
        Assert.That(machine.Machine.MemoryPolicyFailure, Is.Null);
    }

    [Test]
    public void Too_few_frames_to_boot_are_no_domain()
    {
        using HandMachine machine = new(memoryPolicy: new ScriptedMemoryPolicy { OnAdmit = static (_, _) => 3 });
        Assert.That(() => machine.Create(), Throws.TypeOf<DomainBuildException>().With.Message.Contains("12 KiB of memory"));
        Assert.That(machine.Machine.Frames.AssignedFrames, Is.Zero);
    }

    [Test]
    public void New_targets_are_written_for_the_guest_to_see()
    {
        using ManualResetEventSlim seen = new();
        DomainMemoryFacts facts = default;
        ScriptedMemoryPolicy policy = new() { OnPeriod = static () => Often };
        policy.OnRebalance = domains => [.. domains.Select(domain => new MemoryTarget(domain.Domain, domain.Frames - 100))];
        using HandMachine machine = new(memoryPolicy: policy);
        HandDomain guest = machine.Create();
        using StoreWatch watch = machine.Machine.StoreClient.Watch($"/local/domain/{guest.Id}/memory/target", _ =>
        {
            if (TargetOf(machine, guest) == "1648")
                seen.Set();
        });
        Assert.That(seen.Wait(Hang.Limit), Is.True);
        seen.Reset();
        policy.OnRebalance = domains =>
        {
            if (domains is [{ } only])
            {
                facts = only;
                seen.Set();
            }

            return [];
        };
        Assert.That(seen.Wait(Hang.Limit), Is.True);
        Assert.That(facts, Is.EqualTo(new DomainMemoryFacts(guest.Domain.Id, 512, 512, 512, 412)));
        machine.Machine.Destroy(guest.Domain);
        Assert.That(TargetOf(machine, guest), Is.Null);
        Assert.That(machine.Machine.MemoryPolicyFailure, Is.Null);
    }

    [TestCase(0, "cannot have 0 frames, only 1 to 512")]
    [TestCase(513, "cannot have 513 frames, only 1 to 512")]
    [TestCase(null, "d77, which it was not asked about")]
    public void A_policy_that_fails_with_targets_leaves_the_configured_ones(int? frames, string named)
    {
        ScriptedMemoryPolicy policy = new() { OnPeriod = static () => Often };
        policy.OnRebalance = domains => [.. domains.Select(static domain => new MemoryTarget(domain.Domain, 300))];
        using HandMachine machine = new(memoryPolicy: policy);
        HandDomain guest = machine.Create();
        Assert.That(SpinWait.SpinUntil(() => TargetOf(machine, guest) == "1200", Hang.Limit), Is.True);
        policy.OnRebalance = domains => [new MemoryTarget(frames is null ? new DomainId(77) : domains[0].Domain, frames ?? 100)];
        Assert.That(SpinWait.SpinUntil(() => TargetOf(machine, guest) == "2048", Hang.Limit), Is.True);
        Assert.That(machine.Machine.MemoryPolicyFailure, Does.Contain("failed in Rebalance").And.Contain(named));
    }

    [Test]
    public void In_virtual_time_targets_come_by_the_machines_clock()
    {
        List<long> at = [];
        ScriptedMemoryPolicy policy = new() { OnPeriod = static () => Nanoseconds.FromMilliseconds(10) };
        using TestMachine machine = TestMachine.StartInVirtualTime(new RoundRobinScheduler(new RoundRobinOptions()), memoryPolicy: policy);
        policy.OnRebalance = _ =>
        {
            at.Add(machine.Machine.Now.Value / 1_000_000);
            return [];
        };
        machine.Machine.RunUntil(Nanoseconds.FromMilliseconds(45));
        Assert.That(at, Is.EqualTo(new[] { 10L, 20, 30, 40 }));
    }

    private static string? TargetOf(HandMachine machine, HandDomain guest) =>
        machine.Machine.StoreClient.Read($"/local/domain/{guest.Id}/memory/target");
}
