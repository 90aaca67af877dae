using System.Globalization;
using Spectre.Console;
using Spectre.Console.Rendering;
using Tessera.Lab;
using Tessera.Lab.Comparisons;
using Tessera.Lab.Statistics;

namespace Tessera.Cli.Views;

/// <summary>What a person sees of a comparison: a table and verdicts for each metric, and the agreement of machine and simulator.</summary>
internal static class ComparisonViews
{
    /// <summary>More verdicts than this under one table are counted instead; comparison.json has them all.</summary>
    private const int MostVerdicts = 12;

    /// <summary>Below this a table has the columns that fit 80 characters: no medians, and the cell in front of the scheduler.</summary>
    private const int WideColumns = 130;

    /// <summary>Everything, top to bottom.</summary>
    /// <param name="document">The comparison.</param>
    /// <param name="screenColumns">How wide the screen is.</param>
    /// <param name="keys">The metrics to show; none for all of the whole machine.</param>
    public static IRenderable Of(ComparisonDocument document, int screenColumns, IReadOnlyList<string> keys)
    {
        List<IRenderable> parts = [];

        // With both engines the simulator's own tables would only say again what the agreement says.
        string engine = document.Engines[0];
        CellResult[] cells = [.. document.Cells.Where(cell => cell.Engine == engine)];
        if (engine == ComparisonEngines.Simulated)
            parts.Add(new Text(SimulatedTitle(document), new Style(decoration: Decoration.Bold)));
        foreach (MetricDefinition metric in document.Metrics.Where(metric => keys.Count == 0 ? metric.Item is null : keys.Contains(metric.Key)))
            AddMetric(parts, metric, cells, screenColumns >= WideColumns);
        if (document.Agreement.Count > 0)
        {
            parts.Add(new Text(SimulatedTitle(document), new Style(decoration: Decoration.Bold)));
            AddAgreement(parts, document);
        }

        parts.Add(new Text($"  {VerdictText.Headline(document)}"));
        return new Rows(parts);
    }

    private static string SimulatedTitle(ComparisonDocument document) => document.Costs is { } costs
        ? $"SIMULATED in virtual time; switch {NumberText.Time(costs.SwitchNs)}, wake {NumberText.Time(costs.WakeNs)}, a beat's work {NumberText.Time(costs.BeatNs)} ({costs.Source})"
        : "SIMULATED in virtual time";

    private static void AddMetric(List<IRenderable> parts, MetricDefinition metric, CellResult[] cells, bool wide)
    {
        if (!cells.Any(cell => cell.Schedulers.Any(scheduler => scheduler.Metrics.ContainsKey(metric.Key))))
            return;
        bool varied = cells.Any(cell => cell.Cell.Count > 0);
        Table table = new Table().Border(TableBorder.Simple);
        if (wide && varied)
            table.AddColumn(new TableColumn("").NoWrap());
        table.AddColumn(wide ? new TableColumn(metric.Title).NoWrap() : new TableColumn(metric.Title));
        table.AddColumns(Right("mean"), Right("95 % interval"));
        if (wide)
            table.AddColumns(Right("median"), Right("95 % interval"));
        table.AddColumns(Right("runs"), new TableColumn("").NoWrap());
        foreach (CellResult cell in cells)
        {
            SchedulerResult[] measured = [.. cell.Schedulers.Where(scheduler => scheduler.Metrics.ContainsKey(metric.Key))];
            foreach (SchedulerResult scheduler in measured)
            {
                Summary summary = scheduler.Metrics[metric.Key];
                string mark = Mark(metric, cell, measured, scheduler.Scheduler);
                Style style = mark.Length > 0 ? new Style(Color.Green) : Style.Plain;
                List<IRenderable> row = wide && varied ? [new Text(FactorialDesign.Title(cell.Cell))] : [];
                row.AddRange(
                [
                    new Text(wide || !varied ? scheduler.Scheduler : $"{FactorialDesign.ShortTitle(cell.Cell)}, {scheduler.Scheduler}", style),
                    new Text(VerdictText.Value(metric, summary.Mean), style),
                    new Text(Range(metric, summary.MeanInterval)),
                ]);
                if (wide)
                    row.AddRange([new Text(VerdictText.Value(metric, summary.Median)), new Text(Range(metric, summary.MedianInterval))]);
                row.AddRange([new Text(Runs(scheduler)), new Text(mark, style)]);
                table.AddRow(row);
            }
        }

        parts.Add(table);
        Verdict[] verdicts = [.. cells.SelectMany(cell => cell.Verdicts).Where(verdict => verdict.Metric == metric.Key)];
        if (verdicts.Length > MostVerdicts)
        {
            parts.Add(new Text($"  {verdicts.Count(verdict => verdict.IsShown)} of {verdicts.Length} pairs differ by what these runs show; comparison.json has each."));
            return;
        }

        foreach (CellResult cell in cells)
        {
            foreach (Verdict verdict in cell.Verdicts.Where(verdict => verdict.Metric == metric.Key))
                parts.Add(new Text($"  {(cell.Cell.Count == 0 ? "" : $"{FactorialDesign.Title(cell.Cell)}: ")}{verdict.Sentence}."));
        }
    }

