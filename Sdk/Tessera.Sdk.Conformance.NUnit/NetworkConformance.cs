using NUnit.Framework;
using Tessera.Sdk.Devices;

namespace Tessera.Sdk.Conformance.Network;

/// <summary>
/// Derive from this, make two backends that reach each other, and get the conformance suite of network backends as NUnit tests.
/// </summary>
/// <example>
/// <code>
/// internal sealed class MyBackendConformance : NetworkConformance
/// {
///     protected override (INetworkBackend One, INetworkBackend Two) NewPair() => (new MyBackend(), new MyBackend());
/// }
/// </code>
/// </example>
public abstract class NetworkConformance
{
    /// <summary>Two backends, not opened, between which frames go.</summary>
    protected abstract (INetworkBackend One, INetworkBackend Two) NewPair();

    /// <summary>Whether everything that is sent arrives at once; false for a backend that loses or delays.</summary>
    protected virtual bool IsPrompt => true;

    /// <summary>The names of the checks: one test each.</summary>
    public static IEnumerable<string> Checks => NetworkSuite.AllChecks.Select(static check => check.Name);

    /// <summary>One check.</summary>
    /// <param name="check">Its name.</param>
    [TestCaseSource(nameof(Checks))]
    public void Conforms(string check) => Verdict.On(new NetworkSuite(GetType().Name, NewPair, IsPrompt), check);
}
