using System.Text.Json;
using Tessera.Experiments.Configuration;

namespace Tessera.Experiments.Planning;

/// <summary>An experiment with everything looked up: ready for a machine.</summary>
public sealed record PreparedExperiment : IDisposable
{
    /// <summary>What was configured, with the engine that "auto" means here.</summary>
    public required Experiment Experiment { get; init; }

    /// <summary>The plugins.</summary>
    public required PluginSet Plugins { get; init; }

    /// <summary>The plugins of its devices.</summary>
    public required DevicePlugins Devices { get; init; }

    /// <summary>What to run.</summary>
    public required RunPlan Plan { get; init; }

    /// <summary>The configuration with nothing left to defaults.</summary>
    public required JsonElement Resolved { get; init; }

    /// <summary>What of a run in virtual time is kept or given again; null for nothing.</summary>
    public RecordingFiles? Recording { get; init; }

    /// <inheritdoc/>
    public void Dispose()
    {
        Plugins.Dispose();
        Devices.Dispose();
    }
}
