using Tessera.Experiments.Planning;
using Tessera.Experiments.Runs;

namespace Tessera.Experiments.Machines;

/// <summary>Makes machines; the kernel's, or a test's.</summary>
public interface IMachineFactory
{
    /// <summary>These plugins will make a machine soon: what takes long may begin meanwhile.</summary>
    void Begin(PluginSet plugins)
    {
    }

    /// <summary>A machine for a prepared experiment.</summary>
    /// <exception cref="Tessera.Sdk.Cpu.EngineException">This host cannot.</exception>
    IRunMachine Create(PreparedExperiment prepared);
}
