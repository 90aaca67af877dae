using Tessera.Lab.Comparisons;
using Tessera.Lab.Statistics;

namespace Tessera.Lab.Exports;

/// <summary>The tables of a comparison: its runs, summaries and verdicts.</summary>
internal static class ComparisonExport
{
    /// <summary>All of them.</summary>
    public static IReadOnlyList<ExportTable> Of(ComparisonDocument document)
    {
        Row[] summaries =
        [
            .. from cell in document.Cells
               from scheduler in cell.Schedulers
               from metric in document.Metrics
               where scheduler.Metrics.ContainsKey(metric.Key)
               select new Row(cell, metric, scheduler, scheduler.Metrics[metric.Key], null),
        ];
        Row[] verdicts =
        [
            .. from cell in document.Cells
               from verdict in cell.Verdicts
               select new Row(cell, document.Metrics.First(metric => metric.Key == verdict.Metric), null, null, verdict),
        ];
        return
        [
            new ExportTable<RunRow>("runs", Runs(document), document.Runs),
            new ExportTable<Row>("summaries", [.. Cell(document), .. Summaries], summaries),
            new ExportTable<Row>("verdicts", [.. Cell(document), .. Verdicts], verdicts),
        ];
    }

    private static Column<RunRow>[] Runs(ComparisonDocument document) =>
    [
        new("place", ColumnKind.Count, "place in the order of runs, from 1", run => (long)run.Place),
        new("repetition", ColumnKind.Count, "the repetition, from 1; runs of one in virtual time share their seed", run => (long)run.Repetition),
        new("engine", ColumnKind.Text, "machine or simulated", run => run.Engine),
        new("scheduler", ColumnKind.Text, "the scheduler's label", run => run.Scheduler),
        .. document.Factors.Select((factor, index) => new Column<RunRow>(FactorialDesign.ColumnOf(factor), ColumnKind.Text, "a varied path's value", run => run.Cell.ElementAtOrDefault(index)?.Value)),
        new("outcome", ColumnKind.Text, "completed or failed", run => run.Outcome),
        new("wall_seconds", ColumnKind.Number, "how long the run took altogether, in seconds", run => run.WallSeconds),
        .. document.Metrics.Select(metric => new Column<RunRow>(metric.Key, ColumnKind.Number, "a metric's value, in its unit ([compare](compare.md#metrics))", run => metric.Of(run))),
        new("folder", ColumnKind.Text, "the run's folder", run => run.Folder),
    ];

    private static Column<Row>[] Cell(ComparisonDocument document) =>
    [
        new("engine", ColumnKind.Text, "machine or simulated", row => row.Cell.Engine),
        .. document.Factors.Select((factor, index) => new Column<Row>(FactorialDesign.ColumnOf(factor), ColumnKind.Text, "a varied path's value", row => row.Cell.Cell.ElementAtOrDefault(index)?.Value)),
        new("metric", ColumnKind.Text, "the metric's key", row => row.Metric.Key),
        new("title", ColumnKind.Text, "its name for people", row => row.Metric.Title),
        new("unit", ColumnKind.Text, "its unit", row => row.Metric.Unit),
        new("better", ColumnKind.Text, "lower, higher or neither", row => row.Metric.Better),
    ];

    private static readonly Column<Row>[] Summaries =
    [
        new("scheduler", ColumnKind.Text, "the scheduler's label", row => row.Scheduler!.Scheduler),
        new("runs", ColumnKind.Count, "good runs", row => (long)row.Scheduler!.Runs),
        new("copies", ColumnKind.Count, "of them those that are copies of another, which count once", row => (long)row.Scheduler!.Copies),
        new("mean", ColumnKind.Number, "mean, in the metric's unit", row => row.Summary!.Mean),
        new("mean_low", ColumnKind.Number, "lower end of the mean's 95 % interval", row => row.Summary!.MeanInterval.Low),
        new("mean_high", ColumnKind.Number, "its upper end", row => row.Summary!.MeanInterval.High),
        new("median", ColumnKind.Number, "median, in the metric's unit", row => row.Summary!.Median),
        new("median_low", ColumnKind.Number, "lower end of the median's 95 % interval", row => row.Summary!.MedianInterval.Low),
        new("median_high", ColumnKind.Number, "its upper end", row => row.Summary!.MedianInterval.High),
    ];

    private static readonly Column<Row>[] Verdicts =
    [
        new("first", ColumnKind.Text, "the scheduler with the better mean", row => row.Verdict!.First),
        new("second", ColumnKind.Text, "the other", row => row.Verdict!.Second),
        new("difference", ColumnKind.Number, "mean of the first less that of the second, in the metric's unit", row => row.Verdict!.Difference),
        new("difference_low", ColumnKind.Number, "lower end of its 95 % interval", row => row.Verdict!.DifferenceInterval.Low),
        new("difference_high", ColumnKind.Number, "its upper end", row => row.Verdict!.DifferenceInterval.High),
        new("percent", ColumnKind.Number, "the difference in per cent of the second's mean", row => row.Verdict!.Percent),
        new("percent_low", ColumnKind.Number, "lower end of its 95 % interval", row => row.Verdict!.PercentInterval?.Low),
        new("percent_high", ColumnKind.Number, "its upper end", row => row.Verdict!.PercentInterval?.High),
        new("cliffs_delta", ColumnKind.Number, "Cliff's delta, -1 to 1", row => row.Verdict!.CliffsDelta),
        new("hedges_g", ColumnKind.Number, "Hedges' g", row => row.Verdict!.HedgesG),
        new("probability", ColumnKind.Number, "of such a difference by chance, two-sided", row => row.Verdict!.Probability),
        new("corrected", ColumnKind.Number, "the same after Holm's correction", row => row.Verdict!.Corrected),
        new("is_shown", ColumnKind.Flag, "whether a difference was shown", row => row.Verdict!.IsShown),
        new("is_exact", ColumnKind.Flag, "whether nothing is left to chance", row => row.Verdict!.IsExact),
        new("is_paired", ColumnKind.Flag, "whether runs were tested as pairs", row => row.Verdict!.IsPaired),
        new("sentence", ColumnKind.Text, "it all in a sentence", row => row.Verdict!.Sentence),
    ];

    /// <summary>A cell's summary or verdict by one metric.</summary>
    private sealed record Row(CellResult Cell, MetricDefinition Metric, SchedulerResult? Scheduler, Summary? Summary, Verdict? Verdict);
}
