using System.Globalization;
using Tessera.Lab.Statistics;

namespace Tessera.Lab.Comparisons;

/// <summary>Verdicts and numbers in words.</summary>
public static class VerdictText
{
    /// <summary>A smaller difference of means than this, in per cent, is no difference to anybody, however certain.</summary>
    public const double LeastPercent = 0.1;

    /// <summary>A value with its unit: "12.3 µs", "0.42 points".</summary>
    public static string Value(MetricDefinition metric, double value) => metric.Unit switch
    {
        "ns" => NumberText.Time(value),
        "points" => $"{NumberText.Of(value)} points",
        "%" => $"{NumberText.Of(value)} %",
        "part" => $"{NumberText.Of(value * 100)} %",
        "count" => NumberText.Of(value),
        "/s" => $"{NumberText.Of(value)}/s",
        _ => value.ToString("0.0000", CultureInfo.InvariantCulture),
    };

    /// <summary>"1.42 to 1.60 ms": the unit once where both have the same.</summary>
    public static string Range(MetricDefinition metric, Interval interval)
    {
        string low = Value(metric, interval.Low);
        string high = Value(metric, interval.High);
        int unit = high.IndexOfAny([' ', '/']);
        return unit > 0 && low.EndsWith(high[unit..], StringComparison.Ordinal) ? $"{low[..^(high.Length - unit)]} to {high}" : $"{low} to {high}";
    }

    /// <summary>The least probability that the exact test can give, which it gives when all values of one side are below all of the other.</summary>
    /// <param name="runs">Runs of each.</param>
    /// <param name="paired">Whether they are tested as pairs: 2 / 2ⁿ; else 2 / C(2n, n).</param>
    public static double LeastProbability(int runs, bool paired)
    {
        double probability = 2;
        for (int run = 1; run <= runs; run++)
            probability *= paired ? 0.5 : run / (2.0 * ((2 * run) - 1));
        return Math.Min(1, probability);
    }

    /// <summary>The fewest runs on each side with which the test can show anything among so many comparisons.</summary>
    /// <param name="family">Comparisons that are corrected together.</param>
    /// <param name="paired">Whether runs are tested as pairs.</param>
    public static int FewestRuns(int family, bool paired = false)
    {
        int runs = 1;
        while (LeastProbability(runs, paired) * family >= ComparisonStatistics.Significance)
            runs++;
        return runs;
    }

    /// <summary>What all verdicts of a comparison come to, in sentences that are true of it.</summary>
    public static string Headline(ComparisonDocument document)
    {
        Verdict[] all = [.. document.Cells.SelectMany(cell => cell.Verdicts)];
        if (all.Length == 0)
            return document.Schedulers.Count < 2 ? "One scheduler alone: there is nothing to tell apart." : "No two schedulers have runs in the same cell: there is nothing to tell apart.";
        Verdict[] exact = [.. all.Where(verdict => verdict.IsExact)];
        Verdict[] tested = [.. all.Where(verdict => !verdict.IsExact)];
        List<string> sentences = [];
        if (tested.Length > 0 && tested.All(verdict => verdict.Runs < verdict.FewestRuns))
            sentences.Add($"None of {Many(tested.Length, "comparison")} of two schedulers by one metric can show a difference: {Many(tested.Max(verdict => verdict.Runs), "run")} of each {(tested.Max(verdict => verdict.Runs) == 1 ? "is" : "are")} too few; at least {tested.Max(verdict => verdict.FewestRuns)} are needed for that many comparisons.");
        else if (tested.Length > 0)
            sentences.Add($"{tested.Count(verdict => verdict.IsShown)} of {Many(tested.Length, "comparison")} of two schedulers by one metric showed a difference: the 95 % interval excludes zero, and the probability stays below 5 % after Holm's correction for all pairs and cells of that metric.");
        if (exact.Length > 0)
            sentences.Add($"{exact.Count(verdict => verdict.IsShown)} of {Many(exact.Length, "comparison")} {(tested.Length > 0 ? "" : "of two schedulers by one metric ")}differ in virtual time where every repetition is a copy of one run: nothing is left to chance there, so there is neither interval nor probability, and more repetitions would add nothing.");
        return string.Join(' ', sentences);
    }

