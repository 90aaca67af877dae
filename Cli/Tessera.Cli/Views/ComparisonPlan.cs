using System.Globalization;
using Spectre.Console;
using Spectre.Console.Rendering;
using Tessera.Lab;
using Tessera.Lab.Comparisons;
using Tessera.Lab.Statistics;
using Tessera.Sdk;

namespace Tessera.Cli.Views;

/// <summary>What `compare --plan` shows: how many runs there will be, how long they take, and which differences they can show.</summary>
/// <param name="planned">The runs.</param>
/// <param name="pilot">Runs that are there already, of the same policies and cells.</param>
/// <param name="duration">How long a run measures.</param>
/// <param name="family">Comparisons of each metric that are corrected together.</param>
internal sealed class ComparisonPlan(IReadOnlyList<PlannedRun> planned, IReadOnlyList<RunRow> pilot, Nanoseconds duration, int family)
{
    /// <summary>What a run on the machine takes beside its measurement, in seconds, until there is one to tell.</summary>
    private const double Start = 1;

    private static readonly double[] Sizes = [1, 10];

    /// <summary>The whole plan.</summary>
    /// <param name="spread">A run's standard deviation in per cent of the mean; null to take it from the pilot.</param>
    public IRenderable Show(double? spread)
    {
        List<IRenderable> parts = [];
        foreach (IGrouping<string, PlannedRun> engine in planned.GroupBy(run => run.Engine))
            AddEngine(parts, engine.Key, [.. engine], spread);
        return new Rows(parts);
    }

    private void AddEngine(List<IRenderable> parts, string engine, PlannedRun[] runs, double? spread)
    {
        int repeat = runs.Max(run => run.Repetition);
        RunRow[] made = [.. pilot.Where(row => row.Engine == engine && row.Outcome == "completed")];
        double? seconds = made.Length > 0 ? made.Average(row => row.WallSeconds) : engine == ComparisonEngines.Machine && duration < Nanoseconds.Never ? duration.TotalSeconds + Start : null;
        string time = seconds is { } each ? $"about {ComparisonProgress.Left(TimeSpan.FromSeconds(Math.Min(each * runs.Length, TimeSpan.MaxValue.TotalSeconds / 2)))}" : "in virtual time, most often below a second each";
        parts.Add(new Text($"{engine}: {runs.Length} runs, {repeat} of each policy and combination: {time}."));
        if (family == 0)
            return;
        bool isPaired = engine == ComparisonEngines.Simulated;
        double significance = ComparisonStatistics.Significance / family;
        double? least = Power.LeastDifference(repeat, significance, isPaired);
        (string Name, double Percent)[] spreads = spread is { } given ? [("any metric", given)] : [.. Spreads(made, isPaired)];
        if (spreads.Length == 0)
        {
            string shown = least is { } deviations
                ? $"They show a difference of {NumberText.Of(deviations)} standard deviations of {(isPaired ? "the pairs' differences" : "a run")} in {Power.Usual * 100:0} of 100 such studies"
                : "So few show no difference, however large";
            parts.Add(new Text($"  {shown}. Give --spread, or make two repetitions into the same folder first, and the plan says in per cent which differences can be shown."));
            return;
        }

        Table table = new Table().Border(TableBorder.Simple);
        table.AddColumn(new TableColumn("metric"));
        table.AddColumns(Right("spread"), Right("shown from"));
        table.AddColumns([.. Sizes.Select(size => Right($"for {size:0} %"))]);
        foreach ((string name, double percent) in spreads)
        {
            table.AddRow(
            [
                new Text(name), new Text(Percent(percent)), new Text(least is { } deviations ? Percent(deviations * percent) : "never"),
                .. Sizes.Select(size => new Text(percent == 0 ? "2" : Power.RunsFor(size / percent, significance, isPaired) is { } enough ? enough.ToString(CultureInfo.InvariantCulture) : $"> {Power.MostRuns}")),
            ]);
        }

        parts.Add(table);
        string spreadOf = isPaired ? "the differences of a pair of runs with one seed" : "a run";
        parts.Add(new Text(
            $"  Spread: the standard deviation of {spreadOf} in per cent of the mean, {(spread is null ? $"from the {made.Length} runs in the folder" : "as given")}. Shown from: the least difference that {repeat} "
            + $"repetitions show in {Power.Usual * 100:0} of 100 such studies{(family == 1 ? "" : $", {family} comparisons corrected together")}. The last columns: the repetitions that differences of {string.Join(" and ", Sizes.Select(size => $"{size:0}"))} % take."));
    }

    /// <summary>How far runs of one policy in one cell scatter, over all of them; in virtual time, how far the differences of pairs do.</summary>
    private static IEnumerable<(string Name, double Percent)> Spreads(RunRow[] made, bool isPaired)
    {
        foreach (MetricDefinition metric in MetricCatalogue.Measured(made).Where(metric => metric.Item is null))
        {
            double squares = 0;
            int freedom = 0;
            foreach (double[] sample in isPaired ? Differences(made, metric) : Samples(made, metric))
            {
                squares += Describe.Variance(sample) * (sample.Length - 1);
                freedom += sample.Length - 1;
            }

            double mean = Math.Abs(Describe.Mean([.. made.Select(metric.Of).OfType<double>()]));
            if (freedom > 0 && mean > 0)
                yield return (metric.Title, Math.Sqrt(squares / freedom) / mean * 100);
        }
    }

    private static IEnumerable<double[]> Samples(RunRow[] made, MetricDefinition metric) => made
        .GroupBy(row => (row.Scheduler, FactorialDesign.Title(row.Cell)))
        .Select(group => group.Select(metric.Of).OfType<double>().ToArray())
        .Where(sample => sample.Length > 1);

    private static IEnumerable<double[]> Differences(RunRow[] made, MetricDefinition metric)
    {
        foreach (IGrouping<string, RunRow> cell in made.GroupBy(row => FactorialDesign.Title(row.Cell)))
        {
            string[] policies = [.. cell.Select(row => row.Scheduler).Distinct()];
            for (int first = 0; first < policies.Length; first++)
            {
                for (int second = first + 1; second < policies.Length; second++)
                {
                    double[] differences = [.. Of(policies[first]).Join(Of(policies[second]), row => row.Repetition, row => row.Repetition, (one, other) => metric.Of(one) - metric.Of(other)).OfType<double>()];
                    if (differences.Length > 1)
                        yield return differences;
                }
            }

            IEnumerable<RunRow> Of(string policy) => cell.Where(row => row.Scheduler == policy);
        }
    }

    private static string Percent(double value) => $"{NumberText.Of(value)} %";

    private static TableColumn Right(string name) => new TableColumn(name).RightAligned();
}
