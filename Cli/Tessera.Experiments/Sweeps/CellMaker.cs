using Tessera.Experiments.Comparisons;
using Tessera.Experiments.Configuration;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Planning;
using Tessera.Lab.Comparisons;
using Tessera.Sdk.Cpu;

namespace Tessera.Experiments.Sweeps;

/// <summary>Makes single cells of a sweep, in this process, each on host CPUs that it may have.</summary>
public sealed class CellMaker(
    ComparisonRunner runner, ExperimentPlanner planner, EngineChoice engines, IExperimentHost host, HostResources resources,
    IServiceProvider services)
{
    private readonly HashSet<string> _madeOn = [];
    private readonly Dictionary<string, double?> _exitCosts = [];

    /// <summary>Makes a cell, unless it is there when its turn comes.</summary>
    /// <param name="plan">The sweep.</param>
    /// <param name="cell">The cell.</param>
    /// <param name="folder">The sweep's folder.</param>
    /// <param name="store">Its runs.</param>
    /// <param name="locks">Who has which host CPU.</param>
    /// <param name="progress">Told how much of it is over.</param>
    /// <returns>The run; null when the user wants to stop.</returns>
    /// <exception cref="EngineException">This host cannot.</exception>
    /// <exception cref="UsageException">It would be made by something else than is planned.</exception>
    public RunRow? Make(SweepPlan plan, SweepCell cell, string folder, RunStore store, HostCpuLocks locks, Action<double> progress)
    {
        CompareVariant variant = plan.VariantOf(plan.Variants[cell.Variant]);
        CompareRequest request = plan.Request(folder);
        Experiment experiment = variant.Load(request.Config, resources);
        bool isAlone = cell.Engine == ComparisonEngines.Machine && experiment.Machine.VirtualTime is null;
        using IDisposable? cpus = locks.Take(isAlone ? experiment.Machine.HostCpus : resources.Cpus, isAlone, () => host.IsStopRequested);
        if (cpus is null)
            return null;
        if (Find(cell, store) is { } there)
            return SweepState.RowOf(plan, cell, there);
        double? exitCost = cell.Engine == ComparisonEngines.Machine ? ExitCost(experiment) : null;
        RunOrder order = new(
            plan.RunOf(cell),
            cell.Name,
            variant,
            plan.SimulationOf(request, cell),
            cell.Content,
            changed => Changed(folder, cell, changed),
            exitCost);
        RunRow? row = runner.Make(request, order, resources, store, _madeOn.Contains(cell.Engine), progress);
        if (row is { Outcome: "completed" })
            _madeOn.Add(cell.Engine);
        return row;
    }

    // What a comparison made is not asked for anew: it would have been there before.
    private static RunRow? Find(SweepCell cell, RunStore store) =>
        store.Find(cell.Name) is { Row.Outcome: "completed" } stored && SweepState.IsOf(cell, stored) ? stored.Row : null;

    private static UsageException Changed(string folder, SweepCell cell, string parts) => new(
        $"{folder}, cell {cell.Number}: on this host it would be made by something else than is planned: {parts}. "
        + "Give this host the files, the options and the build of Tessera of the plan, or plan again.");

    /// <summary>The median of the cheapest trap, measured once for an engine; null where it cannot be.</summary>
    private double? ExitCost(Experiment experiment)
    {
        string name = engines.Resolve(experiment).Machine.Engine;
        if (_exitCosts.TryGetValue(name, out double? known))
            return known;
        double? cost = null;
        try
        {
            using PreparedExperiment prepared = planner.Prepare(experiment);
            using ICpuEngine engine = prepared.Plugins.Engine.Create<ICpuEngine>(services);
            if (engine is ITrapCostMeter meter && meter.MeasureTrapCosts() is { Count: > 0 } costs)
                cost = costs.Min(each => each.MedianNs);
        }
        catch (EngineException)
        {
            // The run itself says why this host cannot.
        }

        return _exitCosts[name] = cost;
    }
}
