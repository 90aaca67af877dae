using NUnit.Framework;

namespace Tessera.Sdk.Conformance.Block;

/// <summary>
/// Derive from this, say where a backend stores a small disk, and get the conformance suite of block backends as NUnit tests: random
/// operations beside a model, the smallest failing case printed with its seed.
/// </summary>
/// <example>
/// <code>
/// [TestFixture]
/// public sealed class MyBackendConformance : BlockConformance
/// {
///     protected override BlockStorage NewStorage() => new VolatileBlockStorage(() => new MyBackend(new MyOptions()));
/// }
/// </code>
/// </example>
public abstract class BlockConformance
{
    /// <summary>A new place for a disk.</summary>
    protected abstract BlockStorage NewStorage();

    /// <summary>How thorough to be; only the cases and their length count.</summary>
    protected virtual ConformanceOptions Options => BlockSuite.Usual;

    /// <summary>
    /// Why a check cannot be made here, whatever the plugin does; null for every one that can. Its test is skipped with these words.
    /// </summary>
    /// <param name="check">The check's name.</param>
    protected virtual string? Excuse(string check) => null;

    /// <summary>The names of the checks: one test each.</summary>
    public static IEnumerable<string> Checks => BlockSuite.AllChecks.Select(static check => check.Name);

    /// <summary>One check.</summary>
    /// <param name="check">Its name.</param>
    [TestCaseSource(nameof(Checks))]
    public void Conforms(string check) => Verdict.On(new BlockSuite(GetType().Name, NewStorage, Options), check, Excuse);
}
