using Tessera.Experiments.Configuration;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Machines;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Results;
using Tessera.Experiments.Runs;
using Tessera.Lab.Comparisons;
using Tessera.Lab.Metrics;
using Tessera.Lab.Results;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;

namespace Tessera.Experiments.Comparisons;

/// <summary>A run to make.</summary>
/// <param name="Run">Which.</param>
/// <param name="Name">What its folder is called.</param>
/// <param name="Variant">Its configuration.</param>
/// <param name="Simulation">How it is simulated; null on the machine.</param>
/// <param name="Expected">What is to make it.</param>
/// <param name="Changed">What to throw when that has changed, of what has.</param>
/// <param name="ExitCostNs">What a trap costs here, where it was measured.</param>
public sealed record RunOrder(
    PlannedRun Run,
    string Name,
    CompareVariant Variant,
    SimulationSettings? Simulation,
    IReadOnlyDictionary<string, string> Expected,
    Func<string, Exception> Changed,
    double? ExitCostNs = null);

/// <summary>Makes single runs of a comparison, in this process, each with its plugins loaded anew.</summary>
public sealed class ComparisonRunner(IExperimentHost host, ExperimentPlanner planner, IMachineFactory machines, SimulatedMachineFactory simulators, IHostDelay delay, TimeProvider time)
{
    private static readonly Nanoseconds ProgressInterval = Nanoseconds.FromMilliseconds(500);

    /// <summary>What would make a run, looked up now.</summary>
    /// <exception cref="ConfigurationException">It cannot be made.</exception>
    public SortedDictionary<string, string> FingerprintOf(CompareRequest request, CompareVariant variant, HostResources resources, string engine, SimulationSettings? simulation)
    {
        using PreparedExperiment prepared = planner.Prepare(variant.Load(request.Config, resources));
        return Fingerprint.Of(prepared, engine, simulation, request.Models);
    }

    /// <summary>Makes a run and keeps it.</summary>
    /// <param name="request">The comparison.</param>
    /// <param name="order">Which run, and what is to make it.</param>
    /// <param name="resources">What the host offers.</param>
    /// <param name="store">Where it goes.</param>
    /// <param name="hostCan">Whether this host has made such a run before: then the engine's failure is that of this run only.</param>
    /// <param name="progress">Told how much of it is over.</param>
    /// <returns>The run; null when the user wants to stop.</returns>
    /// <exception cref="EngineException">This host cannot.</exception>
    /// <exception cref="Exception">What makes it has changed: <see cref="RunOrder.Changed"/>.</exception>
    public RunRow? Make(
        CompareRequest request, RunOrder order, HostResources resources, RunStore store, bool hostCan, Action<double> progress)
    {
        long began = time.GetTimestamp();
        DateTimeOffset startedAt = time.GetUtcNow();
        using PreparedExperiment prepared = planner.Prepare(order.Variant.Load(request.Config, resources));
        IReadOnlyDictionary<string, string> now = Fingerprint.Of(prepared, order.Run.Engine, order.Simulation, request.Models);
        string[] changed = [.. Fingerprint.Differences(order.Expected, now)];
        if (changed.Length > 0)
            throw order.Changed(string.Join(", ", changed));
        string folder = store.Begin();
        bool isKept = false;
        try
        {
            RunRow? row = Measure(request, order, prepared, folder, startedAt, hostCan, progress);
            if (row is null)
                return null;
            row = row with { WallSeconds = time.GetElapsedTime(began).TotalSeconds };
            StoredRun kept = store.Finish(folder, order.Name, new StoredRun(StoredRun.Format, order.Expected, row));
            isKept = true;
            return kept.Row with { Place = order.Run.Place };
        }
        finally
        {
            if (!isKept)
                store.Drop(folder);
        }
    }

