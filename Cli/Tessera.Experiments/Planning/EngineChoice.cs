using Tessera.Experiments.Configuration;
using Tessera.Experiments.Hosts;

namespace Tessera.Experiments.Planning;

/// <summary>Which engine "auto" means: KVM where this user can use it, translation elsewhere and in virtual time, which is counted work.</summary>
public sealed class EngineChoice(IExperimentHost host)
{
    private bool _isSaid;

    /// <summary>The engine that was looked up last is KVM's: what fails then may be its device.</summary>
    public bool IsKvm { get; private set; }

    /// <summary>An engine's name or path, with "auto" looked up.</summary>
    public string Resolve(string engine, bool isTimeVirtual = false)
    {
        string resolved = engine != MachineSettings.Auto ? engine
            : !isTimeVirtual && KvmPresence.Of(host) is KvmState.Usable ? KvmPresence.Engine
            : KvmPresence.EngineWithout;
        IsKvm = resolved == KvmPresence.Engine;
        return resolved;
    }

    /// <summary>The experiment with its engine looked up.</summary>
    public Experiment Resolve(Experiment experiment)
    {
        MachineSettings machine = experiment.Machine;
        string name = Resolve(machine.Engine, machine.VirtualTime is not null);
        return name == machine.Engine ? experiment : experiment with { Machine = machine with { Engine = name, IsEngineChosen = true } };
    }

    /// <summary>Says, once, that a machine takes another engine than KVM for want of it.</summary>
    public void Say(Experiment experiment)
    {
        if (_isSaid || experiment.Machine is not { IsEngineChosen: true, VirtualTime: null, Engine: not KvmPresence.Engine })
            return;
        _isSaid = true;
        string why = KvmPresence.Of(host) is KvmState.Forbidden ? "may not be used by this user" : "is not there";
        host.Error.WriteLine($"tessera: {KvmPresence.Device(host)} {why}, so guests run on the engine {KvmPresence.EngineWithout}, which translates their code (docs/engines.md).");
    }
}
