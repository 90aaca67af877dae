using System.Diagnostics;
using System.Text.Json;
using Tessera.Lab.Comparisons;
using Tessera.Lab.Statistics;
using Interval = Tessera.Lab.Statistics.Interval;

namespace Tessera.Lab.Tests.Statistics;

/// <summary>The same numbers by an independent implementation: SciPy, where the host has it (Debian: python3-scipy).</summary>
internal sealed class SciPyTests
{
    /// <summary>Reads samples, prints what SciPy makes of them; Holm's correction and the effect sizes are in no function of it, and written from their definitions.</summary>
    private const string Script = """
        import json, sys
        import numpy as np
        from scipy import stats
        given = json.load(sys.stdin)
        out = []
        for first, second in given["pairs"]:
            x, y = np.array(first), np.array(second)
            bca = stats.bootstrap((x,), np.mean, n_resamples=20000, method="BCa", random_state=1).confidence_interval
            pooled = (((len(x) - 1) * x.var(ddof=1) + (len(y) - 1) * y.var(ddof=1)) / (len(x) + len(y) - 2)) ** .5
            out.append({
                "rank": stats.mannwhitneyu(x, y, alternative="two-sided", method="exact" if len(x) + len(y) <= 60 else "asymptotic").pvalue,
                "signed": stats.wilcoxon(x - y, mode="exact" if len(x) <= 50 else "approx", correction=True).pvalue,
                "bca": [bca.low, bca.high],
                "delta": float(np.sign(x[:, None] - y[None, :]).mean()),
                "g": (x.mean() - y.mean()) / pooled * (1 - 3 / (4 * (len(x) + len(y) - 2) - 1)),
            })
        p = np.array([each["rank"] for each in out])
        order = np.argsort(p)
        holm = np.empty(len(p))
        holm[order] = np.minimum(1, np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))))
        generator = np.random.default_rng(3)
        power = []
        for difference, runs, significance, paired in given["studies"]:
            x = generator.normal(difference, 1, (1500, runs))
            y = generator.normal(0, 1, (1500, runs))
            found = [stats.wilcoxon(a).pvalue if paired else stats.mannwhitneyu(a, b, method="exact").pvalue for a, b in zip(x, y)]
            power.append(float(np.mean(np.array(found) < significance)))
        json.dump({"pairs": out, "holm": holm.tolist(), "power": power}, sys.stdout)
        """;

    private static readonly (double Difference, int Runs, double Significance, bool Paired)[] Studies =
        [(1, 10, 0.05, false), (1, 10, 0.05, true), (1.5, 12, 0.01, false), (0.7, 20, 0.05 / 6, true), (2, 4, 0.05, false), (3, 5, 0.05, true)];

    [Test]
    public void Tests_intervals_effects_corrections_and_power_are_SciPys()
    {
        Random random = new(7);
        double[][][] pairs = [.. Enumerable.Range(0, 12).Select(index =>
        {
            int count = index == 11 ? 64 : 6 + (2 * index);
            return new[] { Draw(random, count, 100), Draw(random, count, 100 + index) };
        })];
        using JsonDocument answer = JsonDocument.Parse(Ask(JsonSerializer.Serialize(new
        {
            pairs,
            studies = Studies.Select(study => new object[] { study.Difference, study.Runs, study.Significance, study.Paired }),
        })));
        JsonElement[] told = [.. answer.RootElement.GetProperty("pairs").EnumerateArray()];
        Assert.Multiple(() =>
        {
            for (int index = 0; index < pairs.Length; index++)
            {
                double[] one = pairs[index][0], other = pairs[index][1];
                JsonElement it = told[index];
                Assert.That(RankTest.Probability(one, other), Is.EqualTo(it.GetProperty("rank").GetDouble()).Within(1e-9), $"Mann and Whitney, {one.Length}");
                Assert.That(RankTest.SignedRank([.. one.Zip(other, (left, right) => left - right)]), Is.EqualTo(it.GetProperty("signed").GetDouble()).Within(one.Length > 50 ? 1e-2 : 1e-9), $"Wilcoxon, {one.Length}");
                Assert.That(EffectSize.CliffsDelta(one, other), Is.EqualTo(it.GetProperty("delta").GetDouble()).Within(1e-9));
                Assert.That(EffectSize.HedgesG(one, other), Is.EqualTo(it.GetProperty("g").GetDouble()).Within(1e-9));
                Interval ours = Bootstrap.BiasCorrected(one, 0.025);
                double[] theirs = [.. it.GetProperty("bca").EnumerateArray().Select(end => end.GetDouble())];

                // Both draw at random: a twentieth of the width apart is as much as ten thousand resamples make.
                double near = (theirs[1] - theirs[0]) / 20;
                Assert.That(ours.Low, Is.EqualTo(theirs[0]).Within(near));
                Assert.That(ours.High, Is.EqualTo(theirs[1]).Within(near));
            }

            Assert.That(
                RankTest.Holm([.. told.Select(each => each.GetProperty("rank").GetDouble())]),
                Is.EqualTo(answer.RootElement.GetProperty("holm").EnumerateArray().Select(each => each.GetDouble())).AsCollection.Within(1e-12));
            for (int index = 0; index < Studies.Length; index++)
            {
                (double difference, int runs, double significance, bool paired) = Studies[index];

                // Of 1,500 and of 2,000 studies: three standard errors of the two together.
                Assert.That(Power.Of(difference, runs, significance, paired), Is.EqualTo(answer.RootElement.GetProperty("power")[index].GetDouble()).Within(0.051), $"{Studies[index]}");
            }
        });
    }

