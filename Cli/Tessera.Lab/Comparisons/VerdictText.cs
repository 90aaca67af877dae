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
        "ns" => Time(value),
        "points" => $"{Number(value)} points",
        "%" => $"{Number(value)} %",
        "/s" => $"{Number(value)}/s",
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

    /// <summary>A time in the unit that leaves it short: "43.1 µs".</summary>
    public static string Time(double nanoseconds) => Math.Abs(nanoseconds) switch
    {
        < 1e3 => $"{Number(nanoseconds)} ns",
        < 1e6 => $"{Number(nanoseconds / 1e3)} µs",
        < 1e9 => $"{Number(nanoseconds / 1e6)} ms",
        _ => $"{Number(nanoseconds / 1e9)} s",
    };

    /// <summary>The fewest runs on each side with which the rank test can show anything among so many comparisons.</summary>
    public static int FewestRuns(int family)
    {
        // Complete separation has the least probability there is: 2 / C(2n, n).
        int runs = 1;
        for (double probability = 1; probability * family >= ComparisonStatistics.Significance; runs++)
            probability *= (runs + 1) / (2.0 * ((2 * runs) + 1));
        return runs;
    }

    /// <summary>A number with as many digits as tell something.</summary>
    public static string Number(double value) => Math.Abs(value) switch
    {
        0 => "0",
        >= 1000 => value.ToString("N0", CultureInfo.InvariantCulture),
        >= 100 => value.ToString("0", CultureInfo.InvariantCulture),
        >= 10 => value.ToString("0.0", CultureInfo.InvariantCulture),
        >= 0.1 => value.ToString("0.00", CultureInfo.InvariantCulture),
        _ => value.ToString("0.####", CultureInfo.InvariantCulture),
    };

    internal static string Of(MetricDefinition metric, Verdict verdict, int firstRuns, int secondRuns, int family, bool isExact)
    {
        string pair = $"{verdict.First} and {verdict.Second}";
        if (verdict is { Difference: 0, DifferenceInterval: { Low: 0, High: 0 } })
            return $"no difference: {pair} had the same {metric.Title} in every run";
        if (verdict.IsShown)
            return Shown(metric, verdict, isExact);
        if (verdict is { Percent: { } small, PercentInterval: { } about } && Math.Abs(small) < LeastPercent && Math.Max(Math.Abs(about.Low), Math.Abs(about.High)) < LeastPercent)
            return $"no difference that matters between {pair}: it is below {LeastPercent} %";
        int fewest = FewestRuns(family);
        if (Math.Min(firstRuns, secondRuns) < fewest)
            return $"too few runs to tell {pair} apart: {firstRuns} and {secondRuns}; {(family == 1 ? "" : $"among {family} comparisons ")}{fewest} of each are the fewest that can show a difference";
        string interval = verdict.PercentInterval is { } percent ? $"{Signed(percent.Low)} to {Signed(percent.High)} %" : Range(metric, verdict.DifferenceInterval);
        if (verdict.DifferenceInterval.Contains(0))
            return $"no difference shown between {pair}: the 95 % interval of the difference, {interval}, includes none";
        string chance = verdict.Corrected.ToString("0.00", CultureInfo.InvariantCulture);
        return family == 1
            ? $"no difference shown between {pair}: the runs are too scattered for one (p = {chance})"
            : $"no difference shown between {pair}: among {family} comparisons this one may be chance (p = {chance} after Holm's correction)";
    }

    private static string Shown(MetricDefinition metric, Verdict verdict, bool isExact)
    {
        string than = verdict.Difference < 0 ? "lower" : "higher";
        string head = metric.Better == MetricCatalogue.Neither ? $"{verdict.First} differs" : $"{verdict.First} is better";
        string effect = $"{EffectSize.Word(verdict.CliffsDelta)} effect";
        if (verdict is { Percent: { } percent, PercentInterval: { } interval })
        {
            (double low, double high) = percent < 0 ? (-interval.High, -interval.Low) : (interval.Low, interval.High);
            string tail = isExact ? "in every run alike" : $"95 % interval {Number(low)} to {Number(high)} %, {effect}";
            return $"{head}: {Number(Math.Abs(percent))} % {than} {metric.Title} than {verdict.Second}, {tail}";
        }

        (double least, double most) = verdict.Difference < 0
            ? (-verdict.DifferenceInterval.High, -verdict.DifferenceInterval.Low)
            : (verdict.DifferenceInterval.Low, verdict.DifferenceInterval.High);
        string range = isExact ? "in every run alike" : $"95 % interval {Range(metric, new Interval(least, most))}, {effect}";
        return $"{head}: {Value(metric, Math.Abs(verdict.Difference))} {than} {metric.Title} than {verdict.Second}, {range}";
    }

    private static string Signed(double value) => (value > 0 ? "+" : "") + Number(value);
}