    private static string Many(int count, string noun) => $"{count} {noun}{(count == 1 ? "" : "s")}";

    internal static string Of(MetricDefinition metric, Verdict verdict, int firstRuns, int secondRuns, int family)
    {
        string pair = $"{verdict.First} and {verdict.Second}";
        if (verdict is { Difference: 0, DifferenceInterval: { Low: 0, High: 0 } })
            return $"no difference: {pair} had the same {metric.Title} in every run";
        if (verdict.IsShown)
            return Shown(metric, verdict);
        if (verdict is { Percent: { } small, PercentInterval: { } about } && Math.Abs(small) < LeastPercent && Math.Max(Math.Abs(about.Low), Math.Abs(about.High)) < LeastPercent)
            return $"no difference that matters between {pair}: it is below {LeastPercent} %";
        if (verdict.IsExact)
            return $"no difference that matters between {pair}: {Value(metric, Math.Abs(verdict.Difference))}, in every run alike";
        if (verdict.Runs < verdict.FewestRuns)
        {
            string had = verdict.IsPaired ? $"{Many(verdict.Runs, "pair")} with a seed of their own" : $"{firstRuns} and {secondRuns}";
            return $"too few runs to tell {pair} apart: {had}; {(family == 1 ? "" : $"among {family} comparisons ")}{verdict.FewestRuns} of each are the fewest that can show a difference";
        }

        string interval = verdict.PercentInterval is { } percent ? $"{Signed(percent.Low)} to {Signed(percent.High)} %" : Range(metric, verdict.DifferenceInterval);
        if (verdict.DifferenceInterval.Contains(0))
            return $"no difference shown between {pair}: the 95 % interval of the difference, {interval}, includes zero";
        string chance = (verdict.Corrected ?? 1).ToString("0.00", CultureInfo.InvariantCulture);
        return family == 1
            ? $"no difference shown between {pair}: the runs are too scattered for one (p = {chance})"
            : $"no difference shown between {pair}: among {family} comparisons this one may be chance (p = {chance} after Holm's correction)";
    }

    private static string Shown(MetricDefinition metric, Verdict verdict)
    {
        string than = verdict.Difference < 0 ? "lower" : "higher";
        string head = metric.Better == MetricCatalogue.Neither ? $"{verdict.First} differs" : $"{verdict.First} is better";
        string effect = $"{EffectSize.Word(verdict.CliffsDelta)} effect";
        if (verdict is { Percent: { } percent, PercentInterval: { } interval })
        {
            (double low, double high) = percent < 0 ? (-interval.High, -interval.Low) : (interval.Low, interval.High);
            string tail = verdict.IsExact ? "in every run alike" : $"95 % interval {NumberText.Of(low)} to {NumberText.Of(high)} %, {effect}";
            return $"{head}: {NumberText.Of(Math.Abs(percent))} % {than} {metric.Title} than {verdict.Second}, {tail}";
        }

        (double least, double most) = verdict.Difference < 0
            ? (-verdict.DifferenceInterval.High, -verdict.DifferenceInterval.Low)
            : (verdict.DifferenceInterval.Low, verdict.DifferenceInterval.High);
        string range = verdict.IsExact ? "in every run alike" : $"95 % interval {Range(metric, new Interval(least, most))}, {effect}";
        return $"{head}: {Value(metric, Math.Abs(verdict.Difference))} {than} {metric.Title} than {verdict.Second}, {range}";
    }

    private static string Signed(double value) => (value > 0 ? "+" : "") + NumberText.Of(value);
}
