using System.Text.Json;
using System.Text.Json.Serialization;
using Tessera.Cli.Control;
using Tessera.Cli.Terminal;
using Tessera.Cli.Views;
using Tessera.Experiments;
using Tessera.Experiments.Comparisons;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Results;
using Tessera.Experiments.Sweeps;
using Tessera.Hosting;
using Tessera.Lab;
using Tessera.Lab.Comparisons;
using Tessera.Lab.Folders;
using Tessera.Sdk;

namespace Tessera.Cli.Verbs;

/// <summary>What `sweep plan`, `status` and `merge` do.</summary>
internal sealed class SweepCommand(CliHost host, SweepPlanner planner, CellMaker maker, ComparisonOutput comparisons)
{
    /// <summary>Writes the plan, and makes the first simulated cell to see how long one takes.</summary>
    /// <returns>The exit code.</returns>
    public int Plan(CompareRequest request)
    {
        string folder = request.Output;
        using OutputFolder output = OutputFolder.ForComparison(folder);
        host.CheckFolder(folder);
        UntrustedFolder files = new(folder);
        SweepPlan plan = planner.Plan(request, files);
        RunStore store = new(files);
        if (plan.Cells.FirstOrDefault(cell => cell.Engine == ComparisonEngines.Simulated) is { } first)
        {
            RunRow? row = SweepState.Of(plan, store).GoodRunOf(first)
                ?? maker.Make(plan, first, folder, store,
                    new HostCpuLocks(Path.Combine(new ControlSockets(host.Environment).MakeFolder(), "cpus")), static _ => { });
            if (row is null)
                return ExitCode.Failed;
            if (row.Outcome != "completed")
                host.Error.WriteLine(
                    $"tessera: cell {first.Number}, made to see how long one takes, failed: {string.Join(" ", row.Failures)}");
            plan = plan with { Seconds = plan.Seconds with { Simulated = row.WallSeconds } };
        }

        SweepPlanFile.Write(files, plan);
        int simulated = plan.Cells.Count(cell => cell.Engine == ComparisonEngines.Simulated);
        host.Out.WriteLine($"{plan.Cells.Count} cells in {Path.Combine(folder, SweepPlanFile.Name)}: {plan.Cells.Count - simulated} on "
            + $"the machine, {simulated} in virtual time; {plan.BlockSize()} a repetition.");
        host.OutConsole.Write(Power(plan, SweepState.Of(plan, store).Done).Show(request.Spread));
        host.Out.WriteLine($"Next: tessera sweep run {folder}, or tessera sweep submit {folder}");
        return ExitCode.Good;
    }

    /// <summary>Says what is there.</summary>
    /// <returns>The exit code: good when every cell is.</returns>
    public int Status(string folder, bool json)
    {
        (SweepPlan plan, RunStore store, SweepState state) = Look(folder);
        SweepStatus status = new(
            SweepStatus.Format, plan.Cells.Count, state.Done.Count, CellNumbers.Text([.. state.Missing.Select(cell => cell.Number)]),
            [.. state.Failed.Select(row => new FailedCell(row.Place, row.Folder, string.Join(" ", row.Failures)))],
            store.Unfinished, state.Changed, state.Strangers, HostBlocks.Of([.. state.Done, .. state.Failed]),
            SweepTime.Of(plan, state.Missing));
        if (json)
            host.Out.WriteLine(JsonSerializer.Serialize(status, SweepStatusJson.Context.SweepStatus));
        else
            Show(folder, status, state.Missing.Count);
        return status.Done == status.Cells ? ExitCode.Good : ExitCode.Failed;
    }

    /// <summary>Writes the comparison of what is there.</summary>
    /// <returns>The exit code: good when every cell is.</returns>
    public int Merge(string folder, IReadOnlyList<string> metrics, bool json, bool quiet)
    {
        (_, _, SweepState state) = Look(folder);
        using OutputFolder output = OutputFolder.ForComparison(folder);
        if (state.Changed > 0)
            host.Error.WriteLine($"tessera: {state.Changed} runs in {folder} were made by something else than is planned; they stay there "
                + "and are left out.");
        if (state.Strangers > 0)
            host.Error.WriteLine(
                $"tessera: {state.Strangers} runs in {folder} are no cells of this plan; they stay there and are left out.");
        if (state.Done.Count == 0)
            throw new FailedException($"{folder}: no cell has a good run yet. Make them: tessera sweep run {folder}");
        ComparisonDocument document = state.Document(folder);
        string[] known = [.. MetricCatalogue.All.Select(metric => metric.Key), .. document.Metrics.Select(metric => metric.Key)];
        if (metrics.FirstOrDefault(key => !known.Contains(key)) is { } strange)
            throw new UsageException($"--metric {strange}: there is no such "
                + $"metric.{(Suggestion.Nearest(strange, known) is { } near ? $" Did you mean {near}?" : "")} docs/compare.md lists them.");
        int code = comparisons.Write(new UntrustedFolder(folder), document, metrics, json, quiet);
        if (state.Missing.Count > 0)
            host.Error.WriteLine($"tessera: missing: {CellNumbers.Text([.. state.Missing.Select(cell => cell.Number)])}. tessera sweep "
                + $"run {folder} makes them.");
        return code;
    }

