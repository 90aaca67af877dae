using Tessera.Sdk.Cpu;

namespace Tessera.Engine.Kvm.Tests;

[TestFixture]
internal sealed class FactsTests : EngineFixture
{
    [Test]
    public void The_findings_name_what_was_probed()
    {
        foreach (EngineFinding finding in Engine.Facts.Findings)
            TestContext.Out.WriteLine($"{finding.Probe}: {finding.Finding} [{finding.Consequence}]");
        TestContext.Out.WriteLine(Engine.Facts.Strategy);
        Assert.That(Engine.Facts.Findings, Has.Count.GreaterThan(5));
        Assert.That(Engine.Facts.FreeSlots, Is.Not.Empty);
    }

    [Test]
    public void Every_trap_kind_has_a_cost()
    {
        IReadOnlyList<TrapCost> costs = Engine.MeasureTrapCosts();
        foreach (TrapCost cost in costs)
            TestContext.Out.WriteLine($"{cost.Trap}: median {cost.MedianNs / 1000:0.0} µs, min {cost.MinNs / 1000:0.0} µs, {cost.Samples}");
        Assert.That(costs, Has.All.Matches<TrapCost>(cost => cost.MinNs > 0 && cost.MedianNs >= cost.MinNs));
    }
}
