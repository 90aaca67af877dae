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
        foreach (string engine in engines)
        {
            Sample[] samples =
            [
                .. cells.Select(cell => new Sample(cell, [.. schedulers.Select(scheduler => runs.Where(run => run.Engine == engine && run.Scheduler == scheduler && run.Cell.SequenceEqual(cell)).ToArray())])),
            ];
            Dictionary<Sample, List<Verdict>> verdicts = samples.ToDictionary(sample => sample, _ => new List<Verdict>());
            foreach (MetricDefinition metric in MetricCatalogue.All)
                Judge(metric, engine, schedulers, samples, verdicts);
            results.AddRange(samples.Select(sample => new CellResult(engine, sample.Cell, [.. schedulers.Select((scheduler, index) => Result(scheduler, sample.Runs[index]))], verdicts[sample])));
        }

        return results;
    }

    private static SchedulerResult Result(string scheduler, RunRow[] runs)
    {
        Dictionary<string, Summary> metrics = [];
        foreach (MetricDefinition metric in MetricCatalogue.All)
        {
            if (Summary.Of(Values(runs, metric.Key)) is { } summary)
                metrics.Add(metric.Key, summary);
        }

        int good = runs.Count(IsGood);
        return new SchedulerResult(scheduler, good, runs.Length - good, metrics);
    }

    private static bool IsGood(RunRow run) => run.Outcome == "completed";

    private static double[] Values(RunRow[] runs, string metric) =>
        [.. runs.Where(run => IsGood(run) && run.Metrics.ContainsKey(metric)).OrderBy(run => run.Repetition).Select(run => run.Metrics[metric])];

    /// <summary>One metric: all pairs in all cells are one family of tests.</summary>
    private static void Judge(MetricDefinition metric, string engine, IReadOnlyList<string> schedulers, Sample[] samples, Dictionary<Sample, List<Verdict>> verdicts)
    {
        List<(Sample Sample, string First, string Second, double[] One, double[] Other, double Probability)> family = [];
        foreach (Sample sample in samples)
        {
            for (int first = 0; first < schedulers.Count; first++)
            {
                for (int second = first + 1; second < schedulers.Count; second++)
                {
                    double[] one = Values(sample.Runs[first], metric.Key);
                    double[] other = Values(sample.Runs[second], metric.Key);
                    if (one.Length == 0 || other.Length == 0)
                        continue;
                    double difference = Describe.Mean(one) - Describe.Mean(other);
                    bool swap = metric.Better == MetricCatalogue.Lower ? difference > 0 : metric.Better == MetricCatalogue.Higher && difference < 0;
                    family.Add(swap
                        ? (sample, schedulers[second], schedulers[first], other, one, RankTest.Probability(other, one))
                        : (sample, schedulers[first], schedulers[second], one, other, RankTest.Probability(one, other)));
                }
            }
        }

        double[] corrected = RankTest.Holm([.. family.Select(test => test.Probability)]);
        for (int index = 0; index < family.Count; index++)
        {
            (Sample sample, string first, string second, double[] one, double[] other, double probability) = family[index];
            verdicts[sample].Add(Judge(metric, engine, first, second, one, other, probability, corrected[index], family.Count));
        }
    }

    private static Verdict Judge(
        MetricDefinition metric, string engine, string first, string second, double[] one, double[] other, double probability, double corrected, int family)
    {
        double difference = Describe.Mean(one) - Describe.Mean(other);
        Interval interval = Bootstrap.OfDifference(one, other);
        Interval? percentInterval = Bootstrap.OfRatio(one, other) is { } ratio ? new Interval((ratio.Low - 1) * 100, (ratio.High - 1) * 100) : null;
        double? percent = percentInterval is null ? null : ((Describe.Mean(one) / Describe.Mean(other)) - 1) * 100;

        // Virtual time without random workloads repeats itself exactly: then every run is the whole population, and nothing is left to chance.
        bool isExact = engine == ComparisonEngines.Simulated && one.Length > 1 && other.Length > 1 && Describe.Variance(one) + Describe.Variance(other) == 0;
        bool matters = percent is not { } relative || Math.Abs(relative) >= VerdictText.LeastPercent;
        bool isShown = matters && !interval.Contains(0) && (isExact || corrected < Significance);
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
            Probability = probability,
            Corrected = corrected,
            IsShown = isShown,
            Sentence = "",
        };
        return verdict with { Sentence = VerdictText.Of(metric, verdict, one.Length, other.Length, family, isExact) };
    }

    /// <summary>The runs of a cell by scheduler.</summary>
    private sealed record Sample(IReadOnlyList<FactorValue> Cell, RunRow[][] Runs);
}
