using System.Globalization;
using Tessera.Lab.Statistics;
using Tessera.Sdk;

namespace Tessera.Lab.Comparisons;

/// <summary>Verdicts and numbers in words.</summary>
public static class VerdictText
{
    /// <summary>Fewer runs than this on each side can show no difference at 5 %, whatever they give.</summary>
    public const int FewestRuns = 4;

    /// <summary>A value with its unit: "12.3 µs", "0.42 points".</summary>
    public static string Value(MetricDefinition metric, double value) => metric.Unit switch
    {
        "ns" => new Nanoseconds((long)Math.Round(value)).ToString(),
        "points" => $"{Number(value)} points",
        "%" => $"{Number(value)} %",
        "/s" => $"{Number(value)}/s",
        _ => value.ToString("0.0000", CultureInfo.InvariantCulture),
    };

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

    internal static string Of(MetricDefinition metric, Verdict verdict, int firstRuns, int secondRuns, int family)
    {
        if (verdict is { Difference: 0, DifferenceInterval: { Low: 0, High: 0 } })
            return $"no difference: {verdict.First} and {verdict.Second} had the same {metric.Title} in every run";
        if (Math.Min(firstRuns, secondRuns) < FewestRuns)
            return $"too few runs to tell {verdict.First} from {verdict.Second}: {firstRuns} and {secondRuns}, and fewer than {FewestRuns} of each can show nothing";
        if (verdict.IsShown)
            return Shown(metric, verdict);
        string interval = verdict.PercentInterval is { } percent
            ? $"{Signed(percent.Low)} to {Signed(percent.High)} %"
            : $"{Value(metric, verdict.DifferenceInterval.Low)} to {Value(metric, verdict.DifferenceInterval.High)}";
        if (verdict.DifferenceInterval.Contains(0))
            return $"no difference shown between {verdict.First} and {verdict.Second}: the 95 % interval of the difference, {interval}, includes none";
        string chance = verdict.Corrected.ToString("0.00", CultureInfo.InvariantCulture);
        return family == 1
            ? $"no difference shown between {verdict.First} and {verdict.Second}: the runs are too few or too scattered for one (p = {chance})"
            : $"no difference shown between {verdict.First} and {verdict.Second}: among {family} comparisons this one may be chance (p = {chance} after Holm's correction)";
    }

    private static string Shown(MetricDefinition metric, Verdict verdict)
    {
        string than = verdict.Difference < 0 ? "lower" : "higher";
        string head = metric.Better == MetricCatalogue.Neither ? $"{verdict.First} differs" : $"{verdict.First} is better";
        string effect = $"{EffectSize.Word(verdict.CliffsDelta)} effect";
        if (verdict is { Percent: { } percent, PercentInterval: { } interval })
        {
            (double low, double high) = percent < 0 ? (-interval.High, -interval.Low) : (interval.Low, interval.High);
            return $"{head}: {Number(Math.Abs(percent))} % {than} {metric.Title} than {verdict.Second}, 95 % interval {Number(low)} to {Number(high)} %, {effect}";
        }

        (double least, double most) = verdict.Difference < 0
            ? (-verdict.DifferenceInterval.High, -verdict.DifferenceInterval.Low)
            : (verdict.DifferenceInterval.Low, verdict.DifferenceInterval.High);
        return $"{head}: {Value(metric, Math.Abs(verdict.Difference))} {than} {metric.Title} than {verdict.Second}, 95 % interval {Value(metric, least)} to {Value(metric, most)}, {effect}";
    }

    private static string Signed(double value) => (value > 0 ? "+" : "") + Number(value);
}