    [Test]
    public void What_the_least_difference_takes_is_the_number_of_runs_it_is_for()
    {
        Assert.Multiple(() =>
        {
            double least = Power.LeastDifference(12, ComparisonStatistics.Significance, paired: false)!.Value;
            Assert.That(Power.RunsFor(least, ComparisonStatistics.Significance, paired: false), Is.InRange(11, 12));
            Assert.That(Power.RunsFor(least / 2, ComparisonStatistics.Significance, paired: false), Is.InRange(40, 56), "half the difference takes four times the runs");
            Assert.That(Power.RunsFor(0.01, ComparisonStatistics.Significance, paired: true), Is.Null);

            // Of many runs, and at once.
            Assert.That(Power.LeastDifference(100_000, ComparisonStatistics.Significance, paired: false), Is.EqualTo(2.802 * Math.Sqrt(2.0 / 100_000)).Within(0.002), "(1.960 + 0.842) sigma");

            // Three and three give no probability below 0.1, five pairs none below 1/16.
            Assert.That(Power.LeastDifference(3, ComparisonStatistics.Significance, paired: false), Is.Null);
            Assert.That(Power.LeastDifference(5, ComparisonStatistics.Significance, paired: true), Is.Null);
            Assert.That(Power.LeastDifference(6, ComparisonStatistics.Significance, paired: true), Is.Not.Null);
        });
    }

    /// <summary>The first of the host's Pythons that has SciPy: one of a user's own often has not.</summary>
    private static string Ask(string samples)
    {
        foreach (string python in new[] { "python3", "/usr/bin/python3" })
        {
            ProcessStartInfo start = new(python) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
            start.ArgumentList.Add("-c");
            start.ArgumentList.Add(Script);
            try
            {
                using Process asked = Process.Start(start)!;
                Task<string> error = asked.StandardError.ReadToEndAsync();
                Task<string> answer = asked.StandardOutput.ReadToEndAsync();
                Give(asked.StandardInput, samples);
                asked.WaitForExit();
                if (error.Result.Contains("ModuleNotFoundError", StringComparison.Ordinal))
                    continue;
                Assert.That(asked.ExitCode, Is.Zero, error.Result);
                return answer.Result;
            }
            catch (System.ComponentModel.Win32Exception)
            {
                // There is no such program.
            }
        }

        Assert.Ignore("SciPy is not installed (Debian: python3-scipy).");
        return "";
    }

    private static void Give(StreamWriter input, string samples)
    {
        try
        {
            input.Write(samples);
            input.Close();
        }
        catch (IOException)
        {
            // It ended before it read them, and says why.
        }
    }

    private static double[] Draw(Random random, int count, double mean) => [.. Enumerable.Range(0, count).Select(_ => mean + (random.NextDouble() * random.NextDouble() * 20))];
}
