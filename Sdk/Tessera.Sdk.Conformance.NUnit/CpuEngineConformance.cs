using NUnit.Framework;
using Tessera.Sdk.Cpu;

namespace Tessera.Sdk.Conformance.Cpu;

/// <summary>
/// Derive from this, say how the engine is made, and get the conformance suite of CPU engines as NUnit tests: traps and the state they
/// leave, page-table changes, preemption, machines and threads.
/// </summary>
/// <example>
/// <code>
/// [TestFixture]
/// public sealed class MyEngineConformance : CpuEngineConformance
/// {
///     protected override ICpuEngine CreateEngine() => new MyEngine(new MyOptions());
/// }
/// </code>
/// </example>
public abstract class CpuEngineConformance
{
    /// <summary>Makes an engine, one for each test.</summary>
    /// <exception cref="EngineException">This host cannot: the tests are skipped with these words.</exception>
    protected abstract ICpuEngine CreateEngine();

    /// <summary>Makes another engine whose CPUs take this one's captures; null for none: what needs it is skipped.</summary>
    /// <exception cref="EngineException">This host cannot: the tests are skipped with these words.</exception>
    protected virtual ICpuEngine? CreateOtherEngine() => null;

    /// <summary>
    /// Why a check cannot be made here, whatever the plugin does; null for every one that can. Its test is skipped with these words.
    /// </summary>
    /// <param name="check">The check's name.</param>
    protected virtual string? Excuse(string check) => null;

    /// <summary>The names of the checks: one test each.</summary>
    public static IEnumerable<string> Checks => CpuEngineSuite.AllChecks.Select(static check => check.Name);

    /// <summary>One check.</summary>
    /// <param name="check">Its name.</param>
    [TestCaseSource(nameof(Checks))]
    public void Conforms(string check) => Verdict.On(new CpuEngineSuite(GetType().Name, CreateEngine, CreateOtherEngine), check, Excuse);
}
