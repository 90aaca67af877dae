using System.Text.Json;
using Spectre.Console;
using Tessera.Cli.Tests.Support;
using Tessera.Cli.Views;
using Tessera.Hosting.Tests;
using Tessera.Lab.Comparisons;
using Tessera.Lab.Reports;

namespace Tessera.Cli.Tests.Verbs;

/// <summary>What a study needs of `compare`: options that not all policies have, labels, a quiet host, tables that fit.</summary>
internal sealed class CompareStudyTests
{
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("tessera-study-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void A_policy_without_the_varied_option_runs_without_it_and_that_is_said()
    {
        using Support.Cli cli = new();
        Assert.That(
            cli.Run(Arguments("hundred.json", "--set", "domains[0].count=3", "--scheduler", "bvt,round-robin", "--vary", "domains[1].scheduler.warp=true,false", "--vary", "domains[0].weight=256,512", "--repeat", "1", "--quiet")),
            Is.Zero,
            cli.Error);
        ComparisonDocument document = Document();
        Assert.Multiple(() =>
        {
            Assert.That(cli.Error, Does.Contain("tessera: round-robin has no domains[1].scheduler.warp: it runs without, in cells of its own."));
            Assert.That(document.Runs.Select(run => $"{run.Scheduler} {FactorialDesign.ShortTitle(run.Cell)}"), Is.EquivalentTo(new[]
            {
                "bvt warp=true, weight=256", "bvt warp=true, weight=512", "bvt warp=false, weight=256", "bvt warp=false, weight=512", "round-robin warp=–, weight=256", "round-robin warp=–, weight=512",
            }));
            Assert.That(document.Cells, Has.Count.EqualTo(6));
            Assert.That(document.Cells.SelectMany(cell => cell.Verdicts), Is.Empty);
            Assert.That(document.Runs.Select(run => Path.GetFileName(run.Folder)), Has.Some.Matches("^...-simulated-bvt-warp=false-weight=512-r1$"));
        });
    }

    [Test]
    public void A_value_that_only_some_policies_take_is_left_out_for_the_others()
    {
        // Shortest slices differ: what one refuses is no mistake as long as another takes it.
        using PluginForge forge = new();
        string narrow = Ranged(forge, "narrow", 10);
        string wide = Ranged(forge, "wide", 100);
        using Support.Cli cli = new();
        Assert.That(cli.Run(Arguments("quickstart.json", "--scheduler", $"{narrow},{wide}", "--vary", "scheduler.options.knob=5,50", "--repeat", "1", "--quiet")), Is.LessThan(2), cli.Error);
        Assert.Multiple(() =>
        {
            Assert.That(cli.Error, Does.Contain("tessera: narrow cannot take scheduler.options.knob=50: left out."));
            Assert.That(Document().Runs.Select(run => $"{run.Scheduler} {FactorialDesign.ShortTitle(run.Cell)}"), Is.EquivalentTo(new[] { "narrow knob=5", "wide knob=5", "wide knob=50" }));
        });
    }

    [Test]
    public void A_policy_of_ones_own_is_called_by_its_name_or_as_one_says()
    {
        using PluginForge forge = new();
        string plugin = forge.Plugin("mine", PluginForge.Scheduler("mine"));
        using Support.Cli named = new();
        Assert.That(named.Run(Arguments("quickstart.json", "--scheduler", $"bvt,{plugin}", "--repeat", "1", "--quiet")), Is.LessThan(2), named.Error);
        Assert.That(Document().Schedulers, Is.EqualTo(new[] { "bvt", "mine" }));
        using Support.Cli labelled = new();
        Assert.That(labelled.Run(Arguments("quickstart.json", "--scheduler", $"before=bvt,after={plugin}", "--repeat", "1", "--restart", "--quiet")), Is.LessThan(2), labelled.Error);
        Assert.That(Document().Schedulers, Is.EqualTo(new[] { "before", "after" }));
        using Support.Cli twice = new();
        Assert.Multiple(() =>
        {
            Assert.That(twice.Run(Arguments("quickstart.json", "--scheduler", $"mine=bvt,{plugin}", "--repeat", "1")), Is.EqualTo(2));
            Assert.That(twice.Error, Does.Contain("are called \"mine\"").And.Contain("mine-1=./one.dll"));
        });
    }

    [Test]
    public void Copies_are_called_copies_and_too_few_repetitions_are_said_before_anything_runs()
    {
        using Support.Cli cli = new();
        Assert.That(cli.Run(Arguments("quickstart.json", "--scheduler", "bvt,round-robin", "--repeat", "3")), Is.Zero, cli.Error);
        ComparisonDocument document = Document();
        Assert.Multiple(() =>
        {
            Assert.That(cli.Error, Does.Match("^tessera: 3 repetitions cannot show a difference in virtual time: the lowest probability that the exact test can give is then 0.25, and it must be below 0.05. --repeat 6 is the least that can."));
            Assert.That(document.Cells[0].Schedulers.Select(scheduler => (scheduler.Runs, scheduler.Copies)), Is.All.EqualTo((3, 2)));
            Assert.That(document.Cells[0].Verdicts, Is.All.Matches<Verdict>(verdict => verdict is { IsExact: true, Probability: null, Corrected: null }));
            Assert.That(cli.Out, Does.Contain("3, 2 copies").And.Contain("differ in virtual time where every repetition is a copy of one run"));
        });
        using Support.Cli enough = new();
        Assert.That(enough.Run(Arguments("quickstart.json", "--scheduler", "bvt,round-robin", "--repeat", "6")), Is.Zero, enough.Error);
        Assert.That(enough.Error, Does.Not.Contain("cannot show"));
    }

    [Test]
    public void Response_times_of_requests_and_jobs_are_in_results_and_in_the_table_of_runs()
    {
        using Support.Cli cli = new();
        string[] models = ["--model", "beat=queue gap=10ms service=2ms", "--model", "hog=periodic burst=1ms period=20ms"];
        Assert.That(cli.Run([.. Arguments("hundred.json", "--set", "domains[0].count=2", "--repeat", "2", "--quiet"), .. models]), Is.Zero, cli.Error);
        ComparisonDocument document = Document();
        using JsonDocument result = JsonDocument.Parse(File.ReadAllText(Path.Combine(_folder, document.Runs[0].Folder, "result.json")));
        JsonElement[] responses = [.. result.RootElement.GetProperty("domains").EnumerateArray().Select(domain => domain.GetProperty("responseTimeNs"))];
        Assert.Multiple(() =>
        {
            // Two jobs of 1 ms each 20 ms; in the window of a second some fifty.
            Assert.That(responses.Take(2).Select(response => response.GetProperty("count").GetInt64()), Is.All.InRange(45, 55));
            Assert.That(responses.Select(response => response.GetProperty("p50").GetInt64()), Is.All.GreaterThanOrEqualTo(500_000));
            Assert.That(responses[2].GetProperty("p99").GetInt64(), Is.GreaterThan(responses[2].GetProperty("p50").GetInt64()));
            Assert.That(document.Cells[0].Schedulers[0].Metrics["beat.responseP50"].Mean, Is.EqualTo(document.Runs.Average(run => run.Groups[1].ResponseP50Ns)).Within(0.5));
            Assert.That(document.Runs[0].Groups[1].ResponseP50Ns, Is.EqualTo(responses[2].GetProperty("p50").GetInt64()));
            Assert.That(document.Metrics.Select(metric => metric.Key), Does.Contain("responseP99"));
            Assert.That(File.ReadLines(Path.Combine(_folder, "comparison.csv")).First(), Does.Contain(",hog.share,").And.Contain(",beat.responseP99,").And.EndsWith(",folder"));
        });
    }

    /// <summary>A hog in turns of 5 ms keeps a sleeper waiting, which a policy that prefers who wakes does not.</summary>
    [Test]
    public void A_domains_own_metrics_have_verdicts_and_are_shown_when_asked_for()
    {
        using Support.Cli cli = new();
        string[] study = ["--scheduler", "bvt,round-robin", "--set", "domains[0].count=3", "--repeat", "2", "--quiet"];
        Assert.That(cli.Run([.. Arguments("hundred.json", study), "--metric", "beat.lateP50,hog.wait"]), Is.Zero, cli.Error);
        ComparisonDocument document = Document();
        Verdict late = document.Cells[0].Verdicts.Single(verdict => verdict.Metric == "beat.lateP50");
        Assert.Multiple(() =>
        {
            Assert.That((late.First, late.Second, late.IsShown), Is.EqualTo(("bvt", "round-robin", true)), late.Sentence);
            Assert.That(late.Sentence, Does.Contain("lower median lateness of beat than round-robin"));
            Assert.That(document.Cells[0].Schedulers[0].Metrics["hog.wait"].Mean, Is.EqualTo(2 / 3.0).Within(0.03), "three hogs share a processor");
            Assert.That(cli.Out, Does.Contain("median lateness of beat").And.Contain("waiting of hog").And.Not.Contain("Jain"));
        });
        using Support.Cli wrong = new();
        Assert.That(wrong.Run([.. Arguments("hundred.json", study), "--metric", "beet.lateP50"]), Is.EqualTo(2));
        Assert.That(wrong.Error, Does.Contain("--metric beet.lateP50: there is no such metric. Did you mean beat.lateP50?"));
    }

    [Test]
    public void A_plan_says_what_a_study_takes_and_shows_and_runs_nothing()
    {
        string[] study = ["--scheduler", "bvt,round-robin", "--set", "domains[0].count=3", "--stagger", "20ms"];
        using Support.Cli first = new();
        Assert.That(first.Run([.. Arguments("hundred.json", study), "--repeat", "4", "--plan"]), Is.Zero, first.Error);
        using Support.Cli pilot = new();
        Assert.That(pilot.Run([.. Arguments("hundred.json", study), "--repeat", "3", "--quiet"]), Is.Zero, pilot.Error);
        using Support.Cli plan = new();
        Assert.That(plan.Run([.. Arguments("hundred.json", study), "--repeat", "10", "--plan"]), Is.Zero, plan.Error);
        using Support.Cli given = new();
        Assert.That(given.Run([.. Arguments("hundred.json", study), "--repeat", "10", "--spread", "2"]), Is.Zero, given.Error);
        using Support.Cli wrong = new();
        Assert.That(wrong.Run([.. Arguments("hundred.json", study), "--spread", "0"]), Is.EqualTo(2));
        Assert.Multiple(() =>
        {
            Assert.That(first.Out, Does.Contain("simulated: 8 runs, 4 of each policy and combination").And.Contain("So few show no difference, however large"));
            Assert.That(plan.Out, Does.Contain("simulated: 20 runs, 10 of each").And.Contain("from the 6 runs in the folder").And.Contain("share error at 10 ms"));
            Assert.That(plan.Out.Split('\n').Where(line => line.Contains(" %  ")).Select(line => line.TrimEnd().Length), Is.Not.Empty.And.All.LessThanOrEqualTo(80));
            Assert.That(Document().Runs, Has.Count.EqualTo(6), "a plan makes no runs");

            // Ten pairs whose differences have a standard deviation of 2 % show one of 2 % (their t is then 3.2).
            Assert.That(given.Out, Does.Match(@"any metric +2\.00 % +(1\.9|2\.[01])\d* %"));
            Assert.That(wrong.Error, Does.Contain("--spread 0: a number above 0"));
        });
    }

    [Test]
    public void Tables_fit_eighty_columns_and_nothing_is_cut()
    {
        using Support.Cli cli = new();
        Assert.That(
            cli.Run(Arguments("hundred.json", "--scheduler", "bvt,round-robin", "--vary", "domains.count=2,5", "--vary", "domains[1].guestOptions.period=5 ms,10 ms", "--repeat", "2", "--seconds", "1")), Is.Zero, cli.Error);
        StringWriter text = new();
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(text), Ansi = AnsiSupport.No, ColorSystem = ColorSystemSupport.NoColors, Interactive = InteractionSupport.No });
        console.Profile.Width = 80;
        ComparisonDocument document = Document();
        AgreementRow row = new()
        {
            Scheduler = "round-robin",
            Cell = document.Cells[0].Cell,
            Group = "beat",
            Quantity = Agreement.Lateness,
            Machine = 123_456,
            Simulated = 654_321_000,
            Difference = 1234.56,
            Agrees = false,
            Reason = "of no reason",
        };
        console.Write(ComparisonViews.Of(document with { Agreement = [row] }, 80, []));
        Assert.Multiple(() =>
        {
            Assert.That(text.ToString(), Does.Not.Contain("…"));
            Assert.That(text.ToString().Split('\n').Select(line => line.TrimEnd().Length), Is.All.LessThanOrEqualTo(80));
            Assert.That(text.ToString(), Does.Contain("95 % interval").And.Contain("+1234.56 %"));
        });
    }

    /// <summary>Of sixty wakes the 99th percentile is the longest alone.</summary>
    [TestCase("1", false)]
    [TestCase("10", true)]
    public void A_percentile_of_wakes_takes_a_hundred_of_them(string seconds, bool isThere)
    {
        using Support.Cli cli = new();
        string config = Path.Combine(_folder, "c.json"), output = Path.Combine(_folder, "out");
        File.WriteAllText(config, """{ "domains": [ { "name": "spin", "guest": "spin" }, { "name": "beat", "guest": "beat", "guestOptions": { "period": "50 ms" } } ] }""");
        Assert.That(cli.Run("compare", config, "--simulate-only", "--repeat", "1", "--seconds", seconds, "--out", output), Is.Zero, cli.Error);
        string head = File.ReadLines(Path.Combine(output, "comparison.csv")).First();
        Assert.Multiple(() =>
        {
            Assert.That(head, Does.Contain(",wakeP50,").And.Contain(",beat.wakeP50,"));
            Assert.That(head.Contains(",wakeP99", StringComparison.Ordinal), Is.EqualTo(isThere), head);
            Assert.That(head.Contains(",beat.wakeP99", StringComparison.Ordinal), Is.EqualTo(isThere), head);
        });
    }

    [Test]
    public void Costs_measured_on_a_busy_host_are_measured_again()
    {
        // What an earlier comparison kept was poisoned; so are the first three runs now.
        File.WriteAllText(Path.Combine(_folder, "calibration.json"), "{\"switchNs\":1,\"wakeNs\":2950000,\"beatNs\":1,\"source\":\"measured\",\"withheldPercent\":88}");
        FakePacer pacer = new();
        FakeMachines machines = new(pacer);
        using Support.Cli cli = new() { Pacer = pacer, Machines = machines, Delay = new FakeDelay(1.76, 1.76, 1.76, 0.01), Environment = { ["TESSERA_KVM_DEVICE"] = "/dev/null" } };
        Assert.That(cli.Run("compare", Repository.Sample("quickstart.json"), "--simulate", "--repeat", "1", "--seconds", "1", "--out", _folder), Is.Zero, cli.Error);
        Assert.Multiple(() =>
        {
            Assert.That(machines.Made, Has.Count.EqualTo(3 + 3 + 1));
            Assert.That(cli.Error, Does.Contain("withheld 88.0 % of the pCPU's time meanwhile").And.Contain("measuring again"));
            Assert.That(Document().Costs!.WithheldPercent, Is.EqualTo(0.5).Within(0.01));
            Assert.That(Document().Runs.Single(run => run.Engine == "machine").Metrics["withheld"], Is.EqualTo(1).Within(0.01));
        });
    }

    [Test]
    public void A_host_that_stays_busy_gives_no_costs_and_no_runs()
    {
        FakePacer pacer = new();
        using Support.Cli cli = new() { Pacer = pacer, Machines = new FakeMachines(pacer), Delay = new FakeDelay(1.76), Environment = { ["TESSERA_KVM_DEVICE"] = "/dev/null" } };
        Assert.Multiple(() =>
        {
            Assert.That(cli.Run("compare", Repository.Sample("quickstart.json"), "--simulate", "--repeat", "1", "--seconds", "1", "--out", _folder), Is.EqualTo(1));
            Assert.That(cli.Error, Does.Contain("cannot be measured on this host now").And.Contain("--switch-cost and --wake-cost"));
            Assert.That(Path.Combine(_folder, "runs"), Does.Not.Exist);
            Assert.That(Path.Combine(_folder, "calibration.json"), Does.Not.Exist);
        });
    }

    [TestCase(1.5, "The host was busy with other things: it withheld 75.0 % of the pCPUs' time.", true)]
    [TestCase(0.01, "withheld by the host: 0.50 %", false)]
    public void A_run_says_what_a_busy_host_withheld(double seconds, string line, bool isBanner)
    {
        FakePacer pacer = new();
        using FakeMachine machine = new(pacer);
        using Support.Cli cli = new() { Pacer = pacer, Machine = machine, Delay = new FakeDelay(seconds) };
        Assert.That(cli.Run("run", Repository.Sample("quickstart.json"), "--seconds", "2", "--out", _folder), Is.Zero, cli.Error);
        using JsonDocument result = JsonDocument.Parse(File.ReadAllText(Path.Combine(_folder, "result.json")));
        Assert.Multiple(() =>
        {
            Assert.That(cli.Out, Does.Contain(line));
            Assert.That(result.RootElement.GetProperty("withheld").GetProperty("percent").GetDouble(), Is.EqualTo(seconds * 50).Within(0.1));
            Assert.That(result.RootElement.GetProperty("experiment").GetString(), Is.EqualTo("quickstart"));
            if (ReportWriter.CanDraw)
                Assert.That(File.ReadAllText(Path.Combine(_folder, "report.html")).Contains("id=\"withheld\"", StringComparison.Ordinal), Is.EqualTo(isBanner));
        });
    }

    /// <summary>A scheduler with one option, of at most so much; it runs nobody, which is its own affair.</summary>
    private static string Ranged(PluginForge forge, string name, int most) => forge.Plugin(
        name,
        PluginForge.Scheduler(name, parameters: "Options options", attribute: ", Options = typeof(Options)", description: "options.ToString()")
            + $"public sealed record Options {{ [Option(\"A knob.\", Max = \"{most}\")] public int Knob {{ get; init; }} = 1; }}");

    private string[] Arguments(string sample, params string[] more) =>
        ["compare", Repository.Sample(sample), "--simulate-only", .. more.Contains("--seconds") ? Array.Empty<string>() : ["--seconds", "1"], "--out", _folder, .. more];

    private ComparisonDocument Document() => ComparisonJson.Read(File.ReadAllText(Path.Combine(_folder, "comparison.json")));
}
