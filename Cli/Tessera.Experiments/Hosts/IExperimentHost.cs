using Tessera.Sdk.Plugins;

namespace Tessera.Experiments.Hosts;

/// <summary>What experiments need of the process that makes them; a seam, so that tests need no process of their own.</summary>
public interface IExperimentHost
{
    /// <summary>Where progress and complaints go.</summary>
    TextWriter Error { get; }

    /// <summary>Reads the environment.</summary>
    Func<string, string?> Environment { get; }

    /// <summary>Tells which kind of machine the device of that path makes this one.</summary>
    Func<string, KvmState> KvmProbe { get; }

    /// <summary>Real time, and the wish to stop.</summary>
    IRunPacer Pacer { get; }

    /// <summary>Whether the user wants to stop.</summary>
    bool IsStopRequested { get; }

    /// <summary>Called before the first guest of a machine runs.</summary>
    Action BeforeGuests { get; }

    /// <summary>Told by threads what they are for; null leaves them as they are.</summary>
    IThreadDuties? Duties { get; }
}