    private RunRow? Measure(
        CompareRequest request,
        RunOrder order,
        PreparedExperiment prepared,
        string folder,
        DateTimeOffset startedAt,
        bool hostCan,
        Action<double> progress)
    {
        (PlannedRun run, SimulationSettings? simulation) = (order.Run, order.Simulation);
        string engine = simulation is null ? prepared.Plugins.Engine.Plugin.Info.Name : ComparisonEngines.Simulated;
        RunRow row = new()
        {
            Folder = folder,
            Place = run.Place,
            Repetition = run.Repetition,
            Engine = run.Engine,
            Scheduler = run.Scheduler,
            Cell = run.Cell,
            Outcome = "failed",
            Failures = [],
            IsVirtual = simulation is not null || prepared.Experiment.Machine.Time == MachineTime.Virtual,
            StartedAt = startedAt,
            WallSeconds = 0,
            Metrics = new Dictionary<string, double>(),
            Groups = [],
            Host = new RunHost(HostFactsReader.Name(host), HostFactsReader.Read().Cpu, engine, order.ExitCostNs),
        };
        try
        {
            using IRunMachine machine = simulation is null ? machines.Create(prepared) : simulators.Create(prepared, simulation);
            RunPlan plan = prepared.Plan with { RecordedEvents = RunPlan.MostRecordedEvents };
            string path = Path.Combine(request.Output, folder);
            RunSession session = new(machine, plan, machine as IRunPacer ?? host.Pacer, ProgressInterval, at => progress(PartOf(at)), null, machine is IRunPacer ? null : delay);
            RunRecord record;
            using (new ConsoleFiles(path, session.Consoles, plan.ConsoleLimit.Bytes))
                record = session.Run();
            if (record.Outcome == RunOutcome.Interrupted)
                return null;
            ResultDocument result = ResultBuilder.Build(record, prepared, machine, prepared.Plugins.Scheduler.Plugin.Info, startedAt);
            if (RunFiles.Write(path, prepared, request.KeepSchedules ? record : record with { Recording = null }, result) is { } unwritten)
                return row with { Failures = [unwritten] };
            RunMetrics? metrics = record.Recording is { } recording ? RunMetrics.Of(recording) : null;
            return row with
            {
                Outcome = result.Outcome == RunOutcome.Completed ? "completed" : "failed",
                Failures = result.Failures,
                Metrics = MetricCatalogue.ValuesOf(new MeasuredRun(result, metrics)),
                Groups = Groups(prepared, metrics, result, simulation?.Models ?? []),
            };
        }
        catch (OperationCanceledException) when (host.IsStopRequested)
        {
            return null;
        }
        catch (Exception e) when (e is not (UsageException or OperationCanceledException or OutOfMemoryException) && (hostCan || e is not EngineException))
        {
            // One run's misfortune, whatever it is, must not cost the others.
            return row with { Failures = [e.Message] };
        }
    }

    /// <summary>What each item of the configuration got.</summary>
    private static IReadOnlyList<GroupFigures> Groups(
        PreparedExperiment prepared, RunMetrics? metrics, ResultDocument result, IReadOnlyList<WorkloadModel> models) =>
    [
        .. prepared.Experiment.Domains.Select((item, group) =>
        {
            int[] members = [.. prepared.Plan.Domains.Index().Where(domain => domain.Item.Group == group).Select(domain => domain.Index)];
            DomainResult[] domains = [.. members.Select(index => result.Domains[index])];
            DomainMetrics[]? recorded = metrics is null ? null : [.. members.Select(index => metrics.Domains[index])];
            bool isModelled = models.Any(model => model.Domain == item.Name || domains.Any(domain => domain.Name == model.Domain));
            return GroupFigures.Of(item.Name, isModelled, domains, recorded);
        }),
    ];

    private static double PartOf(RunProgress progress) =>
        !progress.IsMeasuring || progress.Total == Nanoseconds.Never ? 0 : Math.Clamp(progress.Elapsed.Value / (double)Math.Max(1, progress.Total.Value), 0, 1);
}
