using Tessera.Lab.Comparisons;
using Tessera.Lab.Statistics;

namespace Tessera.Lab.Tests.Comparisons;

/// <summary>Order, verdicts and files of comparisons.</summary>
internal sealed class ComparisonTests
{
    private static readonly string[] Schedulers = ["a", "b"];

    [Test]
    public void Every_block_has_each_combination_once_in_an_order_of_its_own()
    {
        IReadOnlyList<IReadOnlyList<FactorValue>> cells = FactorialDesign.Cells([new Factor("x", ["1", "2", "3"]), new Factor("y", ["4", "5"])]);
        IReadOnlyList<PlannedRun> runs = FactorialDesign.Runs(["machine", "simulated"], FactorialDesign.Variants(Schedulers, cells), 3, 1);
        string[][] blocks = [.. runs.GroupBy(run => run.Repetition).Select(block => block.Select(run => $"{run.Engine} {run.Scheduler} {FactorialDesign.Title(run.Cell)}").ToArray())];
        Assert.Multiple(() =>
        {
            Assert.That(cells, Has.Count.EqualTo(6));
            Assert.That(runs.Select(run => run.Place), Is.EqualTo(Enumerable.Range(1, 72)));
            Assert.That(runs.Select(run => run.Repetition), Is.Ordered);
            Assert.That(blocks, Has.All.Matches<string[]>(block => block!.Distinct().Count() == 24));
            Assert.That(blocks[1], Is.Not.EqualTo(blocks[0]));
            Assert.That(blocks[2], Is.EquivalentTo(blocks[0]));
            Assert.That(FactorialDesign.Runs(["machine", "simulated"], FactorialDesign.Variants(Schedulers, cells), 5, 1).Take(72), Is.EqualTo(runs).Using<PlannedRun>(Same));
            Assert.That(FactorialDesign.Runs(["machine", "simulated"], FactorialDesign.Variants(Schedulers, cells), 3, 2).Zip(runs, Same), Has.Some.False);
        });

        static bool Same(PlannedRun one, PlannedRun other) => one.Engine == other.Engine && one.Scheduler == other.Scheduler && one.Cell.SequenceEqual(other.Cell);
    }

    [Test]
    public void A_clear_difference_is_told_with_its_interval_and_size()
    {
        Verdict verdict = Judge("machine", [88, 89, 90, 87, 86, 88], [100, 101, 99, 102, 98, 100]);
        Assert.Multiple(() =>
        {
            Assert.That(verdict.IsShown, Is.True);
            Assert.That(verdict.First, Is.EqualTo("a"));
            Assert.That(verdict.Percent, Is.EqualTo(-12).Within(1e-9));
            Assert.That(verdict.PercentInterval!.Value.Contains(-12), Is.True);
            Assert.That(verdict.CliffsDelta, Is.EqualTo(-1));
            Assert.That(verdict.Sentence, Does.StartWith("a is better: 12.0 % lower wake-to-run latency, p99 than b, 95 % interval 10.").And.EndWith("%, large effect"));
        });
    }

    [Test]
    public void The_better_one_comes_first_whatever_the_order() =>
        Assert.That(Judge("machine", [100, 101, 99, 102, 98, 100], [88, 89, 90, 87, 86, 88]).Sentence, Does.StartWith("b is better: 12.0 % lower"));

    [Test]
    public void Overlapping_figures_show_no_difference() =>
        Assert.That(Judge("machine", [88, 120, 90, 104, 86, 108], [100, 101, 99, 102, 98, 100]).Sentence, Does.Match("^no difference shown between . and .: the 95 % interval of the difference, .* includes zero$"));

    [Test]
    public void Too_few_runs_are_said_to_be_too_few()
    {
        Assert.Multiple(() =>
        {
            Assert.That(Judge("machine", [1, 2, 3], [10, 11, 12]).Sentence, Does.Contain("too few runs to tell a and b apart: 3 and 3; 4 of each"));
            Assert.That(VerdictText.FewestRuns(1), Is.EqualTo(4));
            Assert.That(VerdictText.FewestRuns(3), Is.EqualTo(5));
        });
    }

