using System.Text.Json.Nodes;
using Tessera.Cli.Terminal;
using Tessera.Cli.Tests.Support;
using Tessera.Hosting.Tests;
using Tessera.Lab.Comparisons;

namespace Tessera.Cli.Tests.Verbs;

/// <summary>`compare`, mostly in virtual time.</summary>
internal sealed class CompareTests
{
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("tessera-compare-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void Every_combination_is_run_and_compared()
    {
        using Support.Cli cli = new();
        int code = cli.Run(Arguments("hundred.json", "--scheduler", "bvt,round-robin", "--vary", "domains.count=2,5", "--vary", "domains[1].guestOptions.period=5 ms,10 ms", "--repeat", "2"));
        ComparisonDocument document = Document();
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.Zero, cli.Error);
            Assert.That(document.Outcome, Is.EqualTo("completed"));
            Assert.That(document.Runs, Has.Count.EqualTo(16));
            Assert.That(document.Cells, Has.Count.EqualTo(4));
            Assert.That(document.Cells[0].Schedulers.Select(scheduler => scheduler.Runs), Is.EqualTo(new[] { 2, 2 }));
            Assert.That(document.Runs.Select(run => run.Engine).Distinct(), Is.EqualTo(new[] { "simulated" }));
            Assert.That(document.Runs.Select(run => run.Groups[0].Domains).Distinct().Order(), Is.EqualTo(new[] { 2, 5 }));
            Assert.That(document.Cells[0].Verdicts.Single(verdict => verdict.Metric == "switches").Sentence, Does.Contain("in every run alike").Or.Contain("no difference"));
            Assert.That(File.ReadAllLines(Path.Combine(_folder, "comparison.csv")), Has.Length.EqualTo(17));
            foreach (RunRow run in document.Runs)
            {
                foreach (string file in new[] { "run.json", "result.json", "configuration.json", "schedule.csv" })
                    Assert.That(Path.Combine(_folder, run.Folder, file), Does.Exist);
            }

            Assert.That(cli.Out, Does.Contain("SIMULATED").And.Contain("95 % interval").And.Contain("domains.count=5, domains[1].guestOptions.period=10 ms"));
        });
    }

    [Test]
    public void The_comparison_goes_to_standard_output_as_JSON_alone()
    {
        using Support.Cli cli = new();
        Assert.That(cli.Run(Arguments("quickstart.json", "--repeat", "1", "--json", "--no-schedules")), Is.Zero, cli.Error);
        ComparisonDocument document = ComparisonJson.Read(cli.Out);
        Assert.Multiple(() =>
        {
            Assert.That(document.Schedulers, Is.EqualTo(new[] { "bvt" }));
            Assert.That(document.Runs.Single().Groups.Select(group => group.Share), Is.EqualTo(new[] { 1 / 7.0, 2 / 7.0, 4 / 7.0 }).Within(0.01));
            Assert.That(Path.Combine(_folder, document.Runs[0].Folder, "schedule.csv"), Does.Not.Exist);
        });
    }

    [Test]
    public void An_interrupted_comparison_goes_on_where_it_stopped()
    {
        string[] arguments = Arguments("quickstart.json", "--scheduler", "bvt,round-robin", "--repeat", "3");
        using (Support.Cli cli = new())
        {
            // Each run asks for the time once, when it begins: the stop comes into the third.
            int asked = 0;
            cli.Asked = () =>
            {
                if (++asked == 3)
                    cli.Stop.Request();
            };
            Assert.Multiple(() =>
            {
                Assert.That(cli.Run(arguments), Is.EqualTo(1));
                Assert.That(cli.Error, Does.Contain("interrupted").And.Contain("goes on where this one stopped"));
                Assert.That(Document().Outcome, Is.EqualTo("interrupted"));
                Assert.That(Document().Runs, Has.Count.EqualTo(2));
                Assert.That(Directory.GetDirectories(Path.Combine(_folder, "runs")), Has.Length.EqualTo(2));
            });
        }

        RunRow[] before = [.. Document().Runs];
        using Support.Cli again = new();
        Assert.Multiple(() =>
        {
            Assert.That(again.Run(arguments), Is.Zero, again.Error);
            Assert.That(Document().Outcome, Is.EqualTo("completed"));
            Assert.That(Document().Runs, Has.Count.EqualTo(6));
            Assert.That(Document().Runs.Take(2).Select(run => run.StartedAt), Is.EqualTo(before.Select(run => run.StartedAt)));
        });
    }

    [Test]
    public void A_run_that_a_crash_left_unfinished_is_made_again_and_more_repetitions_are_added()
    {
        using Support.Cli first = new();
        Assert.That(first.Run(Arguments("quickstart.json", "--repeat", "2")), Is.Zero, first.Error);
        ComparisonDocument before = Document();
        File.Delete(Path.Combine(_folder, before.Runs[0].Folder, "run.json"));
        using Support.Cli again = new();
        Assert.Multiple(() =>
        {
            Assert.That(again.Run(Arguments("quickstart.json", "--repeat", "3")), Is.Zero, again.Error);
            Assert.That(Document().Runs, Has.Count.EqualTo(3));
            Assert.That(Document().Runs[0].StartedAt, Is.Not.EqualTo(before.Runs[0].StartedAt));
            Assert.That(Document().Runs[1].StartedAt, Is.EqualTo(before.Runs[1].StartedAt));
        });
    }

    [Test]
    public void A_changed_plugin_is_noticed_and_never_mixed_in()
    {
        using PluginForge forge = new();
        string plugin = forge.Plugin("mine", PluginForge.Scheduler("mine"));
        string[] arguments = Arguments("quickstart.json", "--scheduler", $"bvt,{plugin}", "--repeat", "1");
        using Support.Cli first = new();
        Assert.That(first.Run(arguments), Is.Zero, first.Error);
        File.Delete(plugin);
        forge.Plugin("mine", PluginForge.Scheduler("mine", "\"something else\""));
        using Support.Cli second = new();
        using Support.Cli third = new();
        Assert.Multiple(() =>
        {
            Assert.That(second.Run(arguments), Is.EqualTo(2));
            Assert.That(second.Error, Does.Contain(plugin).And.Contain("(of 1 runs)").And.Contain("--restart"));
            Assert.That(third.Run([.. arguments, "--restart"]), Is.Zero, third.Error);
            Assert.That(Document().Runs, Has.Count.EqualTo(2));
        });
    }

    [Test]
    public void A_changed_configuration_is_noticed()
    {
        using Support.Cli first = new();
        Assert.That(first.Run(Arguments("quickstart.json", "--repeat", "1")), Is.Zero, first.Error);
        using Support.Cli second = new();
        Assert.Multiple(() =>
        {
            Assert.That(second.Run(Arguments("quickstart.json", "--repeat", "1", "--set", "domains[0].weight=300")), Is.EqualTo(2));
            Assert.That(second.Error, Does.Contain("the configuration (of 1 runs)"));
        });
    }

    [Test]
    public void A_run_that_fails_is_recorded_and_loses_no_other()
    {
        using PluginForge forge = new();
        string plugin = forge.Plugin("broken", PluginForge.Scheduler("broken").Replace("=> Decision.Idle", "=> throw new InvalidOperationException(\"no idea\")", StringComparison.Ordinal));
        using Support.Cli cli = new();
        int code = cli.Run(Arguments("quickstart.json", "--scheduler", $"{plugin},bvt", "--repeat", "2"));
        ComparisonDocument document = Document();
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.EqualTo(1));
            Assert.That(cli.Error, Does.Contain("no idea").And.Contain("2 of 4 runs failed"));
            Assert.That(document.Outcome, Is.EqualTo("failed"));
            Assert.That(document.Cells[0].Schedulers[0], Has.Property("Failed").EqualTo(2).And.Property("Runs").Zero);
            Assert.That(document.Cells[0].Schedulers[1], Has.Property("Failed").Zero.And.Property("Runs").EqualTo(2));
        });
    }

    [TestCase("row")]
    [TestCase("fingerprint")]
    public void A_run_of_the_folder_without_its_parts_is_named(string key)
    {
        string output = Path.Combine(_folder, "out");
        string[] arguments = ["compare", Repository.Sample("quickstart.json"), "--simulate-only", "--seconds", "1", "--repeat", "1", "--out", output];
        using Support.Cli first = new();
        Assert.That(first.Run(arguments), Is.Zero, first.Error);
        string file = Directory.EnumerateFiles(Path.Combine(output, "runs"), "run.json", SearchOption.AllDirectories).First();
        JsonObject stored = JsonNode.Parse(File.ReadAllText(file))!.AsObject();
        stored.Remove(key);
        File.WriteAllText(file, stored.ToJsonString());
        using Support.Cli again = new();
        Assert.That(again.Run(arguments), Is.EqualTo(ExitCode.Usage));
        Assert.That(again.Error, Does.Contain(file).And.Contain("not a run of a comparison").And.Contain("Remove its folder"));
    }

    [Test]
    public void A_comparisons_folder_makes_nothing_outside_it_vanish_or_change()
    {
        string victim = Path.Combine(_folder, "victim");
        Directory.CreateDirectory(Path.Combine(victim, "001-simulated-bvt-r1"));
        File.WriteAllText(Path.Combine(victim, "kept"), "kept");
        string output = Path.Combine(_folder, "out");
        string[] arguments = ["compare", Repository.Sample("quickstart.json"), "--simulate-only", "--seconds", "1", "--repeat", "2", "--out", output];
        using Support.Cli first = new();
        Assert.That(first.Run(arguments), Is.Zero, first.Error);

        // Both runs failed, says the folder, and lie elsewhere; a third is a link; and somebody keeps files of his own there.
        string runs = Path.Combine(output, "runs");
        foreach (string run in Directory.GetDirectories(runs))
        {
            JsonNode stored = JsonNode.Parse(File.ReadAllText(Path.Combine(run, "run.json")))!;
            stored["row"]!["folder"] = victim;
            stored["row"]!["outcome"] = "failed";
            File.WriteAllText(Path.Combine(run, "run.json"), stored.ToJsonString());
        }

        Directory.CreateSymbolicLink(Path.Combine(runs, "003-simulated-bvt-r3"), victim);
        Directory.CreateDirectory(Path.Combine(runs, "mine"));
        using Support.Cli again = new();
        using Support.Cli anew = new();
        Assert.Multiple(() =>
        {
            Assert.That(again.Run(arguments), Is.Zero, again.Error);
            Assert.That(anew.Run([.. arguments, "--restart"]), Is.Zero, anew.Error);
            Assert.That(Directory.GetFileSystemEntries(victim), Has.Length.EqualTo(2));
            Assert.That(Path.Combine(runs, "mine"), Does.Exist);
            Assert.That(ComparisonJson.Read(File.ReadAllText(Path.Combine(output, "comparison.json"))).Runs.Select(run => run.Folder), Is.All.StartsWith("runs/00"));
        });

        // A folder of runs that is a link is not entered at all.
        Directory.Move(runs, Path.Combine(victim, "runs"));
        Directory.CreateSymbolicLink(runs, Path.Combine(victim, "runs"));
        using Support.Cli linked = new();
        Assert.Multiple(() =>
        {
            Assert.That(linked.Run([.. arguments, "--restart"]), Is.EqualTo(2));
            Assert.That(linked.Error, Does.Contain("symbolic link"));
            Assert.That(Directory.GetDirectories(Path.Combine(victim, "runs")), Has.Length.EqualTo(4));
        });
    }

    [TestCase("{\"switchNs\":-5,\"wakeNs\":0,\"beatNs\":0,\"source\":\"x\"}")]
    [TestCase("not JSON")]
    public void Costs_that_are_none_are_named_with_their_file(string text)
    {
        File.WriteAllText(Path.Combine(_folder, "calibration.json"), text);
        using Support.Cli cli = new() { Environment = { ["TESSERA_KVM_DEVICE"] = "/dev/null" } };
        Assert.Multiple(() =>
        {
            Assert.That(cli.Run("compare", Repository.Sample("quickstart.json"), "--simulate", "--repeat", "1", "--seconds", "1", "--out", _folder), Is.EqualTo(2));
            Assert.That(cli.Error, Does.Contain("calibration.json").And.Contain("Remove the file"));
        });
    }

    [Test]
    public void The_same_seed_gives_the_same_figures_and_order()
    {
        string[] arguments = Arguments("hundred.json", "--scheduler", "bvt,round-robin", "--repeat", "2", "--seed", "7", "--model", "beat=queue gap=10ms service=1ms", "--no-schedules");
        string first = Figures();
        Assert.Multiple(() =>
        {
            Assert.That(Figures("--restart"), Is.EqualTo(first));
            Assert.That(Document().Runs.Where(run => run.Scheduler == "bvt").Select(run => run.Metrics["shareError10ms"]).Distinct().Count(), Is.EqualTo(2));
        });

        string Figures(params string[] more)
        {
            using Support.Cli cli = new();
            Assert.That(cli.Run([.. arguments, .. more]), Is.Zero, cli.Error);
            return string.Join('\n', Document().Runs.Select(run => $"{run.Scheduler} {run.Repetition} {string.Join(' ', run.Metrics)}"));
        }
    }

    [Test]
    public void Machine_and_simulator_stand_side_by_side()
    {
        using Support.Cli cli = new();
        Assert.That(cli.Run("compare", Repository.Sample("quickstart.json"), "--simulate", "--engine", Engines.FirstUsable, "--repeat", "1", "--seconds", "1", "--out", _folder), Is.Zero, cli.Error);
        ComparisonDocument document = Document();
        Assert.Multiple(() =>
        {
            Assert.That(document.Engines, Is.EqualTo(new[] { "machine", "simulated" }));
            Assert.That(document.Costs!.Source, Does.StartWith("measured"));
            Assert.That(document.Agreement.Select(row => (row.Group, row.Quantity)), Is.EqualTo(new[] { ("one", "share"), ("two", "share"), ("four", "share") }));
            Assert.That(document.Agreement, Has.All.Matches<AgreementRow>(row => row!.Agrees == (row.Reason.Length == 0)));
            Assert.That(document.Runs.Single(run => run.Engine == "machine").Metrics, Contains.Key("withheld"));
            Assert.That(cli.Out, Does.Contain("machine and simulator"));
        });
    }

    [TestCase("it is given twice", "--vary", "domains.count=1,2", "--vary", "domains.count=3")]
    [TestCase("no item of domains has a count", "--vary", "domains.count=1,2")]
    [TestCase("write PATH=VALUE,VALUE", "--vary", "domains")]
    [TestCase("a value is given twice", "--vary", "domains[0].weight=1,1")]
    [TestCase("tessera: with bvt, domains.cuont=1", "--vary", "domains.cuont=1")]
    [TestCase("--vary domains.cuont=1: domains: This is", "--vary", "domains.cuont=1")]
    [TestCase("--set domains.cuont=1: domains: This is", "--set", "domains.cuont=1")]
    [TestCase("domains[0].wieght", "--vary", "domains[0].wieght=1,2")]
    [TestCase("with bvt, domains[0].weight=0", "--vary", "domains[0].weight=1,0")]
    [TestCase("no scheduler plugin \"nonesuch\"", "--scheduler", "bvt,nonesuch")]
    [TestCase("each once", "--scheduler", "bvt,bvt")]
    [TestCase("from 1 on", "--repeat", "0")]
    public void What_is_wrong_ends_with_2_before_anything_runs(string message, params string[] more)
    {
        using Support.Cli cli = new();
        Assert.Multiple(() =>
        {
            Assert.That(cli.Run(Arguments("quickstart.json", more)), Is.EqualTo(2));
            Assert.That(cli.Error, Does.Contain(message));
            Assert.That(Path.Combine(_folder, "runs"), Does.Not.Exist);
        });
    }

    private string[] Arguments(string sample, params string[] more) =>
        ["compare", Repository.Sample(sample), "--simulate-only", "--seconds", "1", "--out", _folder, .. more];

    private ComparisonDocument Document() => ComparisonJson.Read(File.ReadAllText(Path.Combine(_folder, "comparison.json")));
}
