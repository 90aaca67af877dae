using Tessera.Lab.Comparisons;
using Tessera.Lab.Statistics;
using Interval = Tessera.Lab.Statistics.Interval;

namespace Tessera.Lab.Tests.Statistics;

/// <summary>Two thousand studies whose truth is known: intervals contain it as often as they promise, and of nothing not more is found than is allowed.</summary>
internal sealed class StudyTests
{
    private const int Studies = 2000;

    /// <summary>What `compare` makes of each unless told otherwise.</summary>
    private const int Runs = 10;

    [Test]
    public void Intervals_of_means_contain_them_in_93_to_97_of_100_studies() =>
        Assert.That(Covered(truth: 100, random => Bootstrap.OfMean(Draw(random, Runs, 100))), Is.InRange(0.93, 0.97));

    [Test]
    public void Intervals_of_differences_contain_them_in_93_to_97_of_100_studies() =>
        Assert.That(Covered(truth: -2, random => Bootstrap.OfDifference(Draw(random, Runs, 100), Draw(random, Runs, 102))), Is.InRange(0.93, 0.97));

    [Test]
    public void Intervals_of_paired_differences_contain_them_in_93_to_97_of_100_studies() => Assert.That(
        Covered(truth: -2, random =>
        {
            double[] blocks = Draw(random, Runs, 0);
            return Bootstrap.OfDifference(Together(blocks, Draw(random, Runs, 100)), Together(blocks, Draw(random, Runs, 102)), paired: true);
        }),
        Is.InRange(0.93, 0.97));

    [Test]
    public void Intervals_of_ratios_contain_them_in_93_to_97_of_100_studies() =>
        Assert.That(Covered(truth: 1.1, random => Bootstrap.OfRatio(Draw(random, Runs, 110), Draw(random, Runs, 100))!.Value), Is.InRange(0.93, 0.97));

    /// <summary>Three equal policies in two cells: a study with even one finding is a false one.</summary>
    [TestCase(ComparisonEngines.Machine)]
    [TestCase(ComparisonEngines.Simulated)]
    public void Of_equal_policies_at_most_five_of_a_hundred_studies_find_a_difference(string engine)
    {
        Random random = new(11);
        IReadOnlyList<FactorValue>[] cells = [[new FactorValue("domains.count", "1")], [new FactorValue("domains.count", "2")]];
        string[] policies = ["a", "b", "c"];
        const int studies = 200;
        int wrong = 0;
        for (int study = 0; study < studies; study++)
        {
            RunRow[] runs =
            [
                .. FactorialDesign.Runs([engine], FactorialDesign.Variants(policies, cells), repeat: 10, seed: study).Select(run => new RunRow
                {
                    Folder = "runs/x",
                    Place = run.Place,
                    Repetition = run.Repetition,
                    Engine = engine,
                    Scheduler = run.Scheduler,
                    Cell = run.Cell,
                    Outcome = "completed",
                    Failures = [],
                    StartedAt = DateTimeOffset.UnixEpoch,
                    WallSeconds = 1,
                    Metrics = new Dictionary<string, double> { ["wakeP99"] = Draw(random, 1, 100)[0] },
                    Groups = [],
                }),
            ];
            wrong += ComparisonStatistics.Cells([engine], policies, cells, runs).Any(cell => cell.Verdicts.Any(verdict => verdict.IsShown)) ? 1 : 0;
        }

        // 5 % and two standard errors of so many studies.
        Assert.That(wrong / (double)studies, Is.LessThan(0.05 + 0.031));
    }

    private static double Covered(double truth, Func<Random, Interval> study)
    {
        Random random = new(5);
        return Enumerable.Range(0, Studies).Count(_ => study(random).Contains(truth)) / (double)Studies;
    }

    private static double[] Together(double[] one, double[] other) => [.. one.Zip(other, (left, right) => left + right)];

    /// <summary>Normal numbers with a standard deviation of 10 (Box and Muller).</summary>
    private static double[] Draw(Random random, int count, double mean) =>
        [.. Enumerable.Range(0, count).Select(_ => mean + (10 * Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble())))];
}