    /// <summary>Time, one cell after another, and which differences the plan can show, from the cells that are there.</summary>
    private static ComparisonPlan Power(SweepPlan plan, IReadOnlyList<RunRow> done)
    {
        int family = plan.Variants.GroupBy(variant => FactorialDesign.Title(variant.Values))
            .Sum(cell => cell.Count() * (cell.Count() - 1) / 2);
        Nanoseconds window = plan.Seconds.Window is { } seconds ? new Nanoseconds((long)(seconds * 1e9)) : Nanoseconds.Never;
        return new ComparisonPlan([.. plan.Cells.Select(plan.RunOf)], done, window, family);
    }

    private static (SweepPlan Plan, RunStore Store, SweepState State) Look(string folder)
    {
        UntrustedFolder files = new(folder);
        SweepPlan plan = SweepPlanFile.Read(files);
        RunStore store = new(files);
        return (plan, store, SweepState.Of(plan, store));
    }

    private void Show(string folder, SweepStatus status, int missing)
    {
        const int mostFailures = 20;
        host.Out.WriteLine($"{folder}: {status.Done} of {status.Cells} cells done, {status.Failed.Count} failed, {missing} missing.");
        if (missing > 0)
        {
            string time = status.SecondsLeft is { } left
                ? $"; about {ComparisonProgress.Left(TimeSpan.FromSeconds(left))}, one after another" : "";
            host.Out.WriteLine($"missing: {status.Missing}{time}");
        }

        foreach (FailedCell failed in status.Failed.Take(mostFailures))
            host.Out.WriteLine($"failed: cell {failed.Cell}, {failed.Folder}: {failed.Reason}");
        if (status.Failed.Count > mostFailures)
            host.Out.WriteLine($"failed: {status.Failed.Count - mostFailures} more");
        if (status.Unfinished > 0)
            host.Out.WriteLine($"being made, or left by a process that was killed: {status.Unfinished}");
        foreach (HostRuns made in status.Hosts)
            host.Out.WriteLine($"host {made.Name}, {made.Cpu}: {made.Runs} runs, {made.OnMachine} of them on the machine");
        if (status.Changed > 0)
            host.Out.WriteLine($"left out, made by something else than is planned: {status.Changed}");
        if (status.Strangers > 0)
            host.Out.WriteLine($"left out, no cells of this plan: {status.Strangers}");
    }
}

/// <summary>How long cells take.</summary>
internal static class SweepTime
{
    /// <summary>Some three thousand years: nobody waits longer, and .NET's times end later.</summary>
    private const double Most = 1e11;

    /// <summary>One after another, in seconds; null where that is not known.</summary>
    public static double? Of(SweepPlan plan, IReadOnlyList<SweepCell> cells) =>
        cells.Sum(cell => plan.Seconds.Of(cell.Engine) ?? double.NaN) is var seconds && double.IsFinite(seconds)
            ? Math.Min(seconds, Most)
            : null;
}

/// <summary>What is there of a sweep: `sweep status --json`.</summary>
/// <param name="Schema">The format's name and number.</param>
/// <param name="Cells">How many cells there are to be.</param>
/// <param name="Done">How many have a good run.</param>
/// <param name="Missing">The numbers of those without a run, as `--cells` takes them.</param>
/// <param name="Failed">Those whose run failed.</param>
/// <param name="Unfinished">Runs that are being made, or that killed processes left.</param>
/// <param name="Changed">Runs of cells that something else made than is planned.</param>
/// <param name="Strangers">Runs that are no cells of the plan.</param>
/// <param name="Hosts">Where the runs were made.</param>
/// <param name="SecondsLeft">How long the missing ones take, one after another; null where that is not known.</param>
internal sealed record SweepStatus(
    string Schema, int Cells, int Done, string Missing, IReadOnlyList<FailedCell> Failed, int Unfinished, int Changed, int Strangers,
    IReadOnlyList<HostRuns> Hosts, double? SecondsLeft)
{
    /// <summary>The format.</summary>
    public const string Format = "tessera.sweep-status/1";
}

/// <summary>A cell whose run failed.</summary>
/// <param name="Cell">Its number.</param>
/// <param name="Folder">Where its run is.</param>
/// <param name="Reason">What failed.</param>
internal sealed record FailedCell(int Cell, string Folder, string Reason);

/// <summary>Serialisation of <see cref="SweepStatus"/>.</summary>
[JsonSerializable(typeof(SweepStatus))]
internal sealed partial class SweepStatusJson : JsonSerializerContext
{
    public static SweepStatusJson Context { get; } = new(JsonForm.Options());
}
