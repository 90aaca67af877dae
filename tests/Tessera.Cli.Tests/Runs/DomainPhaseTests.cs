using Tessera.Experiments.Machines;
using Tessera.Experiments.Runs;
using Tessera.Kernel.Domains;

namespace Tessera.Cli.Tests.Runs;

/// <summary>A domain's state in the words of results.</summary>
internal sealed class DomainPhaseTests
{
    [TestCase(DomainState.Created, DomainPhase.Created)]
    [TestCase(DomainState.Running, DomainPhase.Running)]
    [TestCase(DomainState.Paused, DomainPhase.Paused)]
    [TestCase(DomainState.Shutdown, DomainPhase.Shutdown)]
    [TestCase(DomainState.Suspended, DomainPhase.Shutdown)]
    [TestCase(DomainState.Crashed, DomainPhase.Crashed)]
    [TestCase(DomainState.Destroyed, DomainPhase.Destroyed)]
    public void A_state_has_its_phase(DomainState state, DomainPhase phase) => Assert.That(KernelDomain.PhaseOf(state, isRunnable: true), Is.EqualTo(phase));
}
