using NUnit.Framework;
using Tessera.Sdk.Scheduling;

namespace Tessera.Sdk.Conformance;

/// <summary>
/// Derive from this, say how to make the policy, and get the conformance suite as NUnit tests. A failing random check writes the
/// smallest failing scenario into a file beside the tests and names it; `tessera plugins check PLUGIN --replay FILE` carries it out.
/// </summary>
/// <example>
/// <code>
/// [TestFixture]
/// public sealed class MyPolicyConformance : SchedulerConformance
/// {
///     protected override IScheduler Create() => new MyPolicy(new MyOptions());
/// }
/// </code>
/// </example>
public abstract class SchedulerConformance
{
    /// <summary>Makes the policy; called many times, each time for a machine of its own.</summary>
    protected abstract IScheduler Create();

    /// <summary>What the policy promises; by default what <see cref="SchedulerPropertiesAttribute"/> on its class says.</summary>
    protected virtual SchedulerDeclaration Declaration => SchedulerDeclaration.Of(Create().GetType());

    /// <summary>How thorough to be.</summary>
    protected virtual ConformanceOptions Options => new();

    /// <summary>The names of the checks: one test each.</summary>
    public static IEnumerable<string> Checks => SchedulerSuite.AllChecks.Select(static check => check.Name);

    /// <summary>One check.</summary>
    /// <param name="check">Its name.</param>
    [TestCaseSource(nameof(Checks))]
    public void Conforms(string check) => Verdict.On(new SchedulerSuite(Create, Declaration, Options), check);
}