    [Test]
    public void Virtual_time_that_repeats_itself_leaves_nothing_to_chance()
    {
        Assert.Multiple(() =>
        {
            Assert.That(Judge("simulated", [5, 5], [10, 10]).Sentence, Is.EqualTo("a is better: 50.0 % lower wake-to-run latency, p99 than b, in every run alike"));
            Assert.That(Judge("machine", [5, 5], [10, 10]).IsShown, Is.False);
            Assert.That(Judge("simulated", [5, 5], [5, 5]).Sentence, Does.StartWith("no difference: a and b had the same"));
            Assert.That(Judge("simulated", [10_000, 10_000], [10_001, 10_001]).Sentence, Does.StartWith("no difference that matters"));
        });
    }

    [Test]
    public void Copies_of_one_run_count_once_and_have_no_probability()
    {
        Verdict copies = Judge("simulated", [5, 5, 5, 5, 5, 5], [10, 10, 10, 10, 10, 10]);
        RunRow[] runs = [.. Enumerable.Range(0, 6).Select(index => Row("simulated", "a", [], index, index / 2))];
        SchedulerResult result = ComparisonStatistics.Cells(["simulated"], ["a"], [[]], runs)[0].Schedulers[0];
        Assert.Multiple(() =>
        {
            Assert.That((copies.IsExact, copies.IsShown, copies.Runs), Is.EqualTo((true, true, 1)));
            Assert.That((copies.Probability, copies.Corrected), Is.EqualTo(((double?)null, (double?)null)));
            Assert.That((result.Runs, result.Copies, result.Metrics["wakeP99"].Count), Is.EqualTo((6, 3, 3)));

            // On a machine two runs with the same figures are two runs.
            Assert.That(Judge("machine", [5, 5, 5, 5], [10, 10, 10, 10]), Has.Property("Runs").EqualTo(4).And.Property("IsExact").False);
        });
    }

    [Test]
    public void Copies_are_no_part_of_the_family_of_tests()
    {
        string[] three = ["a", "b", "c"];
        List<RunRow> runs = [];
        foreach ((string scheduler, double scale) in new[] { ("a", 0.0), ("b", 0.0), ("c", 1.0) })
            runs.AddRange(Enumerable.Range(0, 6).Select(index => Row("simulated", scheduler, [], index, 100 + (scheduler == "b" ? 50 : 0) + (scale * (200 + index)))));
        Verdict[] verdicts = [.. ComparisonStatistics.Cells(["simulated"], three, [[]], runs)[0].Verdicts];
        Assert.Multiple(() =>
        {
            Assert.That(verdicts.Single(verdict => verdict.IsExact), Has.Property("First").EqualTo("a").And.Property("Second").EqualTo("b"));
            Assert.That(verdicts.Where(verdict => !verdict.IsExact).Select(verdict => verdict.Probability), Is.All.EqualTo(2 / 64.0).Within(1e-12));
            Assert.That(verdicts.Where(verdict => !verdict.IsExact).Select(verdict => verdict.Corrected), Is.All.EqualTo(4 / 64.0).Within(1e-12));
        });
    }

    [Test]
    public void Runs_that_share_a_seed_are_tested_as_pairs()
    {
        // Each seed's load differs far more than the schedulers do: unpaired, nothing can be seen.
        double[] load = [10, 200, 35, 400, 90, 150, 260, 320];
        double[] better = [.. load.Select((value, index) => value - 1 - (index * 0.01))];
        Verdict paired = Judge("simulated", better, load);
        Verdict unpaired = Judge("machine", better, load);
        Assert.Multiple(() =>
        {
            Assert.That((paired.IsPaired, paired.IsShown, paired.Runs), Is.EqualTo((true, true, 8)));
            Assert.That(paired.Probability, Is.EqualTo(2 / 256.0).Within(1e-12));
            Assert.That(paired.DifferenceInterval.High, Is.LessThan(-1));
            Assert.That((unpaired.IsPaired, unpaired.IsShown), Is.EqualTo((false, false)));
        });
    }

