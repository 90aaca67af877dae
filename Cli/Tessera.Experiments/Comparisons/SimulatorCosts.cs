using System.Text.Json;
using Tessera.Experiments.Configuration;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Machines;
using Tessera.Experiments.Planning;
using Tessera.Lab.Comparisons;
using Tessera.Lab.Folders;
using Tessera.Lab.Metrics;

namespace Tessera.Experiments.Comparisons;

/// <summary>What switches and wakes cost in a comparison's simulator.</summary>
public sealed class SimulatorCosts(Calibration calibration, IExperimentHost host, HostResources resources)
{
    private const string CostsFile = "calibration.json";

    /// <summary>Forgets what was measured for a folder.</summary>
    public static void Forget(UntrustedFolder files) => files.RemoveFile(CostsFile);

    /// <summary>
    /// The costs given; what is not given is measured once and kept with the comparison, or nothing where only the simulator runs.
    /// </summary>
    /// <param name="request">What was asked for.</param>
    /// <param name="configured">The configuration before anything is varied.</param>
    /// <param name="files">The comparison's folder, where measured costs are kept.</param>
    /// <returns>The costs; null where nothing is simulated.</returns>
    /// <exception cref="UsageException">The folder's costs are none.</exception>
    /// <exception cref="FailedException">They cannot be measured.</exception>
    public SimulationCosts? Of(CompareRequest request, Experiment configured, UntrustedFolder files)
    {
        if (!request.Engines.Contains(ComparisonEngines.Simulated))
            return null;
        foreach (string line in SimulatorLimits.LeftOut(configured))
            host.Error.WriteLine($"tessera: {line}");
        long usual = new SimulationSettings().BeatWork.Value;
        if (request is { SwitchCost: { } switches, WakeCost: { } wakes })
            return new SimulationCosts(switches.Value, wakes.Value, usual, "given");
        if (request.SimulateOnly)
        {
            string source = request.SwitchCost is null && request.WakeCost is null ? "none" : "given";
            return new SimulationCosts(request.SwitchCost?.Value ?? 0, request.WakeCost?.Value ?? 0, usual, source);
        }

        SimulationCosts measured;
        if (files.HasFile(CostsFile) && ReadCosts(files) is { WithheldPercent: not >= HostLoad.StarvedPercent } known)
        {
            measured = known;
        }
        else
        {
            if (!request.Quiet)
                host.Error.WriteLine("tessera: measuring what a switch and a wake cost on this machine…");
            measured = calibration.Measure(configured, resources);
            files.WriteText(CostsFile, JsonSerializer.Serialize(measured, StoredRunJson.Context.SimulationCosts) + "\n");
        }

        return measured with
        {
            SwitchNs = request.SwitchCost?.Value ?? measured.SwitchNs,
            WakeNs = request.WakeCost?.Value ?? measured.WakeNs,
        };
    }

    private static SimulationCosts ReadCosts(UntrustedFolder files)
    {
        try
        {
            if (JsonSerializer.Deserialize(files.ReadBytes(CostsFile), StoredRunJson.Context.SimulationCosts)
                is { SwitchNs: >= 0, WakeNs: >= 0, BeatNs: >= 0 } costs)
                return costs;
        }
        catch (JsonException)
        {
            // Said below.
        }

        throw new UsageException(
            $"{Path.Combine(files.Path, CostsFile)}: these are not the simulator's costs. Remove the file, and they are measured again.");
    }
}
