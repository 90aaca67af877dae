namespace Tessera.Lab.Statistics;

/// <summary>A point of a distribution: at least this part of the values are no greater.</summary>
/// <param name="Part">From 0 to 1.</param>
/// <param name="Value">The value.</param>
public readonly record struct QuantilePoint(double Part, long Value);

/// <summary>A distribution of whole numbers (times in nanoseconds) by its quantiles, exact: every value was at hand, none was put into a bucket.</summary>
/// <param name="Count">How many values.</param>
/// <param name="Min">The least.</param>
/// <param name="Mean">The arithmetic mean.</param>
/// <param name="P50">The median.</param>
/// <param name="P90">The 90th percentile.</param>
/// <param name="P99">The 99th percentile.</param>
/// <param name="P999">The 99.9th percentile.</param>
/// <param name="Max">The greatest.</param>
public sealed record Quantiles(long Count, long Min, double Mean, long P50, long P90, long P99, long P999, long Max)
{
    /// <summary>Points for each halving of the distance to 100 %, as HdrHistogram's percentile output has them by default.</summary>
    private const int TicksPerHalfDistance = 5;

    /// <summary>Describes values; null when there are none.</summary>
    /// <param name="values">The values; sorted in place.</param>
    public static Quantiles? Of(long[] values)
    {
        if (values.Length == 0)
            return null;
        Array.Sort(values);
        double sum = 0;
        foreach (long value in values)
            sum += value;
        return new Quantiles(values.Length, values[0], sum / values.Length, At(values, 0.5), At(values, 0.9), At(values, 0.99), At(values, 0.999), values[^1]);
    }

    /// <summary>The least value that at least this part of the values do not exceed (nearest rank, as HdrHistogram counts).</summary>
    /// <param name="sorted">The values, ascending, at least one.</param>
    /// <param name="part">From 0 to 1.</param>
    public static long At(ReadOnlySpan<long> sorted, double part) => sorted[RankOf(part, sorted.Length) - 1];

    /// <summary>
    /// The whole distribution, finer towards its tail: five steps for each halving of the distance to 100 %, as HdrHistogram's percentile
    /// distribution, until a step is less than one value.
    /// </summary>
    /// <param name="sorted">The values, ascending.</param>
    public static IReadOnlyList<QuantilePoint> Spectrum(ReadOnlySpan<long> sorted)
    {
        List<QuantilePoint> points = [];
        if (sorted.Length == 0)
            return points;
        double part = 0;
        for (double half = 0.5; ; half /= 2)
        {
            for (int tick = 0; tick < TicksPerHalfDistance; tick++, part += half / TicksPerHalfDistance)
                points.Add(new QuantilePoint(part, At(sorted, part)));
            if (half * sorted.Length < 1)
                break;
        }

        points.Add(new QuantilePoint(1, sorted[^1]));
        return points;
    }

    private static int RankOf(double part, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(part);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(part, 1);

        // 0.99 × 100 is a hair above 99 in binary: a rank must not jump for that.
        const double hair = 1e-9;
        return Math.Clamp((int)Math.Ceiling((part * count) - hair), 1, count);
    }
}
