using Tessera.Cli.Runs;

namespace Tessera.Cli.Composition;

/// <summary>The kernel's machines.</summary>
internal sealed class KernelMachineFactory : IMachineFactory
{
    /// <inheritdoc/>
    public IRunMachine Create(PreparedExperiment prepared) => throw new FailedException("not wired");
}
