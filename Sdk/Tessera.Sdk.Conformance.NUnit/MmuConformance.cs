using NUnit.Framework;
using Tessera.Sdk.Memory;

namespace Tessera.Sdk.Conformance.Memory;

/// <summary>Derive from this, say how the MMU virtualization is made, and get the conformance suite of MMUs as NUnit tests.</summary>
/// <example>
/// <code>
/// [TestFixture]
/// public sealed class MyMmuConformance : MmuConformance
/// {
///     protected override IMmuVirtualization Create() => new MyMmu();
/// }
/// </code>
/// </example>
public abstract class MmuConformance
{
    /// <summary>Makes the MMU of a machine; called many times.</summary>
    protected abstract IMmuVirtualization Create();

    /// <summary>How thorough to be; only the random guests and their length count.</summary>
    protected virtual ConformanceOptions Options => new();

    /// <summary>The names of the checks: one test each.</summary>
    public static IEnumerable<string> Checks => MmuSuite.AllChecks.Select(static check => check.Name);

    /// <summary>One check.</summary>
    /// <param name="check">Its name.</param>
    [TestCaseSource(nameof(Checks))]
    public void Conforms(string check) => Verdict.On(new MmuSuite(GetType().Name, Create, Options), check);
}
