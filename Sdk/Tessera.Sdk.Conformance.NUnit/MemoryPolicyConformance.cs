using NUnit.Framework;
using Tessera.Sdk.Memory;

namespace Tessera.Sdk.Conformance.Memory;

/// <summary>Derive from this, say how the policy is made, and get the conformance suite of memory policies as NUnit tests.</summary>
/// <example>
/// <code>
/// [TestFixture]
/// public sealed class MyPolicyConformance : MemoryPolicyConformance
/// {
///     protected override IMemoryPolicy Create() => new MyPolicy();
/// }
/// </code>
/// </example>
public abstract class MemoryPolicyConformance
{
    /// <summary>Makes the policy of a machine; called many times.</summary>
    protected abstract IMemoryPolicy Create();

    /// <summary>How thorough to be; only the random machines and their length count.</summary>
    protected virtual ConformanceOptions Options => new();

    /// <summary>The names of the checks: one test each.</summary>
    public static IEnumerable<string> Checks => MemoryPolicySuite.AllChecks.Select(static check => check.Name);

    /// <summary>One check.</summary>
    /// <param name="check">Its name.</param>
    [TestCaseSource(nameof(Checks))]
    public void Conforms(string check) => Verdict.On(new MemoryPolicySuite(GetType().Name, Create, Options), check);
}
