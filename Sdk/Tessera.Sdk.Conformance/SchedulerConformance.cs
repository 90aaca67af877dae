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
    public static IEnumerable<string> Checks => ConformanceSuite.Checks.Select(static check => check.Name);

    /// <summary>One check.</summary>
    /// <param name="check">Its name.</param>
    [TestCaseSource(nameof(Checks))]
    public void Conforms(string check)
    {
        CheckResult result = new ConformanceSuite(Create, Declaration, Options).RunCheck(check);
        TestContext.Out.WriteLine(result.Outcome == CheckOutcome.NotDeclared ? "not declared" : result.Detail);
        if (result.Outcome != CheckOutcome.Failed)
            return;
        if (result.Scenario is not { } scenario)
        {
            Assert.Fail(result.Detail);
            return;
        }

        string file = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"{Declaration.Name}-{check}.scenario");
        File.WriteAllText(file, scenario.ToString());
        Assert.Fail($"{result.Detail}\nThe smallest scenario that shows it, also in {file}:\n{scenario}");
    }
}
