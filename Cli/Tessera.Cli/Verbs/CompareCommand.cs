using System.Text.Json;
using Tessera.Cli.Terminal;
using Tessera.Cli.Views;
using Tessera.Experiments;
using Tessera.Experiments.Comparisons;
using Tessera.Experiments.Configuration;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Machines;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Results;
using Tessera.Hosting;
using Tessera.Lab;
using Tessera.Lab.Comparisons;
using Tessera.Lab.Folders;
using Tessera.Lab.Metrics;

namespace Tessera.Cli.Verbs;

/// <summary>What `compare` does: checks everything, makes the runs that are not there yet, and says what they come to.</summary>
internal sealed class CompareCommand(
    CliHost host, ExperimentPlanner planner, IMachineFactory machines, ComparisonRunner runner, IHostDelay delay, TimeProvider time, HostResources resources)
{
    private const string CostsFile = "calibration.json";

    /// <summary>Makes or goes on with a comparison.</summary>
    /// <returns>The exit code.</returns>
    public int Run(CompareRequest request)
    {
        Experiment configured = ConfigurationLoader.Load(request.Config, request.Edits, resources, engine: request.Engine);
        if (request.Factors.GroupBy(factor => factor.Path).FirstOrDefault(same => same.Count() > 1) is { } twice)
            throw new UsageException($"--vary {twice.Key}: it is given twice; give all its values at once.");
        CheckMetrics(request, configured);
        IReadOnlyList<CompareVariant> variants = new VariantPlanner(host, planner, resources).Plan(request, configured);
        string[] labels = [.. variants.Select(variant => variant.Label).Distinct()];
        IReadOnlyList<FactorValue>[] cells = [.. variants.Select(variant => variant.Cell).DistinctBy(FactorialDesign.Title)];
        if (request.Plan)
        {
            ShowPlan(request, configured, variants);
            return ExitCode.Good;
        }

        SayWhetherRunsSuffice(request, variants);
        using OutputFolder output = OutputFolder.ForComparison(request.Output);
        host.CheckFolder(request.Output);
        UntrustedFolder files = new(request.Output);
        RunStore store = new(files);
        if (request.Restart)
        {
            store.Clear();
            files.RemoveFile(CostsFile);
        }

        SimulationCosts? costs = null;
        if (request.Engines.Contains(ComparisonEngines.Simulated))
        {
            costs = Costs(request, configured, files);
            foreach (string line in SimulatorLimits.LeftOut(configured))
                host.Error.WriteLine($"tessera: {line}");
        }

        PlannedRun[] planned = [.. FactorialDesign.Runs(request.Engines, [.. variants.Select(variant => (variant.Label, variant.Cell))], request.Repeat, request.Seed)];
        Dictionary<(string, string, string), IReadOnlyDictionary<string, string>> fingerprints = [];
        List<RunRow> rows = Finished(request, store, planned, run => FingerprintOf(run));
        PlannedRun[] toMake = [.. planned.Where(run => !rows.Exists(row => row.Place == run.Place))];
        if (rows.Count > 0 && !request.Quiet)
            host.Error.WriteLine($"tessera: {rows.Count} of {planned.Length} runs are in {request.Output} already.");
        ComparisonProgress progress = new(host, time, request.Quiet, toMake, rows, planned.Length, configured.Duration);
        bool interrupted = !MakeAll();
        progress.End();
        ComparisonDocument document = Document(request, labels, cells, rows, costs, interrupted);
        files.WriteText("comparison.json", ComparisonJson.Write(document));
        files.WriteText("comparison.csv", csv => ComparisonCsv.Write(csv, document));
        Show(request, document);
        ReportFiles.Write(host, request.Output, request.Quiet);
        return document.Outcome == "completed" ? ExitCode.Good : ExitCode.Failed;

        CompareVariant VariantOf(PlannedRun run) => variants.First(variant => variant.Label == run.Scheduler && variant.Cell.SequenceEqual(run.Cell));

        SimulationSettings? SimulationOf(PlannedRun run) =>
            run.Engine == ComparisonEngines.Simulated ? CompareArguments.Simulation(request, costs!, run.Repetition) : null;

        IReadOnlyDictionary<string, string> FingerprintOf(PlannedRun run)
        {
            // On the machine repetitions are alike; in the simulator each has its seed.
            (string, string, string) key = (run.Engine, VariantOf(run).Title, run.Engine == ComparisonEngines.Simulated ? $"{run.Repetition}" : "");
            if (!fingerprints.TryGetValue(key, out IReadOnlyDictionary<string, string>? known))
                fingerprints.Add(key, known = runner.FingerprintOf(request, VariantOf(run), resources, run.Engine, SimulationOf(run)));
            return known;
        }

        bool MakeAll()
        {
            foreach (PlannedRun run in toMake)
            {
                if (host.Stop.IsRequested)
                    return false;
                progress.At(run, 0);
                RunRow? row;
                try
                {
                    bool hostCan = rows.Exists(made => made.Engine == run.Engine && made.Outcome == "completed");
                    row = runner.Make(request, run, VariantOf(run), resources, SimulationOf(run), FingerprintOf(run), store, hostCan, part => progress.At(run, part));
                }
                catch
                {
                    progress.End();
                    throw;
                }

                if (row is null)
                    return false;
                rows.Add(row);
                progress.Finished(run, row);
            }

            return true;
        }
    }

    private static void CheckMetrics(CompareRequest request, Experiment configured)
    {
        string[] items = [.. configured.Domains.SelectMany(domain => ItemCatalogue.All.Select(metric => $"{domain.Name}.{metric.Key}"))];
        string[] known = [.. MetricCatalogue.All.Select(metric => metric.Key), .. items];
        if (request.Metrics.FirstOrDefault(key => !known.Contains(key)) is not { } strange)
            return;
        string cure = Suggestion.Nearest(strange, known) is { } near ? $"Did you mean {near}?" : $"There are {string.Join(", ", MetricCatalogue.All.Select(metric => metric.Key))}, and those of each domain, such as {items[0]}.";
        throw new UsageException($"--metric {strange}: there is no such metric. {cure}");
    }

    private void ShowPlan(CompareRequest request, Experiment configured, IReadOnlyList<CompareVariant> variants)
    {
        RunRow[] made = Directory.Exists(request.Output) ? [.. new RunStore(new UntrustedFolder(request.Output)).Load().Select(stored => stored.Row)] : [];
        RunRow[] pilot = [.. made.Where(row => variants.Any(variant => variant.Label == row.Scheduler && variant.Cell.SequenceEqual(row.Cell)))];
        ComparisonPlan plan = new(FactorialDesign.Runs(request.Engines, [.. variants.Select(variant => (variant.Label, variant.Cell))], request.Repeat, request.Seed), pilot, configured.Duration, Family(variants));
        host.OutConsole.Write(plan.Show(request.Spread));
    }

    /// <summary>How many pairs of schedulers are compared by each metric.</summary>
    private static int Family(IReadOnlyList<CompareVariant> variants) =>
        variants.GroupBy(variant => FactorialDesign.Title(variant.Cell)).Sum(cell => cell.Count() * (cell.Count() - 1) / 2);

    /// <summary>Says before anything runs that so few repetitions cannot show a difference among so many comparisons, if so.</summary>
    private void SayWhetherRunsSuffice(CompareRequest request, IReadOnlyList<CompareVariant> variants)
    {
        int family = Family(variants);
        foreach (string engine in request.Engines)
        {
            bool isPaired = engine == ComparisonEngines.Simulated;
            int fewest = VerdictText.FewestRuns(family, isPaired);
            if (family == 0 || request.Repeat >= fewest)
                continue;
            host.Error.WriteLine(
                $"tessera: {request.Repeat} {(request.Repeat == 1 ? "repetition" : "repetitions")} cannot show a difference {(isPaired ? "in virtual time" : "on the machine")}: the lowest probability that the exact test can give is then {NumberText.Of(VerdictText.LeastProbability(request.Repeat, isPaired))}"
                + $"{(family == 1 ? "" : $", to be multiplied by {family} comparisons of each metric")}, and it must be below {ComparisonStatistics.Significance}. --repeat {fewest} is the least that can."
                + (isPaired ? " Where nothing is random in virtual time, repetitions are copies of one run and --repeat 2 shows all there is to show." : ""));
        }
    }

    /// <summary>The costs given; what is not given is measured once and kept with the comparison, or nothing where only the simulator runs.</summary>
    private SimulationCosts Costs(CompareRequest request, Experiment configured, UntrustedFolder files)
    {
        long usual = new SimulationSettings().BeatWork.Value;
        if (request is { SwitchCost: { } switches, WakeCost: { } wakes })
            return new SimulationCosts(switches.Value, wakes.Value, usual, "given");
        if (request.SimulateOnly)
            return new SimulationCosts(request.SwitchCost?.Value ?? 0, request.WakeCost?.Value ?? 0, usual, request.SwitchCost is null && request.WakeCost is null ? "none" : "given");
        SimulationCosts measured;
        if (files.HasFile(CostsFile) && ReadCosts(files) is { WithheldPercent: not >= HostLoad.StarvedPercent } known)
        {
            measured = known;
        }
        else
        {
            if (!request.Quiet)
                host.Error.WriteLine("tessera: measuring what a switch and a wake cost on this machine…");
            measured = new Calibration(planner, machines, delay, host, time).Measure(configured, resources);
            files.WriteText(CostsFile, JsonSerializer.Serialize(measured, StoredRunJson.Context.SimulationCosts) + "\n");
        }

        return measured with { SwitchNs = request.SwitchCost?.Value ?? measured.SwitchNs, WakeNs = request.WakeCost?.Value ?? measured.WakeNs };
    }

    private static SimulationCosts ReadCosts(UntrustedFolder files)
    {
        try
        {
            if (JsonSerializer.Deserialize(files.ReadBytes(CostsFile), StoredRunJson.Context.SimulationCosts) is { SwitchNs: >= 0, WakeNs: >= 0, BeatNs: >= 0 } costs)
                return costs;
        }
        catch (JsonException)
        {
            // Said below.
        }

        throw new UsageException($"{Path.Combine(files.Path, CostsFile)}: these are not the simulator's costs. Remove the file, and they are measured again.");
    }

    /// <summary>The runs that are in the folder and are just what is wanted now.</summary>
    /// <exception cref="UsageException">Something that made some of them has changed.</exception>
    private List<RunRow> Finished(
        CompareRequest request, RunStore store, PlannedRun[] planned, Func<PlannedRun, IReadOnlyDictionary<string, string>> fingerprintOf)
    {
        List<RunRow> rows = [];
        SortedDictionary<string, int> changed = new(StringComparer.Ordinal);
        int strangers = 0;
        foreach (StoredRun stored in store.Load())
        {
            PlannedRun? run = Array.Find(planned, each => each.Engine == stored.Row.Engine && each.Scheduler == stored.Row.Scheduler
                && each.Repetition == stored.Row.Repetition && each.Cell.SequenceEqual(stored.Row.Cell));
            if (run is null)
            {
                strangers++;
                continue;
            }

            string[] differences = [.. Fingerprint.Differences(stored.Fingerprint, fingerprintOf(run))];
            foreach (string difference in differences)
                changed[difference] = changed.GetValueOrDefault(difference) + 1;
            if (differences.Length == 0 && stored.Row.Outcome == "completed")
                rows.Add(stored.Row with { Place = run.Place });
            else if (differences.Length == 0)
                store.Drop(stored.Row.Folder);
        }

        if (changed.Count > 0)
        {
            throw new UsageException(
                $"--out {request.Output}: its runs were made under other conditions than now. Changed: {string.Join(", ", changed.Select(part => $"{part.Key} (of {part.Value} runs)"))}. "
                + "Runs of both are never mixed: name another folder, or make all of them again with --restart.");
        }

        if (strangers > 0)
            host.Error.WriteLine($"tessera: {strangers} runs in {request.Output} belong to no combination asked for now; they stay there and are left out.");
        return rows;
    }

    private static ComparisonDocument Document(
        CompareRequest request, string[] labels, IReadOnlyList<IReadOnlyList<FactorValue>> cells, List<RunRow> rows, SimulationCosts? costs, bool interrupted)
    {
        RunRow[] ordered = [.. rows.OrderBy(row => row.Place)];
        return new ComparisonDocument
        {
            Version = typeof(CompareCommand).Assembly.GetName().Version?.ToString(3) ?? "0.0.0",
            StartedAt = ordered.Length == 0 ? DateTimeOffset.UtcNow : ordered.Min(row => row.StartedAt),
            Outcome = interrupted ? "interrupted" : ordered.All(row => row.Outcome == "completed") ? "completed" : "failed",
            Configuration = request.Config,
            Host = HostFactsReader.Read().Cpu,
            Seed = request.Seed,
            Repeat = request.Repeat,
            Engines = request.Engines,
            Schedulers = labels,
            Factors = request.Factors,
            Metrics = MetricCatalogue.Measured(ordered),
            Cells = ComparisonStatistics.Cells(request.Engines, labels, cells, ordered),
            Agreement = request.Engines.Count < 2 ? [] : Agreement.Rows(labels, cells, ordered),
            Costs = costs,
            Runs = ordered,
        };
    }

    private void Show(CompareRequest request, ComparisonDocument document)
    {
        if (request.Json)
            host.Out.Write(ComparisonJson.Write(document));
        else
            host.OutConsole.Write(ComparisonViews.Of(document, host.OutConsole.Profile.Width, request.Metrics));
        double withheld = document.Runs.Where(run => run.Metrics.ContainsKey(MetricCatalogue.Withheld)).Select(run => run.Metrics[MetricCatalogue.Withheld]).DefaultIfEmpty().Average();
        if (withheld >= HostLoad.BusyPercent)
            host.Error.WriteLine($"tessera: {HostLoad.Sentence(withheld)}");
        int failed = document.Runs.Count(run => run.Outcome != "completed");
        if (failed > 0)
            host.Error.WriteLine($"tessera: {failed} of {document.Runs.Count} runs failed and are in no statistic; the same command repeats them.");
        if (document.Outcome == "interrupted")
            host.Error.WriteLine("tessera: interrupted; the figures are those until then. The same command goes on where this one stopped.");
    }
}