    [Test]
    public void The_headline_says_what_is_true_of_the_verdicts()
    {
        Assert.Multiple(() =>
        {
            Assert.That(Headline("simulated", [5, 5, 5], [10, 10, 10]), Is.EqualTo("1 of 1 comparison of two schedulers by one metric differ in virtual time where every repetition is a copy of one run: nothing is left to chance there, so there is neither interval nor probability, and more repetitions would add nothing."));
            Assert.That(Headline("machine", [5, 6, 7], [10, 11, 12]), Is.EqualTo("None of 1 comparison of two schedulers by one metric can show a difference: 3 runs of each are too few; at least 4 are needed for that many comparisons."));
            Assert.That(Headline("machine", [5, 6, 7, 8], [10, 11, 12, 13]), Does.StartWith("1 of 1 comparison").And.Contain("after Holm's correction").And.Not.Contain("virtual"));
        });

        static string Headline(string engine, double[] one, double[] other) => VerdictText.Headline(Document(engine, Rows(engine, one, other)));
    }

    [TestCase(3, false, 0.1)]
    [TestCase(4, false, 2 / 70.0)]
    [TestCase(6, true, 2 / 64.0)]
    [TestCase(1, true, 1)]
    public void The_least_probability_is_that_of_complete_separation(int runs, bool paired, double least)
    {
        double[] low = [.. Enumerable.Range(1, runs).Select(value => (double)value)];
        double[] high = [.. low.Select(value => value + runs + (value / 100))];
        Assert.Multiple(() =>
        {
            Assert.That(VerdictText.LeastProbability(runs, paired), Is.EqualTo(least).Within(1e-12));
            Assert.That(paired ? RankTest.SignedRank([.. low.Zip(high, (one, other) => one - other)]) : RankTest.Probability(low, high), Is.EqualTo(least).Within(1e-12));
        });
    }

    [Test]
    public void Schedulers_without_runs_in_a_cell_are_not_in_it()
    {
        IReadOnlyList<FactorValue> own = [new("x", "1")];
        IReadOnlyList<FactorValue> without = [new("x", FactorialDesign.NotTaken)];
        RunRow[] runs = [Row("machine", "a", own, 0, 5), Row("machine", "b", without, 1, 5)];
        Assert.That(ComparisonStatistics.Cells(["machine"], Schedulers, [own, without], runs).Select(cell => cell.Schedulers.Single().Scheduler), Is.EqualTo(Schedulers));
    }

    [Test]
    public void Each_item_of_the_configuration_has_columns_of_its_own()
    {
        GroupFigures beat = new("beat", 1, false, 0.25, 0.3, 43_000, 12_000, 60_000) { ResponseP99Ns = 7, Missed = 2 };
        ComparisonDocument document = Document("machine", [Row("machine", "a", [], 0, 5) with { Groups = [new GroupFigures("hog, big", 9, false, 0.5, 0.5, null, null, null), beat] }]);
        StringWriter csv = new();
        ComparisonCsv.Write(csv, document);
        string[] lines = csv.ToString().Split("\r\n");
        Assert.Multiple(() =>
        {
            Assert.That(lines[0], Does.EndWith("wakeP99,\"hog, big.share\",\"hog, big.idealShare\",beat.share,beat.idealShare,beat.lateP50,beat.wakeP50,beat.responseP99,beat.missed,folder"));
            Assert.That(lines[1], Does.EndWith("5,0.5,0.5,0.25,0.3,43000,12000,7,2,runs/x"));
        });
    }

    [Test]
    public void All_pairs_and_cells_of_a_metric_are_corrected_together()
    {
        string[] three = ["a", "b", "c"];
        IReadOnlyList<IReadOnlyList<FactorValue>> cells = FactorialDesign.Cells([new Factor("x", ["1", "2"])]);
        List<RunRow> runs = [];
        foreach (IReadOnlyList<FactorValue> cell in cells)
        {
            for (int scheduler = 0; scheduler < 3; scheduler++)
                runs.AddRange(Enumerable.Range(0, 4).Select(index => Row("machine", three[scheduler], cell, index, (10.0 * scheduler) + index)));
        }

        IReadOnlyList<CellResult> results = ComparisonStatistics.Cells(["machine"], three, cells, runs);
        Verdict[] verdicts = [.. results.SelectMany(cell => cell.Verdicts)];
        Assert.Multiple(() =>
        {
            Assert.That(verdicts, Has.Length.EqualTo(6));
            Assert.That(verdicts.Select(verdict => verdict.Probability), Is.All.EqualTo(2 / 70.0).Within(1e-12));
            Assert.That(verdicts.Select(verdict => verdict.Corrected), Is.All.EqualTo(12 / 70.0).Within(1e-12));
            Assert.That(verdicts.Select(verdict => verdict.IsShown), Is.All.False);
        });
    }