    private static string Runs(SchedulerResult scheduler) =>
        $"{scheduler.Runs}{(scheduler.Copies > 0 ? $", {scheduler.Copies} copies" : "")}{(scheduler.Failed > 0 ? $", {scheduler.Failed} failed" : "")}";

    /// <summary>"best" for one shown to be better than all others; "not beaten" for those that none was shown to be better than, when somebody was beaten.</summary>
    private static string Mark(MetricDefinition metric, CellResult cell, SchedulerResult[] measured, string scheduler)
    {
        Verdict[] shown = [.. cell.Verdicts.Where(verdict => verdict.Metric == metric.Key && verdict.IsShown)];
        if (metric.Better == MetricCatalogue.Neither || shown.Length == 0 || shown.Any(verdict => verdict.Second == scheduler))
            return "";
        return shown.Count(verdict => verdict.First == scheduler) == measured.Length - 1 ? "best" : "not beaten";
    }

    private static void AddAgreement(List<IRenderable> parts, ComparisonDocument document)
    {
        Table table = new Table().Border(TableBorder.Simple);
        table.AddColumns(new TableColumn("machine and simulator"), new TableColumn("domain"), Right("machine"), Right("simulated"), Right("difference"), new TableColumn("").NoWrap());
        foreach (AgreementRow row in document.Agreement)
        {
            bool share = row.Quantity == Agreement.Share;
            table.AddRow(
                new Text(row.Cell.Count == 0 ? row.Scheduler : $"{FactorialDesign.ShortTitle(row.Cell)}, {row.Scheduler}"),
                new Text($"{row.Group}, {(share ? "share" : $"{row.Quantity}, median")}"),
                new Text(Quantity(row.Machine, share)),
                new Text(Quantity(row.Simulated, share)),
                new Text(row.Difference.ToString("+0.00;-0.00;0.00", CultureInfo.InvariantCulture) + (share ? " points" : " %")),
                row.Agrees ? new Text("agrees", new Style(Color.Green)) : new Text("differs", new Style(Color.Yellow)));
        }

        parts.Add(table);
        foreach (AgreementRow row in document.Agreement.Where(row => !row.Agrees))
            parts.Add(new Text($"  {row.Scheduler}{(row.Cell.Count == 0 ? "" : $", {FactorialDesign.Title(row.Cell)}")}, {row.Group}, {row.Quantity}: {row.Reason}."));
        int agree = document.Agreement.Count(row => row.Agrees);
        parts.Add(new Text($"  {agree} of {document.Agreement.Count} agree: shares within {Agreement.SharePoints} point, medians of latencies within {Agreement.LatencyPercent} %."));
    }

    private static string Quantity(double value, bool share) =>
        share ? value.ToString("0.00", CultureInfo.InvariantCulture) + " %" : NumberText.Time(value);

    private static string Range(MetricDefinition metric, Interval interval) => interval.Low == interval.High ? "same" : VerdictText.Range(metric, interval);

    private static TableColumn Right(string name) => new TableColumn(name).RightAligned().NoWrap();
}
