using MathNet.Numerics.Distributions;

namespace Tessera.Lab.Statistics;

/// <summary>
/// Which differences a study can show: how often its rank test finds one that is there, by simulated studies of normal numbers. A difference is in standard deviations: of a
/// run, or in pairs of the pairs' differences. The correction for many comparisons is taken at its strictest, the first step of Holm's.
/// </summary>
public static class Power
{
    /// <summary>How often a study of the size asked for finds what is there.</summary>
    public const double Usual = 0.8;

    /// <summary>More runs of each than this are not simulated.</summary>
    public const int MostRuns = 200;

    private const int Studies = 2000;
    private const int Seed = 1933; // the year of Neyman and Pearson's lemma; any fixed number would do

    /// <summary>The part of studies, 0 to 1, that show a difference.</summary>
    /// <param name="difference">What is there, in standard deviations.</param>
    /// <param name="runs">Runs of each, or pairs.</param>
    /// <param name="significance">What a probability must stay below, corrected for the number of comparisons.</param>
    /// <param name="paired">Whether runs are pairs.</param>
    public static double Of(double difference, int runs, double significance, bool paired)
    {
        double critical = paired ? CriticalSigned(runs, significance) : Critical(runs, significance);
        if (critical < 0)
            return 0;
        Random random = new(Seed);
        double[] one = new double[runs], other = new double[runs];
        int shown = 0;
        for (int study = 0; study < Studies; study++)
        {
            Fill(one, random);
            Fill(other, random);
            shown += (paired ? Signed(one, difference) : Ranks(one, other, difference)) <= critical ? 1 : 0;
        }

        return shown / (double)Studies;
    }

    /// <summary>The least difference that is shown as often as <see cref="Usual"/>, in standard deviations; null when so few runs show none.</summary>
    /// <param name="runs">Runs of each, or pairs.</param>
    /// <param name="significance">As in <see cref="Of"/>.</param>
    /// <param name="paired">Whether runs are pairs.</param>
    public static double? LeastDifference(int runs, double significance, bool paired)
    {
        // More runs show less, by the square root of how many.
        if (runs > MostRuns)
            return LeastDifference(MostRuns, significance, paired) * Math.Sqrt(MostRuns / (double)runs);
        double low = 0, high = 16;
        if (Of(high, runs, significance, paired) < Usual)
            return null;
        while (high - low > 0.01)
        {
            double middle = (low + high) / 2;
            if (Of(middle, runs, significance, paired) < Usual)
                low = middle;
            else
                high = middle;
        }

        return high;
    }

    /// <summary>The fewest runs of each, or pairs, that show a difference as often as <see cref="Usual"/>; null beyond <see cref="MostRuns"/>.</summary>
    /// <param name="difference">What is there, in standard deviations.</param>
    /// <param name="significance">As in <see cref="Of"/>.</param>
    /// <param name="paired">Whether runs are pairs.</param>
    public static int? RunsFor(double difference, double significance, bool paired)
    {
        int low = 1, high = 2;
        while (Of(difference, high, significance, paired) < Usual)
        {
            if (high == MostRuns)
                return null;
            low = high;
            high = Math.Min(MostRuns, high * 2);
        }

        while (high - low > 1)
        {
            int middle = (low + high) / 2;
            if (Of(difference, middle, significance, paired) < Usual)
                low = middle;
            else
                high = middle;
        }

        return high;
    }

    /// <summary>The greatest U of Mann and Whitney whose two-sided probability is below the significance; negative for none.</summary>
    private static double Critical(int runs, double significance)
    {
        if (2 * runs > RankTest.ExactLimit)
            return Math.Floor((runs * runs / 2.0) - 0.5 + (Normal.InvCDF(0, 1, significance / 2) * Math.Sqrt(runs * (double)runs * ((2 * runs) + 1) / 12)));

        // Ways to get each U: of the ranks, by how many are chosen (the recurrence of Mann and Whitney).
        double[][] ways = [.. Enumerable.Range(0, runs + 1).Select(_ => new double[(runs * runs) + 1])];
        ways[0][0] = 1;
        for (int rank = 1; rank <= 2 * runs; rank++)
        {
            for (int chosen = Math.Min(rank, runs); chosen > 0; chosen--)
            {
                // The chosen-th of them has as many of the others below it as its rank leaves.
                int below = rank - chosen;
                for (int sum = runs * runs; below <= runs && sum >= below; sum--)
                    ways[chosen][sum] += ways[chosen - 1][sum - below];
            }
        }

        return Last(ways[runs], significance);
    }

    /// <summary>The same for the lesser sum of Wilcoxon's signed ranks.</summary>
    private static double CriticalSigned(int runs, double significance)
    {
        int total = runs * (runs + 1) / 2;
        if (runs > RankTest.ExactLimit)
            return Math.Floor((total / 2.0) - 0.5 + (Normal.InvCDF(0, 1, significance / 2) * Math.Sqrt(runs * (runs + 1.0) * ((2 * runs) + 1) / 24)));
        double[] ways = new double[total + 1];
        ways[0] = 1;
        for (int rank = 1; rank <= runs; rank++)
        {
            for (int sum = total; sum >= rank; sum--)
                ways[sum] += ways[sum - rank];
        }

        return Last(ways, significance);
    }

    private static int Last(double[] ways, double significance)
    {
        double all = ways.Sum();
        double below = 0;
        for (int value = 0; value < ways.Length; value++)
        {
            below += ways[value];
            if (2 * below / all >= significance)
                return value - 1;
        }

        return ways.Length - 1;
    }

    /// <summary>The lesser U, the first group moved by the difference.</summary>
    private static double Ranks(double[] one, double[] other, double difference)
    {
        int greater = 0;
        foreach (double left in one)
        {
            foreach (double right in other)
                greater += left + difference > right ? 1 : 0;
        }

        return Math.Min(greater, (one.Length * other.Length) - greater);
    }

    /// <summary>The lesser sum of ranks with one sign: the pairs (i ≤ j) whose mean is positive are as many as the positive ranks' sum (Tukey).</summary>
    private static double Signed(double[] differences, double difference)
    {
        int positive = 0;
        for (int first = 0; first < differences.Length; first++)
        {
            for (int second = first; second < differences.Length; second++)
                positive += differences[first] + differences[second] + (2 * difference) > 0 ? 1 : 0;
        }

        return Math.Min(positive, (differences.Length * (differences.Length + 1) / 2) - positive);
    }

    private static void Fill(double[] values, Random random)
    {
        for (int index = 0; index < values.Length; index++)
            values[index] = Normal.Sample(random, 0, 1);
    }
}
