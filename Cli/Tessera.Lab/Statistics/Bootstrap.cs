using MathNet.Numerics.Distributions;

namespace Tessera.Lab.Statistics;

/// <summary>An interval that a number lies in with the confidence asked for.</summary>
/// <param name="Low">Its lower end.</param>
/// <param name="High">Its upper end.</param>
public readonly record struct Interval(double Low, double High)
{
    /// <summary>Whether a value lies in it, ends included.</summary>
    public bool Contains(double value) => value >= Low && value <= High;

    /// <summary>Whether two intervals have a value in common.</summary>
    public bool Overlaps(Interval other) => Low <= other.High && other.Low <= High;
}

/// <summary>
/// Confidence intervals by the bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993). Seeded: the same values give
/// the same interval. A bootstrap's spread is too small for few values, so intervals that are of means are expanded for their number
/// (Hesterberg, The American Statistician 69(4), 2015, section 5.3).
/// </summary>
public static class Bootstrap
{
    /// <summary>Resamples drawn for one interval.</summary>
    public const int Resamples = 10_000;

    /// <summary>The confidence of intervals unless said otherwise.</summary>
    public const double Confidence = 0.95;

    private const int Seed = 1979; // Efron's year; any fixed number would do

    /// <summary>The mean's interval, bias-corrected and accelerated (BCa, chapter 14.3), and expanded.</summary>
    /// <param name="values">At least one value.</param>
    /// <param name="confidence">Between 0 and 1.</param>
    public static Interval OfMean(IReadOnlyList<double> values, double confidence = Confidence) =>
        BiasCorrected(values, Expanded((1 - confidence) / 2, values.Count, values.Count - 1));

    /// <summary>BCa with so much left out at either end.</summary>
    internal static Interval BiasCorrected(IReadOnlyList<double> values, double half)
    {
        double[] sample = [.. values];
        double mean = Mean(sample);
        double[] means = Replicates(sample, Mean);
        if (means[0] == means[^1])
            return new Interval(mean, mean);
        int below = 0;
        foreach (double replicate in means)
            below += replicate < mean ? 2 : replicate == mean ? 1 : 0;
        double bias = Normal.InvCDF(0, 1, Math.Clamp(below / (2.0 * Resamples), 1.0 / Resamples, 1 - (1.0 / Resamples)));
        double acceleration = Acceleration(sample, mean);
        return new Interval(At(means, Adjust(half)), At(means, Adjust(1 - half)));

        double Adjust(double part)
        {
            double z = bias + Normal.InvCDF(0, 1, part);
            return Normal.CDF(0, 1, bias + (z / (1 - (acceleration * z))));
        }
    }

    /// <summary>
    /// The median's interval by percentiles (chapter 13.3): the jackknife that BCa needs does not work for a median.
    /// </summary>
    /// <param name="values">At least one value.</param>
    /// <param name="confidence">Between 0 and 1.</param>
    public static Interval OfMedian(IReadOnlyList<double> values, double confidence = Confidence) =>
        Percentiles(Replicates([.. values], Describe.Median), (1 - confidence) / 2);

    /// <summary>The interval of the difference of two means, first minus second, by percentiles, expanded; both samples are drawn anew each time.</summary>
    /// <param name="first">At least one value.</param>
    /// <param name="second">At least one value.</param>
    /// <param name="paired">Whether values at the same place belong together and are drawn together; both then have equally many.</param>
    /// <param name="confidence">Between 0 and 1.</param>
    public static Interval OfDifference(IReadOnlyList<double> first, IReadOnlyList<double> second, bool paired = false, double confidence = Confidence) =>
        Percentiles(Pairs([.. first], [.. second], paired, static (one, other) => one - other), Expanded(first, second, paired, confidence));

    /// <summary>The interval of the ratio of two means, first over second, in the same way; null unless every value of the second is above zero.</summary>
    /// <param name="first">At least one value.</param>
    /// <param name="second">At least one value.</param>
    /// <param name="paired">As for <see cref="OfDifference"/>.</param>
    /// <param name="confidence">Between 0 and 1.</param>
    public static Interval? OfRatio(IReadOnlyList<double> first, IReadOnlyList<double> second, bool paired = false, double confidence = Confidence)
    {
        foreach (double value in second)
        {
            if (!(value > 0))
                return null;
        }

        return Percentiles(Pairs([.. first], [.. second], paired, static (one, other) => one / other), Expanded(first, second, paired, confidence));
    }

