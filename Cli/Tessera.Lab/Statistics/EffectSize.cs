namespace Tessera.Lab.Statistics;

/// <summary>How far two groups of measurements are apart, in ways that do not grow with the number of measurements.</summary>
public static class EffectSize
{
    /// <summary>
    /// Cliff's delta (Psychological Bulletin 114(3), 1993): the part of all pairs in which the first group's value is the greater, less
    /// the part in which it is the lesser. From −1 to 1; it asks nothing of the distributions.
    /// </summary>
    public static double CliffsDelta(IReadOnlyList<double> first, IReadOnlyList<double> second)
    {
        long greater = 0;
        foreach (double one in first)
        {
            foreach (double other in second)
                greater += one.CompareTo(other) switch { > 0 => 1, < 0 => -1, _ => 0 };
        }

        return greater / ((double)first.Count * second.Count);
    }

    /// <summary>The usual word for a delta's size (Romano and others, 2006: 0.147, 0.33, 0.474).</summary>
    public static string Word(double delta) => Math.Abs(delta) switch
    {
        < 0.147 => "negligible",
        < 0.33 => "small",
        < 0.474 => "medium",
        _ => "large",
    };

    /// <summary>
    /// Hedges' g (Journal of Educational Statistics 6(2), 1981): the difference of the means over the pooled standard deviation, with the
    /// correction for small samples, 1 − 3/(4·df − 1). Null when both groups do not vary, or one has a single value.
    /// </summary>
    public static double? HedgesG(IReadOnlyList<double> first, IReadOnlyList<double> second)
    {
        int freedom = first.Count + second.Count - 2;
        if (first.Count < 2 || second.Count < 2)
            return null;
        double pooled = Math.Sqrt((((first.Count - 1) * Describe.Variance(first)) + ((second.Count - 1) * Describe.Variance(second))) / freedom);
        return pooled > 0 ? (Describe.Mean(first) - Describe.Mean(second)) / pooled * (1 - (3 / ((4.0 * freedom) - 1))) : null;
    }
}