    [Test]
    public void Failed_runs_are_counted_and_in_no_statistic()
    {
        RunRow[] runs = [Row("machine", "a", [], 0, 5), Row("machine", "a", [], 1, 7), Row("machine", "a", [], 2, 1000) with { Outcome = "failed" }];
        SchedulerResult result = ComparisonStatistics.Cells(["machine"], ["a"], [[]], runs)[0].Schedulers[0];
        Assert.Multiple(() =>
        {
            Assert.That((result.Runs, result.Failed), Is.EqualTo((2, 1)));
            Assert.That(result.Metrics["wakeP99"].Mean, Is.EqualTo(6));
        });
    }

    [Test]
    public void Machine_and_simulator_are_set_side_by_side_with_a_reason_where_they_differ()
    {
        RunRow[] runs =
        [
            Row("machine", "a", [], 0, 1) with { Groups = [new GroupFigures("hog", 9, false, 0.95, 0.95, null, null, null), new GroupFigures("beat", 1, false, 0.02, 0.02, 43_000, 12_000, 60_000)] },
            Row("simulated", "a", [], 0, 1) with { Groups = [new GroupFigures("hog", 9, false, 0.99, 0.99, null, null, null), new GroupFigures("beat", 1, false, 0.018, 0.02, 70_000, 41_000, 61_000)] },
        ];
        IReadOnlyList<AgreementRow> rows = Agreement.Rows(["a"], [[]], runs);
        Assert.Multiple(() =>
        {
            Assert.That(rows.Select(row => (row.Group, row.Quantity, row.Agrees)), Is.EqualTo(new[] { ("hog", "share", false), ("beat", "share", true), ("beat", "lateness", false) }));
            Assert.That(rows[0].Difference, Is.EqualTo(4).Within(1e-9));
            Assert.That(rows[0].Reason, Does.StartWith("it asked for other amounts"));
            Assert.That(rows[2].Difference, Is.EqualTo(62.8).Within(0.1));
            Assert.That(rows[2].Reason, Does.StartWith("the wait for a pCPU differs: from wake to run 12.0 µs on the machine, 41.0 µs"));
        });
    }

    [Test]
    public void A_busy_host_and_a_foreign_model_are_reasons_of_their_own()
    {
        RunRow machine = Row("machine", "a", [], 0, 1) with { Groups = [new GroupFigures("x", 1, false, 0.5, 0.5, null, null, null)] };
        RunRow simulated = Row("simulated", "a", [], 0, 1) with { Groups = [new GroupFigures("x", 1, true, 0.7, 0.7, null, null, null)] };
        RunRow busy = machine with { Metrics = new Dictionary<string, double> { [MetricCatalogue.Withheld] = 30 } };
        Assert.Multiple(() =>
        {
            Assert.That(Agreement.Rows(["a"], [[]], [machine, simulated])[0].Reason, Does.Contain("--model"));
            Assert.That(Agreement.Rows(["a"], [[]], [busy, simulated])[0].Reason, Does.Contain("30.0 % of the time"));
        });
    }

    [Test]
    public void A_comparison_survives_its_files()
    {
        IReadOnlyList<FactorValue> cell = [new FactorValue("duration", "1 s, \"or so\"")];
        RunRow[] runs = [Row("machine", "a", cell, 0, 5), Row("machine", "b", cell, 0, 7)];
        ComparisonDocument document = Document("machine", runs) with
        {
            Factors = [new Factor("duration", ["1 s, \"or so\""])],
            Cells = ComparisonStatistics.Cells(["machine"], Schedulers, [cell], runs),
        };
        string text = ComparisonJson.Write(document);
        StringWriter csv = new();
        ComparisonCsv.Write(csv, document);
        Assert.Multiple(() =>
        {
            Assert.That(ComparisonJson.Write(ComparisonJson.Read(text)), Is.EqualTo(text));
            Assert.That(csv.ToString().Split("\r\n")[1], Is.EqualTo("1,1,machine,a,\"1 s, \"\"or so\"\"\",completed,2,5,runs/x"));
        });
    }

