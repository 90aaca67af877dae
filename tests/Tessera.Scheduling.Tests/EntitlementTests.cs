using Tessera.Plugins.Schedulers.Credit;
using Tessera.Plugins.Schedulers.Credit2;
using Tessera.Plugins.Schedulers.Rtds;
using Tessera.Plugins.Schedulers.Sedf;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;
using Tessera.Sdk.Simulation;

namespace Tessera.Scheduling.Tests;

/// <summary>Waiting that a cap, a budget or others' reservations demand is nobody's starvation; a policy that claims so for ever is caught.</summary>
public sealed class EntitlementTests
{
    /// <summary>A policy, the options of a vCPU that it keeps waiting, and those of the hog beside it.</summary>
    private static IEnumerable<TestCaseData> Waiting()
    {
        yield return Case("rtds, 5 s in 60 s", Policies.Rtds, Server(5, 60), null);
        yield return Case("rtds, 5 s in 60 s behind 50 s in 59 s", Policies.Rtds, Server(5, 60), Server(50, 59));
        yield return Case("sedf, 5 s in 10 s behind 400 ms in 1 s", Policies.Sedf, Slice(5_000, 10_000), Slice(400, 1_000));
        yield return Case("sedf, best effort beside a whole CPU reserved", Policies.Sedf, null, Slice(100, 100));
        yield return Case("credit, cap 1, time slice 1 s", static () => Policies.Credit(new() { Timeslice = Nanoseconds.FromSeconds(1) }), new CreditDomainOptions { Cap = 1 }, null);
        yield return Case("credit, cap 1", static () => Policies.Credit(), new CreditDomainOptions { Cap = 1 }, null);
        yield return Case("credit2, cap 1", static () => Policies.Credit2(), new Credit2DomainOptions { Cap = 1 }, null);

        static TestCaseData Case(string name, Func<IScheduler> policy, object? waits, object? hog) => new TestCaseData(policy, waits, hog).SetArgDisplayNames(name);
    }

    [TestCaseSource(nameof(Waiting))]
    public void A_policy_that_keeps_caps_and_budgets_stays_in_charge(Func<IScheduler> policy, object? waits, object? hog)
    {
        VirtualMachine machine = new(policy());
        machine.Start(1, new CpuBoundWorkload(), options: waits);
        machine.Start(2, new CpuBoundWorkload(), options: hog);
        machine.RunUntil(Nanoseconds.FromSeconds(1_200));
        Assert.That(machine.Core.Ejections, Is.Empty);
    }

    [Test]
    public void One_that_claims_that_nothing_is_owed_is_caught_when_the_excuse_is_used_up()
    {
        // It starves d2 and says that all of the CPU is reserved for d1.
        BentScheduler liar = new(Policies.RoundRobin())
        {
            OnSchedule = static (_, decision) => decision.Vcpu is { Id.Domain.Value: 2 } ? new Decision(null, default) : decision,
            OnEntitlement = static vcpu => vcpu.Id.Domain.Value == 1 ? new(0, 1, 1, Nanoseconds.FromSeconds(1)) : Entitlement.ByWeight(vcpu.Domain.Weight),
        };
        VirtualMachine machine = new(liar);
        machine.Start(1, new CpuBoundWorkload());
        machine.Start(2, new CpuBoundWorkload());
        machine.RunUntil(Nanoseconds.FromSeconds(3_000));
        Assert.That(machine.Core.Ejections, Is.Empty);
        machine.RunUntil(Nanoseconds.FromSeconds(7_500));
        Assert.That(machine.Core.Ejections.Single().Reason, Is.EqualTo(EjectionReason.Starved));
    }

    [Test]
    public void One_that_starves_who_has_a_budget_is_caught_as_soon_as_the_budget_explains_no_more()
    {
        BentScheduler broken = new(Policies.Rtds()) { OnSchedule = static (_, decision) => decision.Vcpu is { Id.Domain.Value: 1 } ? Decision.Idle : decision };
        VirtualMachine machine = new(broken);
        machine.Start(1, new CpuBoundWorkload(), options: Server(5, 60));
        machine.RunUntil(Nanoseconds.FromSeconds(100));
        Assert.That(machine.Core.Ejections, Is.Empty);
        machine.RunUntil(Nanoseconds.FromSeconds(300));
        Assert.That(machine.Core.Ejections.Single().Reason, Is.EqualTo(EjectionReason.Starved));
    }

    [TestCase(-1, 0, 1, "has the weight -1")]
    [TestCase(double.NaN, 0, 1, "has the weight NaN")]
    [TestCase(1, 1.5, 1, "reserves 1.5")]
    [TestCase(1, 0, 0, "has the limit 0")]
    [TestCase(0, 0, 1, "is nothing at all")]
    public void An_entitlement_that_is_none_is_nonsense(double weight, double reserved, double limit, string evidence)
    {
        BentScheduler broken = new(Policies.RoundRobin()) { OnEntitlement = _ => new(weight, reserved, limit, Nanoseconds.Zero) };
        HandMachine machine = new(broken, 1);
        machine.Start(1);
        Assert.That(machine.Core.Ejections.Single(), Has.Property(nameof(Ejection.Reason)).EqualTo(EjectionReason.Nonsense));
        Assert.That(machine.Core.Ejections.Single().Evidence, Is.EqualTo($"its entitlement of d1v0 {evidence}").Or.StartsWith($"its entitlement of d1v0 {evidence} ").Or.StartsWith($"its entitlement of d1v0 {evidence}:"));
    }

    [Test]
    public void What_is_owed_follows_the_parameters()
    {
        HandMachine machine = new(Policies.Rtds(), 1);
        SchedulableVcpu vcpu = machine.Start(1);
        Assert.That(machine.Core.EntitlementOf(vcpu), Is.EqualTo(new Entitlement(0.4, 0.4, 1, Nanoseconds.FromMilliseconds(10))));
        machine.Core.Adjust(vcpu.Domain, null, Server(5, 50), null, machine.Now);
        Assert.That(machine.Core.EntitlementOf(vcpu), Is.EqualTo(new Entitlement(0, 0.1, 0.1, Nanoseconds.FromSeconds(50))));
        machine.Core.SwapPolicy(Policies.Bvt(), "bvt", null, machine.Now);
        Assert.That(machine.Core.EntitlementOf(vcpu), Is.EqualTo(Entitlement.ByWeight(256)));
    }

    private static RtdsDomainOptions Server(int budgetSeconds, int periodSeconds) => new()
    {
        Budget = Nanoseconds.FromSeconds(budgetSeconds),
        Period = Nanoseconds.FromSeconds(periodSeconds),
        ExtraTime = false,
    };

    private static SedfDomainOptions Slice(int slice, int period) => new()
    {
        Slice = Nanoseconds.FromMilliseconds(slice),
        Period = Nanoseconds.FromMilliseconds(period),
        ExtraTime = false,
    };
}
