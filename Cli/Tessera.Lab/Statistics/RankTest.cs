using MathNet.Numerics.Distributions;

namespace Tessera.Lab.Statistics;

/// <summary>
/// Tests by ranks. For two groups the two-sided one of Mann and Whitney (Annals of Mathematical Statistics 18(1), 1947): how probable ranks as uneven as these are if
/// both groups come from one distribution. Ties have their middle rank.
/// </summary>
/// <remarks>
/// Up to <see cref="ExactLimit"/> values in all, exact: every way of dividing the very ranks among two groups of these sizes is counted
/// (a permutation test, so ties are no approximation). Above that the normal distribution with corrections for ties and continuity.
/// </remarks>
public static class RankTest
{
    /// <summary>So many values, both groups together, are tested exactly.</summary>
    public const int ExactLimit = 60;

    /// <summary>The probability, 0 to 1.</summary>
    /// <param name="first">At least one value.</param>
    /// <param name="second">At least one value.</param>
    public static double Probability(IReadOnlyList<double> first, IReadOnlyList<double> second)
    {
        ArgumentOutOfRangeException.ThrowIfZero(first.Count, nameof(first));
        ArgumentOutOfRangeException.ThrowIfZero(second.Count, nameof(second));
        int[] doubledRanks = DoubledRanks([.. first, .. second]);
        long sum = 0;
        for (int index = 0; index < first.Count; index++)
            sum += doubledRanks[index];
        long expected = (long)first.Count * (doubledRanks.Length + 1);
        long distance = Math.Abs(sum - expected);
        return distance == 0 ? 1
            : doubledRanks.Length <= ExactLimit ? Exact(doubledRanks, first.Count, expected, distance)
            : Approximate(doubledRanks, first.Count, second.Count, distance);
    }

    /// <summary>
    /// The two-sided signed-rank test of Wilcoxon (Biometrics Bulletin 1(6), 1945) on differences of pairs: how probable ranks as lopsided as these are if
    /// either sign of each difference is as likely as the other. Pairs without a difference are left out, ties have their middle rank; exact up to
    /// <see cref="ExactLimit"/> pairs, every way of giving the very ranks signs counted.
    /// </summary>
    /// <param name="differences">Of each pair, first less second.</param>
    /// <returns>The probability, 0 to 1.</returns>
    public static double SignedRank(IReadOnlyList<double> differences)
    {
        double[] kept = [.. differences.Where(difference => difference != 0)];
        if (kept.Length == 0)
            return 1;
        int[] doubledRanks = DoubledRanks([.. kept.Select(Math.Abs)]);
        long total = doubledRanks.Sum(rank => (long)rank);
        long positive = 0;
        for (int index = 0; index < kept.Length; index++)
            positive += kept[index] > 0 ? doubledRanks[index] : 0;
        long distance = Math.Abs((2 * positive) - total);
        if (distance == 0)
            return 1;
        if (kept.Length <= ExactLimit)
            return ExactSigns(doubledRanks, total, distance);
        double squares = doubledRanks.Sum(rank => (double)rank * rank);

        // The sum of signed ranks (here doubled) has mean 0 and variance Σr²; one sign more or less moves it by two ranks.
        double z = Math.Max(0, distance - 2) / Math.Sqrt(squares);
        return Math.Min(1, 2 * Normal.CDF(0, 1, -z));
    }

    /// <summary>Holm's step-down correction (Scandinavian Journal of Statistics 6(2), 1979): the chance of even one false finding among them all stays what it was for one.</summary>
    /// <param name="probabilities">Of the tests of one family.</param>
    /// <returns>The corrected ones, in the same order.</returns>
    public static double[] Holm(IReadOnlyList<double> probabilities)
    {
        int[] order = [.. Enumerable.Range(0, probabilities.Count).OrderBy(index => probabilities[index])];
        double[] corrected = new double[probabilities.Count];
        double least = 0;
        for (int place = 0; place < order.Length; place++)
        {
            least = Math.Max(least, Math.Min(1, probabilities[order[place]] * (order.Length - place)));
            corrected[order[place]] = least;
        }

        return corrected;
    }

    /// <summary>Twice the rank of each value, so that middle ranks are whole numbers.</summary>
    private static int[] DoubledRanks(double[] values)
    {
        int[] order = [.. Enumerable.Range(0, values.Length).OrderBy(index => values[index])];
        int[] ranks = new int[values.Length];
        for (int from = 0, to; from < order.Length; from = to)
        {
            for (to = from + 1; to < order.Length && values[order[to]] == values[order[from]]; to++)
            {
            }

            for (int place = from; place < to; place++)
                ranks[order[place]] = from + 1 + to;
        }

        return ranks;
    }

    /// <summary>Counts subsets of this size by their sum of doubled ranks.</summary>
    private static double Exact(int[] doubledRanks, int size, long expected, long distance)
    {
        int total = doubledRanks.Sum();
        double[][] ways = [.. Enumerable.Range(0, size + 1).Select(_ => new double[total + 1])];
        ways[0][0] = 1;
        foreach (int rank in doubledRanks)
        {
            for (int chosen = size; chosen > 0; chosen--)
            {
                for (int sum = total; sum >= rank; sum--)
                    ways[chosen][sum] += ways[chosen - 1][sum - rank];
            }
        }

        double all = 0;
        double asFar = 0;
        for (int sum = 0; sum <= total; sum++)
        {
            all += ways[size][sum];
            if (Math.Abs(sum - expected) >= distance)
                asFar += ways[size][sum];
        }

        return asFar / all;
    }

    /// <summary>Counts ways of signs by the sum of the doubled ranks that are positive.</summary>
    private static double ExactSigns(int[] doubledRanks, long total, long distance)
    {
        double[] ways = new double[total + 1];
        ways[0] = 1;
        foreach (int rank in doubledRanks)
        {
            for (long sum = total; sum >= rank; sum--)
                ways[sum] += ways[sum - rank];
        }

        double asFar = 0;
        for (long sum = 0; sum <= total; sum++)
        {
            if (Math.Abs((2 * sum) - total) >= distance)
                asFar += ways[sum];
        }

        return asFar / Math.Pow(2, doubledRanks.Length);
    }

    private static double Approximate(int[] doubledRanks, int first, int second, long doubledDistance)
    {
        double count = first + second;
        double ties = doubledRanks.GroupBy(rank => rank).Sum(group => Math.Pow(group.Count(), 3) - group.Count());
        double variance = first * (double)second / 12 * (count + 1 - (ties / (count * (count - 1))));
        if (variance <= 0)
            return 1;
        double z = Math.Max(0, (doubledDistance / 2.0) - 0.5) / Math.Sqrt(variance);
        return Math.Min(1, 2 * Normal.CDF(0, 1, -z));
    }
}
