using System.Globalization;
using Tessera.Lab.Statistics;

namespace Tessera.Lab.Comparisons;

/// <summary>From runs to cells: summaries of every metric and verdicts on every pair of schedulers.</summary>
public static class ComparisonStatistics
{
    /// <summary>A corrected probability below this shows a difference.</summary>
    public const double Significance = 0.05;

    /// <summary>The cells, engine by engine.</summary>
    /// <param name="engines">The engines.</param>
    /// <param name="schedulers">The schedulers' labels, in order.</param>
    /// <param name="cells">The combinations of varied values.</param>
    /// <param name="runs">Every run made.</param>
    public static IReadOnlyList<CellResult> Cells(
        IReadOnlyList<string> engines, IReadOnlyList<string> schedulers, IReadOnlyList<IReadOnlyList<FactorValue>> cells, IReadOnlyList<RunRow> runs)
    {
        List<CellResult> results = [];
        IReadOnlyList<MetricDefinition> metrics = MetricCatalogue.Measured(runs);
        foreach (string engine in engines)
        {
            Sample[] samples =
            [
                .. cells.Select(cell => new Sample(cell, [.. schedulers.Select(scheduler => runs.Where(run => run.Engine == engine && run.Scheduler == scheduler && run.Cell.SequenceEqual(cell)).ToArray())])),
            ];
            Dictionary<Sample, List<Verdict>> verdicts = samples.ToDictionary(sample => sample, _ => new List<Verdict>());
            foreach (MetricDefinition metric in metrics)
                Judge(metric, schedulers, samples, verdicts);
            results.AddRange(samples.Select(sample => new CellResult(
                engine, sample.Cell, [.. schedulers.Select((scheduler, index) => Result(scheduler, sample.Runs[index], metrics)).Where(result => result.Runs + result.Failed > 0)], verdicts[sample])));
        }

        return results;
    }

    private static SchedulerResult Result(string scheduler, RunRow[] runs, IReadOnlyList<MetricDefinition> metrics)
    {
        RunRow[] good = [.. runs.Where(IsGood).OrderBy(run => run.Repetition)];
        RunRow[] distinct = [.. good.DistinctBy(Figures)];
        Dictionary<string, Summary> summaries = [];
        foreach (MetricDefinition metric in metrics)
        {
            if (Summary.Of([.. distinct.Select(metric.Of).OfType<double>()]) is { } summary)
                summaries.Add(metric.Key, summary);
        }

        return new SchedulerResult(scheduler, good.Length, runs.Length - good.Length, summaries, good.Length - distinct.Length);
    }

    private static bool IsGood(RunRow run) => run.Outcome == "completed";

    /// <summary>What tells a run from a copy of it: in virtual time all its figures, on a machine that it was made at all.</summary>
    private static string Figures(RunRow run) => run.IsVirtual
        ? string.Join(';', run.Metrics.OrderBy(metric => metric.Key, StringComparer.Ordinal).Select(metric => string.Create(CultureInfo.InvariantCulture, $"{metric.Key}={metric.Value:R}"))) + string.Join(';', run.Groups)
        : string.Create(CultureInfo.InvariantCulture, $"{run.Place}");

    /// <summary>
    /// The runs of two schedulers by one metric. In virtual time those of one repetition share their seed and so are pairs; pairs that are copies of one
    /// another count once. On a machine runs of one repetition share nothing but their time.
    /// </summary>
    private static Comparands? Compare(MetricDefinition metric, RunRow[] first, RunRow[] second)
    {
        RunRow[] one = [.. first.Where(run => IsGood(run) && metric.Of(run) is not null).OrderBy(run => run.Repetition)];
        RunRow[] other = [.. second.Where(run => IsGood(run) && metric.Of(run) is not null).OrderBy(run => run.Repetition)];
        if (one.Concat(other).Any(run => !run.IsVirtual))
            return one.Length == 0 || other.Length == 0 ? null : new Comparands(Values(one), Values(other), IsPaired: false, IsExact: false);
        (RunRow One, RunRow Other)[] pairs = [.. one.Join(other, run => run.Repetition, run => run.Repetition, (left, right) => (left, right))];
        (RunRow One, RunRow Other)[] distinct = [.. pairs.DistinctBy(pair => (Figures(pair.One), Figures(pair.Other)))];
        return pairs.Length == 0
            ? null
            : new Comparands(Values(distinct.Select(pair => pair.One)), Values(distinct.Select(pair => pair.Other)), IsPaired: true, IsExact: distinct.Length == 1 && pairs.Length > 1);

        double[] Values(IEnumerable<RunRow> runs) => [.. runs.Select(run => metric.Of(run)!.Value)];
    }

