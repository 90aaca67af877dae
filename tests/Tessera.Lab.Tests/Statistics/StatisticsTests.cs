using FsCheck;
using FsCheck.Fluent;
using Tessera.Lab.Statistics;
using Interval = Tessera.Lab.Statistics.Interval;

namespace Tessera.Lab.Tests.Statistics;

/// <summary>Statistics against published values and against properties that hold for any values.</summary>
internal sealed class StatisticsTests
{
    /// <summary>Survival of mice in days: Efron and Tibshirani, table 2.1.</summary>
    private static readonly double[] Treated = [94, 197, 16, 38, 99, 141, 23];
    private static readonly double[] Untreated = [52, 104, 146, 10, 51, 30, 40, 27, 46];

    /// <summary>Eight and eight without ties; 53 of the 64 pairs have the first one greater.</summary>
    private static readonly double[] First = [7, 14, 22, 36, 40, 48, 49, 52];
    private static readonly double[] Second = [3, 5, 6, 10, 17, 18, 20, 39];

    [Test]
    public void The_mouse_data_have_the_books_means_and_a_difference_that_is_no_finding()
    {
        Assert.Multiple(() =>
        {
            Assert.That(Describe.Mean(Treated), Is.EqualTo(86.86).Within(0.01));
            Assert.That(Describe.Mean(Untreated), Is.EqualTo(56.22).Within(0.01));
            Assert.That(Describe.Median(Treated), Is.EqualTo(94));

            // The standard error of the mean in the book is 25.24.
            Assert.That(Math.Sqrt(Describe.Variance(Treated) / Treated.Length), Is.EqualTo(25.24).Within(0.01));
            Assert.That(Bootstrap.OfDifference(Treated, Untreated).Contains(0), Is.True);
        });
    }

    [Test]
    public void The_bootstraps_spread_is_the_plug_in_standard_error()
    {
        // A normal approximation of the interval has ±1.96 standard errors of 23.36 (the book's value for many resamples).
        Interval interval = Bootstrap.OfDifference(Treated, [0.0]);
        Assert.That((interval.High - interval.Low) / (2 * 1.96), Is.EqualTo(23.36).Within(0.8), "of a single value nothing is known that would expand it");
    }

    [Test]
    public void BCa_gives_the_interval_of_the_ideal_bootstrap()
    {
        // All 7^7 samples of the treated mice instead of a random 10,000 give 46.29 to 138.29; percentiles alone would give 43.43 to 134.43.
        Interval interval = Bootstrap.BiasCorrected(Treated, 0.025);
        Assert.Multiple(() =>
        {
            Assert.That(interval.Low, Is.EqualTo(46.29).Within(1.5));
            Assert.That(interval.High, Is.EqualTo(138.29).Within(1.5));
        });
    }

    [Test]
    public void Small_rank_tests_have_their_tabled_probabilities()
    {
        Assert.Multiple(() =>
        {
            // Complete separation: 2 / C(n + m, n).
            Assert.That(RankTest.Probability([1, 2, 3], [4, 5, 6]), Is.EqualTo(0.1).Within(1e-12));
            Assert.That(RankTest.Probability([1, 2, 3, 4], [5, 6, 7, 8]), Is.EqualTo(2 / 70.0).Within(1e-12));

            // U = 11 of 8 and 8: 362 of the C(16, 8) = 12870 divisions are as far apart.
            Assert.That(RankTest.Probability(First, Second), Is.EqualTo(362 / 12870.0).Within(1e-12));

            // With ties the very ranks are permuted: of C(4, 2) = 6 ways to draw two of {1.5, 1.5, 3.5, 3.5}, two are as far apart.
            Assert.That(RankTest.Probability([1, 1], [2, 2]), Is.EqualTo(2 / 6.0).Within(1e-12));
            Assert.That(RankTest.Probability([5, 5, 5], [5, 5, 5]), Is.EqualTo(1));
        });
    }

    [Test]
    public void Signed_ranks_have_their_tabled_probabilities()
    {
        Assert.Multiple(() =>
        {
            // n = 8, W = 3: of 256 ways of signs 5 have a sum of at most 3 (0, 1, 2, 3, 1 + 2), so two-sided 10 / 256 (table of Wilcoxon: 0.039).
            Assert.That(RankTest.SignedRank([-1, -2, 3, 4, 5, 6, 7, 8]), Is.EqualTo(10 / 256.0).Within(1e-12));
            Assert.That(RankTest.SignedRank([1, 2, 3, 4, 5, 6]), Is.EqualTo(2 / 64.0).Within(1e-12));

            // No difference is no evidence; ties have middle ranks: of 4 ways of signs of {1.5, 1.5} two are as far apart.
            Assert.That(RankTest.SignedRank([0, 0, 3, 3]), Is.EqualTo(2 / 4.0).Within(1e-12));
            Assert.That(RankTest.SignedRank([0, 0]), Is.EqualTo(1));

            // Above the limit the normal distribution: the exact probability of these 61 is 0.02291.
            Assert.That(RankTest.SignedRank([.. Enumerable.Range(1, 61).Select(value => value % 3 == 0 ? -value : (double)value)]), Is.EqualTo(0.02291).Within(0.001));
        });
    }

