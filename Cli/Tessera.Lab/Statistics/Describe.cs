namespace Tessera.Lab.Statistics;

/// <summary>What several measurements of one thing come to.</summary>
/// <param name="Count">How many.</param>
/// <param name="Mean">The arithmetic mean.</param>
/// <param name="Median">The median.</param>
/// <param name="StandardDeviation">Of the sample (n − 1); 0 for a single value.</param>
/// <param name="MeanInterval">The mean's 95 % confidence interval (<see cref="Bootstrap.OfMean"/>).</param>
/// <param name="MedianInterval">The median's (<see cref="Bootstrap.OfMedian"/>).</param>
public sealed record Summary(int Count, double Mean, double Median, double StandardDeviation, Interval MeanInterval, Interval MedianInterval)
{
    /// <summary>Describes measurements; null when there are none.</summary>
    public static Summary? Of(IReadOnlyList<double> values) => values.Count == 0
        ? null
        : new Summary(values.Count, Describe.Mean(values), Describe.Median(values), Math.Sqrt(Describe.Variance(values)), Bootstrap.OfMean(values), Bootstrap.OfMedian(values));
}

/// <summary>Means, medians, variances.</summary>
public static class Describe
{
    /// <summary>The arithmetic mean of at least one value.</summary>
    public static double Mean(IReadOnlyList<double> values)
    {
        double sum = 0;
        for (int index = 0; index < values.Count; index++)
            sum += values[index];
        return sum / values.Count;
    }

    /// <summary>The median of at least one value: of an even number, the mean of the two in the middle.</summary>
    public static double Median(IReadOnlyList<double> values)
    {
        double[] sorted = [.. values];
        Array.Sort(sorted);
        int middle = sorted.Length / 2;
        return sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }

    /// <summary>The sample's variance (n − 1); 0 for a single value.</summary>
    public static double Variance(IReadOnlyList<double> values)
    {
        if (values.Count < 2)
            return 0;
        double mean = Mean(values);
        double sum = 0;
        for (int index = 0; index < values.Count; index++)
            sum += (values[index] - mean) * (values[index] - mean);
        return sum / (values.Count - 1);
    }
}