    /// <summary>One metric: all pairs in all cells are one family of tests. Where nothing is left to chance there is no test.</summary>
    private static void Judge(MetricDefinition metric, IReadOnlyList<string> schedulers, Sample[] samples, Dictionary<Sample, List<Verdict>> verdicts)
    {
        List<(Sample Sample, string First, string Second, Comparands Values)> all = [];
        foreach (Sample sample in samples)
        {
            for (int first = 0; first < schedulers.Count; first++)
            {
                for (int second = first + 1; second < schedulers.Count; second++)
                {
                    if (Compare(metric, sample.Runs[first], sample.Runs[second]) is not { } values)
                        continue;
                    double difference = Describe.Mean(values.One) - Describe.Mean(values.Other);
                    bool swap = metric.Better == MetricCatalogue.Lower ? difference > 0 : metric.Better == MetricCatalogue.Higher && difference < 0;
                    all.Add(swap ? (sample, schedulers[second], schedulers[first], values with { One = values.Other, Other = values.One }) : (sample, schedulers[first], schedulers[second], values));
                }
            }
        }

        double[] probabilities = [.. all.Where(item => !item.Values.IsExact).Select(item => item.Values.Probability())];
        double[] corrected = RankTest.Holm(probabilities);
        int test = 0;
        foreach ((Sample sample, string first, string second, Comparands values) in all)
        {
            (double Probability, double Corrected)? chance = values.IsExact ? null : (probabilities[test], corrected[test++]);
            verdicts[sample].Add(Judge(metric, first, second, values, chance, probabilities.Length));
        }
    }

    private static Verdict Judge(MetricDefinition metric, string first, string second, Comparands values, (double Probability, double Corrected)? chance, int family)
    {
        (double[] one, double[] other, bool isPaired, bool isExact) = values;
        double difference = Describe.Mean(one) - Describe.Mean(other);
        Interval interval = Bootstrap.OfDifference(one, other, isPaired);
        Interval? percentInterval = Bootstrap.OfRatio(one, other, isPaired) is { } ratio ? new Interval((ratio.Low - 1) * 100, (ratio.High - 1) * 100) : null;
        double? percent = percentInterval is null ? null : ((Describe.Mean(one) / Describe.Mean(other)) - 1) * 100;
        bool matters = percent is not { } relative || Math.Abs(relative) >= VerdictText.LeastPercent;
        Verdict verdict = new()
        {
            Metric = metric.Key,
            First = first,
            Second = second,
            Difference = difference,
            DifferenceInterval = interval,
            Percent = percent,
            PercentInterval = percentInterval,
            CliffsDelta = EffectSize.CliffsDelta(one, other),
            HedgesG = EffectSize.HedgesG(one, other),
            Probability = chance?.Probability,
            Corrected = chance?.Corrected,
            IsShown = matters && !interval.Contains(0) && (isExact || chance?.Corrected < Significance),
            IsExact = isExact,
            IsPaired = isPaired,
            Runs = Math.Min(one.Length, other.Length),
            FewestRuns = VerdictText.FewestRuns(family, isPaired),
            Sentence = "",
        };
        return verdict with { Sentence = VerdictText.Of(metric, verdict, one.Length, other.Length, family) };
    }

    /// <summary>The runs of a cell by scheduler.</summary>
    private sealed record Sample(IReadOnlyList<FactorValue> Cell, RunRow[][] Runs);

    /// <summary>One metric of two schedulers' runs.</summary>
    private sealed record Comparands(double[] One, double[] Other, bool IsPaired, bool IsExact)
    {
        public double Probability() => IsPaired ? RankTest.SignedRank([.. One.Zip(Other, (one, other) => one - other)]) : RankTest.Probability(One, Other);
    }
}