    [Test]
    public void The_approximation_takes_over_where_the_exact_test_ends()
    {
        double[] one = [.. Enumerable.Range(0, 30).Select(index => (double)index)];
        double[] other = [.. Enumerable.Range(0, 30).Select(index => index + 8.5)];
        double[] more = [.. other, 19.2];
        Assert.That(RankTest.Probability(one, more), Is.EqualTo(RankTest.Probability(one, other)).Within(0.002));
    }

    [Test]
    public void Holm_corrects_step_by_step_and_never_falls()
    {
        // 4 × 0.005, 3 × 0.01, 2 × 0.03, and 1 × 0.04 raised to the one before.
        Assert.That(RankTest.Holm([0.01, 0.04, 0.03, 0.005]), Is.EqualTo(new[] { 0.03, 0.06, 0.06, 0.02 }).Within(1e-12));
    }

    [Test]
    public void Effect_sizes_are_what_their_definitions_give()
    {
        Assert.Multiple(() =>
        {
            Assert.That(EffectSize.CliffsDelta(First, Second), Is.EqualTo((53 - 11) / 64.0).Within(1e-12));
            Assert.That(EffectSize.Word(0.1), Is.EqualTo("negligible"));
            Assert.That(EffectSize.Word(-0.5), Is.EqualTo("large"));

            // Means 3 and 8, both variances 2.5, so d = −3.162; g = d (1 − 3/31).
            Assert.That(EffectSize.HedgesG([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]), Is.EqualTo(-3.16227766 * (1 - (3 / 31.0))).Within(1e-6));
            Assert.That(EffectSize.HedgesG([1, 1], [2, 2]), Is.Null);
        });
    }

    [Test]
    public void Quantiles_are_nearest_ranks_and_the_spectrum_grows_finer_to_its_end()
    {
        long[] values = [.. Enumerable.Range(1, 1000).Select(value => (long)value).Reverse()];
        Quantiles all = Quantiles.Of(values)!;
        IReadOnlyList<QuantilePoint> spectrum = Quantiles.Spectrum(values);
        Assert.Multiple(() =>
        {
            Assert.That(all, Is.EqualTo(new Quantiles(1000, 1, 500.5, 500, 900, 990, 999, 1000)));
            Assert.That(Quantiles.Of([]), Is.Null);
            Assert.That(spectrum[0], Is.EqualTo(new QuantilePoint(0, 1)));
            Assert.That(spectrum[^1], Is.EqualTo(new QuantilePoint(1, 1000)));
            Assert.That(spectrum.Zip(spectrum.Skip(1)), Has.All.Matches<(QuantilePoint First, QuantilePoint Second)>(pair => pair.First.Part < pair.Second.Part && pair.First.Value <= pair.Second.Value));
        });
    }

    [Test]
    public void Intervals_contain_what_they_are_of_and_move_with_the_values() => Check.QuickThrowOnFailure(Prop.ForAll(Samples(), sample =>
    {
        double[] moved = [.. sample.Select(value => (2 * value) + 5)];
        Interval mean = Bootstrap.OfMean(sample);
        Interval other = Bootstrap.OfMean(moved);
        Interval median = Bootstrap.OfMedian(sample);
        double scale = 1 + sample.Max(Math.Abs);
        return mean.Low <= Describe.Mean(sample) + 1e-9 && mean.High >= Describe.Mean(sample) - 1e-9
            && mean.Low >= sample.Min() - 1e-9 && mean.High <= sample.Max() + 1e-9
            && Math.Abs(other.Low - ((2 * mean.Low) + 5)) < 1e-6 * scale && Math.Abs(other.High - ((2 * mean.High) + 5)) < 1e-6 * scale
            && median.Low <= Describe.Median(sample) + 1e-9 && median.High >= Describe.Median(sample) - 1e-9
            && Bootstrap.OfMean(sample) == mean;
    }));

    [Test]
    public void Groups_exchanged_give_the_mirror_image() => Check.QuickThrowOnFailure(Prop.ForAll(Samples(), Samples(), (one, other) =>
    {
        double probability = RankTest.Probability(one, other);
        double delta = EffectSize.CliffsDelta(one, other);
        return probability is > 0 and <= 1
            && Math.Abs(probability - RankTest.Probability(other, one)) < 1e-9
            && delta is >= -1 and <= 1
            && Math.Abs(delta + EffectSize.CliffsDelta(other, one)) < 1e-12;
    }));

    private static Arbitrary<double[]> Samples() =>
        Gen.Choose(-1000, 1000).Select(value => value / 8.0).ArrayOf().Where(values => values.Length is > 0 and < 12).ToArbitrary();
}