    private static double[] Pairs(double[] first, double[] second, bool paired, Func<double, double, double> combine)
    {
        if (paired)
            ArgumentOutOfRangeException.ThrowIfNotEqual(second.Length, first.Length);
        ArgumentOutOfRangeException.ThrowIfZero(first.Length, nameof(first));
        ArgumentOutOfRangeException.ThrowIfZero(second.Length, nameof(second));
        Random random = new(Seed);
        double[] drawnFirst = new double[first.Length];
        double[] drawnSecond = new double[second.Length];
        double[] combined = new double[Resamples];
        for (int resample = 0; resample < Resamples; resample++)
        {
            if (paired)
            {
                DrawTogether(first, second, drawnFirst, drawnSecond, random);
            }
            else
            {
                Draw(first, drawnFirst, random);
                Draw(second, drawnSecond, random);
            }

            combined[resample] = combine(Mean(drawnFirst), Mean(drawnSecond));
        }

        Array.Sort(combined);
        return combined;
    }

    private static double[] Replicates(double[] values, Func<double[], double> statistic)
    {
        ArgumentOutOfRangeException.ThrowIfZero(values.Length, nameof(values));
        Random random = new(Seed);
        double[] drawn = new double[values.Length];
        double[] replicates = new double[Resamples];
        for (int resample = 0; resample < Resamples; resample++)
        {
            Draw(values, drawn, random);
            replicates[resample] = statistic(drawn);
        }

        Array.Sort(replicates);
        return replicates;
    }

    private static double Mean(double[] values)
    {
        double sum = 0;
        foreach (double value in values)
            sum += value;
        return sum / values.Length;
    }

    private static void Draw(double[] from, double[] to, Random random)
    {
        for (int index = 0; index < to.Length; index++)
            to[index] = from[random.Next(from.Length)];
    }

    private static void DrawTogether(double[] first, double[] second, double[] toFirst, double[] toSecond, Random random)
    {
        for (int index = 0; index < first.Length; index++)
        {
            int drawn = random.Next(first.Length);
            (toFirst[index], toSecond[index]) = (first[drawn], second[drawn]);
        }
    }

    /// <summary>A sixth of the skewness of the jackknifed means (formula 14.15).</summary>
    private static double Acceleration(double[] values, double mean)
    {
        double squares = 0;
        double cubes = 0;
        foreach (double value in values)
        {
            // Leaving a value out moves the mean by (mean − value) / (n − 1); the factor cancels, its sign stays.
            double deviation = value - mean;
            squares += deviation * deviation;
            cubes += deviation * deviation * deviation;
        }

        return squares == 0 ? 0 : cubes / (6 * Math.Pow(squares, 1.5));
    }

    private static Interval Percentiles(double[] sorted, double half) => new(At(sorted, half), At(sorted, 1 - half));

    private static double Expanded(IReadOnlyList<double> first, IReadOnlyList<double> second, bool paired, double confidence)
    {
        int least = Math.Min(first.Count, second.Count);
        return Expanded((1 - confidence) / 2, least, paired ? least - 1 : first.Count + second.Count - 2);
    }

    /// <summary>
    /// How much to leave out at either end, so that the interval is as wide as Student's t of these values would be: the bootstrap's spread is that of a
    /// population, too small by √((n − 1) / n), and its shape that of the normal distribution. Never quite nothing: that is the outermost resample.
    /// </summary>
    private static double Expanded(double half, int count, int freedom) => count < 2
        ? half
        : Math.Max(1e-6, Normal.CDF(0, 1, Math.Sqrt(count / (count - 1.0)) * StudentT.InvCDF(0, 1, freedom, half)));

    private static double At(double[] sorted, double part)
    {
        double place = Math.Clamp((part * (sorted.Length + 1)) - 1, 0, sorted.Length - 1);
        int floor = (int)place;
        return floor + 1 >= sorted.Length ? sorted[^1] : sorted[floor] + ((place - floor) * (sorted[floor + 1] - sorted[floor]));
    }
}
