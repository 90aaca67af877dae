using Tessera.Cli.Terminal;
using Tessera.Cli.Views;
using Tessera.Experiments;
using Tessera.Experiments.Comparisons;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Results;
using Tessera.Lab.Comparisons;
using Tessera.Lab.Folders;

namespace Tessera.Cli.Verbs;

/// <summary>What `compare` does: checks everything, makes the runs that are not there yet, and says what they come to.</summary>
internal sealed class CompareCommand(
    CliHost host,
    ComparisonDesigner designer,
    ComparisonRunner runner,
    SimulatorCosts simulator,
    ComparisonOutput comparisons,
    TimeProvider time,
    HostResources resources)
{
    /// <summary>Makes or goes on with a comparison.</summary>
    /// <returns>The exit code.</returns>
    public int Run(CompareRequest request)
    {
        ComparisonDesign design = designer.Design(request);
        if (request.Plan)
        {
            ShowPlan(design);
            return ExitCode.Good;
        }

        designer.SayWhetherRunsSuffice(design);
        using OutputFolder output = OutputFolder.ForComparison(request.Output);
        host.CheckFolder(request.Output);
        UntrustedFolder files = new(request.Output);
        RunStore store = new(files);
        store.DropUnfinished();
        if (request.Restart)
        {
            store.Clear();
            SimulatorCosts.Forget(files);
        }

        SimulationCosts? costs = simulator.Of(request, design.Configured, files);
        DesignFingerprints fingerprints = new(design, runner, resources, costs);
        List<RunRow> rows = Finished(request, store, design.Runs, fingerprints.Of);
        PlannedRun[] toMake = [.. design.Runs.Where(run => !rows.Exists(row => row.Place == run.Place))];
        if (rows.Count > 0 && !request.Quiet)
            host.Error.WriteLine($"tessera: {rows.Count} of {design.Runs.Count} runs are in {request.Output} already.");
        ComparisonProgress progress = new(host, time, request.Quiet, toMake, rows, design.Runs.Count, design.Configured.Duration);
        bool interrupted = !MakeAll();
        progress.End();
        ComparisonDocument document = ComparisonDocuments.Of(request, design.Variants, costs, rows, interrupted, []);
        return comparisons.Write(files, document, request.Metrics, request.Json, request.Quiet);

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
                    RunOrder order = new(run, RunStore.NameOf(run), design.VariantOf(run), fingerprints.SimulationOf(run),
                        fingerprints.Of(run), changed => Changed(run, changed));
                    row = runner.Make(request, order, resources, store, hostCan, part => progress.At(run, part));
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

    private void ShowPlan(ComparisonDesign design)
    {
        string folder = design.Request.Output;
        RunRow[] made = Directory.Exists(folder) ? [.. new RunStore(new UntrustedFolder(folder)).Load().Select(stored => stored.Row)] : [];
        RunRow[] pilot = [.. made.Where(row =>
            design.Variants.Any(variant => variant.Label == row.Scheduler && variant.Cell.SequenceEqual(row.Cell)))];
        host.OutConsole.Write(new ComparisonPlan(design.Runs, pilot, design.Configured.Duration, design.Family)
            .Show(design.Request.Spread));
    }

    private static FailedException Changed(PlannedRun run, string parts) => new(
        $"{parts} changed while the comparison ran; it stops before run {run.Place}, and the runs so far are kept. "
        + "Undo the change and give the same command again, or start over with --restart.");

    /// <summary>The runs that are in the folder and are just what is wanted now.</summary>
    /// <exception cref="UsageException">Something that made some of them has changed.</exception>
    private List<RunRow> Finished(
        CompareRequest request,
        RunStore store,
        IReadOnlyList<PlannedRun> planned,
        Func<PlannedRun, IReadOnlyDictionary<string, string>> fingerprintOf)
    {
        List<RunRow> rows = [];
        SortedDictionary<string, int> changed = new(StringComparer.Ordinal);
        int strangers = 0;
        foreach (StoredRun stored in store.Load())
        {
            PlannedRun? run = planned.FirstOrDefault(each => each.Engine == stored.Row.Engine && each.Scheduler == stored.Row.Scheduler
                && each.Repetition == stored.Row.Repetition && each.Cell.SequenceEqual(stored.Row.Cell));
            if (run is null)
            {
                strangers++;
                continue;
            }

            string[] differences = [.. Fingerprint.Differences(stored.Fingerprint, fingerprintOf(run))];
            foreach (string difference in differences)
                changed[difference] = changed.GetValueOrDefault(difference) + 1;
            if (differences.Length == 0 && stored.Row.Outcome == "completed" && !rows.Exists(row => row.Place == run.Place))
                rows.Add(stored.Row with { Place = run.Place });
            else if (differences.Length == 0 && stored.Row.Outcome != "completed")
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
}