    /// <summary>A machine may go by the work of its guests: its runs have no seed, and are copies.</summary>
    [Test]
    public void Copies_of_a_machine_in_virtual_time_count_once()
    {
        RunRow[] runs = [.. Rows(ComparisonEngines.Machine, [1, 1, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2]).Select(run => run with { IsVirtual = true })];
        Verdict verdict = ComparisonStatistics.Cells([ComparisonEngines.Machine], Schedulers, [[]], runs)[0].Verdicts.Single();
        Assert.That((verdict.IsExact, verdict.Probability, verdict.Runs), Is.EqualTo((true, (double?)null, 1)));
    }

    [TestCase("\"runs\": [", "\"runs\": [ null,", "runs[0] is null")]
    [TestCase("\"wallSeconds\": 2", "\"wallSeconds\": 1e999", "runs[0].wallSeconds is too large a number")]
    public void A_comparison_that_no_comparison_wrote_is_refused_with_its_place(string what, string by, string says)
    {
        string text = ComparisonJson.Write(Document(ComparisonEngines.Machine, Rows(ComparisonEngines.Machine, [1], [2])));
        Assert.That(text, Does.Contain(what));
        Assert.That(() => ComparisonJson.Read(text.Replace(what, by)), Throws.InstanceOf<System.Text.Json.JsonException>().With.Message.Contains(says));
    }

    [TestCase(0, "0 ns")]
    [TestCase(43_210, "43.2 µs")]
    [TestCase(4_423_679, "4.42 ms")]
    [TestCase(12e9, "12.0 s")]
    public void Times_are_short(double nanoseconds, string text) => Assert.That(NumberText.Time(nanoseconds), Is.EqualTo(text));

    [Test]
    public void A_range_has_its_unit_once_where_it_can()
    {
        MetricDefinition latency = MetricCatalogue.Of("wakeP99");
        Assert.Multiple(() =>
        {
            Assert.That(VerdictText.Range(latency, new Interval(1_000_000, 1_500_000)), Is.EqualTo("1.00 to 1.50 ms"));
            Assert.That(VerdictText.Range(latency, new Interval(900_000, 1_500_000)), Is.EqualTo("900 µs to 1.50 ms"));
        });
    }

    private static Verdict Judge(string engine, double[] one, double[] other) =>
        ComparisonStatistics.Cells([engine], Schedulers, [[]], Rows(engine, one, other))[0].Verdicts.Single();

    private static RunRow[] Rows(string engine, double[] one, double[] other) =>
        [.. one.Select((value, index) => Row(engine, "a", [], index, value)), .. other.Select((value, index) => Row(engine, "b", [], index, value))];

    private static ComparisonDocument Document(string engine, RunRow[] runs) => new()
    {
        Version = "1",
        StartedAt = DateTimeOffset.UnixEpoch,
        Outcome = "completed",
        Configuration = "x.json",
        Host = "host",
        Seed = 1,
        Repeat = 1,
        Engines = [engine],
        Schedulers = Schedulers,
        Factors = [],
        Metrics = MetricCatalogue.Measured(runs),
        Cells = ComparisonStatistics.Cells([engine], Schedulers, [[]], runs),
        Agreement = [],
        Costs = null,
        Runs = runs,
    };

    private static RunRow Row(string engine, string scheduler, IReadOnlyList<FactorValue> cell, int index, double value) => new()
    {
        Folder = "runs/x",
        Place = index + 1,
        Repetition = index + 1,
        Engine = engine,
        Scheduler = scheduler,
        Cell = cell,
        Outcome = "completed",
        Failures = [],
        StartedAt = DateTimeOffset.UnixEpoch,
        WallSeconds = 2,
        Metrics = new Dictionary<string, double> { ["wakeP99"] = value },
        Groups = [],
    };
}
