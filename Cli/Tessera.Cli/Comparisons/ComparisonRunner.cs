using Tessera.Cli.Composition;
using Tessera.Cli.Configuration;
using Tessera.Cli.Results;
using Tessera.Cli.Runs;
using Tessera.Cli.Verbs;
using Tessera.Lab.Comparisons;
using Tessera.Lab.Metrics;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;

namespace Tessera.Cli.Comparisons;

/// <summary>Makes single runs of a comparison, in this process, each with its plugins loaded anew.</summary>
internal sealed class ComparisonRunner(CliHost host, ExperimentPlanner planner, IMachineFactory machines, SimulatedMachineFactory simulators, IHostDelay delay, TimeProvider time)
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
    /// <param name="run">Which run.</param>
    /// <param name="variant">Its configuration.</param>
    /// <param name="resources">What the host offers.</param>
    /// <param name="simulation">How it is simulated; null on the machine.</param>
    /// <param name="expected">What is to make it.</param>
    /// <param name="store">Where it goes.</param>
    /// <param name="hostCan">Whether this host has made such a run before: then the engine's failure is that of this run only.</param>
    /// <param name="progress">Told how much of it is over.</param>
    /// <returns>The run; null when the user wants to stop.</returns>
    /// <exception cref="EngineException">This host cannot.</exception>
    /// <exception cref="FailedException">What makes it has changed since the comparison began.</exception>
    public RunRow? Make(
        CompareRequest request,
        PlannedRun run,
        CompareVariant variant,
        HostResources resources,
        SimulationSettings? simulation,
        IReadOnlyDictionary<string, string> expected,
        RunStore store,
        bool hostCan,
        Action<double> progress)
    {
        long began = time.GetTimestamp();
        DateTimeOffset startedAt = time.GetUtcNow();
        using PreparedExperiment prepared = planner.Prepare(variant.Load(request.Config, resources));
        string[] changed = [.. Fingerprint.Differences(expected, Fingerprint.Of(prepared, run.Engine, simulation, request.Models))];
        if (changed.Length > 0)
            throw new FailedException($"{string.Join(", ", changed)} changed while the comparison ran; it stops before run {run.Place}, and the runs so far are kept. Undo the change and give the same command again, or start over with --restart.");
        string folder = store.Begin(run);
        RunRow? row = null;
        try
        {
            row = Measure(request, run, prepared, simulation, folder, startedAt, hostCan, progress);
            if (row is null)
                return null;
            row = row with { WallSeconds = time.GetElapsedTime(began).TotalSeconds };
            store.Finish(new StoredRun(StoredRun.Format, expected, row));
            return row;
        }
        finally
        {
            if (row is null)
                store.Drop(folder);
        }
    }

    private RunRow? Measure(
        CompareRequest request,
        PlannedRun run,
        PreparedExperiment prepared,
        SimulationSettings? simulation,
        string folder,
        DateTimeOffset startedAt,
        bool hostCan,
        Action<double> progress)
    {
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
            StartedAt = startedAt,
            WallSeconds = 0,
            Metrics = new Dictionary<string, double>(),
            Groups = [],
        };
        try
        {
            using IRunMachine machine = simulation is null ? machines.Create(prepared) : simulators.Create(prepared, simulation);
            RunPlan plan = prepared.Plan with { RecordedEvents = RunCommand.RecordedEvents };
            string path = Path.Combine(request.Output, folder);
            RunSession session = new(machine, plan, machine as IRunPacer ?? host.Pacer, ProgressInterval, at => progress(PartOf(at)), null, machine is IRunPacer ? null : delay);
            RunRecord record;
            using (new ConsoleFiles(path, session.Consoles, plan.ConsoleLimit.Bytes))
                record = session.Run();
            if (record.Outcome == RunOutcome.Interrupted)
                return null;
            ResultDocument result = ResultBuilder.Build(record, prepared, machine, prepared.Plugins.Scheduler.Plugin.Info, startedAt);
            if (RunFiles.Write(path, prepared, request.KeepSchedules ? record : record with { Recording = null }, result) is { } unwritten)
                return row with { Failures = [$"{path}: {unwritten}"] };
            RunMetrics? metrics = record.Recording is { } recording ? RunMetrics.Of(recording) : null;
            return row with
            {
                Outcome = result.Outcome == RunOutcome.Completed ? "completed" : "failed",
                Failures = result.Failures,
                Metrics = RunFigures.Metrics(metrics, result),
                Groups = RunFigures.Groups(prepared, metrics, result, simulation?.Models ?? []),
            };
        }
        catch (OperationCanceledException) when (host.Stop.IsRequested)
        {
            return null;
        }
        catch (Exception e) when (e is not (UsageException or OperationCanceledException or OutOfMemoryException) && (hostCan || e is not EngineException))
        {
            // One run's misfortune, whatever it is, must not cost the others.
            return row with { Failures = [e.Message] };
        }
    }

    private static double PartOf(RunProgress progress) =>
        !progress.IsMeasuring || progress.Total == Nanoseconds.Never ? 0 : Math.Clamp(progress.Elapsed.Value / (double)Math.Max(1, progress.Total.Value), 0, 1);
}
