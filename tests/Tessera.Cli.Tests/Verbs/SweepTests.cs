using System.Reflection;
using System.Text.Json;
using System.Text.Json.Nodes;
using Tessera.Cli.Terminal;
using Tessera.Cli.Tests.Support;
using Tessera.Experiments.Sweeps;
using Tessera.Hosting.Tests;
using Tessera.Lab.Comparisons;
using Tessera.Lab.Reports;

namespace Tessera.Cli.Tests.Verbs;

/// <summary>`sweep plan`, `run`, `status` and `merge`, in this process.</summary>
internal sealed class SweepTests
{
    private SweepFolder _sweep = null!;

    [SetUp]
    public void MakeFolder() => _sweep = new SweepFolder();

    [TearDown]
    public void RemoveFolder() => _sweep.Dispose();

    [Test]
    public void A_sweep_comes_to_what_a_comparison_comes_to()
    {
        string[] design = ["--scheduler", "bvt,round-robin", "--vary", "domains.count=2,3", "--repeat", "2", "--stagger", "5 ms"];
        _sweep.Plan("hundred.json", design);
        (int planned, string plannedText, _) = Run("status", _sweep.Path);
        (int half, _, _) = Run("run", _sweep.Path, "--cells", "2-3,8-99");
        (int partly, _, string what) = Run("merge", _sweep.Path, "--quiet");
        ComparisonDocument incomplete = _sweep.Document();
        if (ReportWriter.CanDraw)
            Assert.That(File.ReadAllText(Path.Combine(_sweep.Path, "report.html")),
                Does.Contain("4 runs of this sweep are missing").And.Contain(">missing<"));
        (int all, _, string said) = Run("run", _sweep.Path);
        (int merged, string table, _) = Run("merge", _sweep.Path, "--metric", "jain");
        Assert.Multiple(() =>
        {
            Assert.That(planned, Is.EqualTo(1));
            Assert.That(plannedText, Does.Contain("1 of 8 cells done, 0 failed, 7 missing").And.Contain("missing: 2-8; about"));
            Assert.That((half, partly), Is.EqualTo((0, 1)), "cells asked for; all cells");
            Assert.That(what, Does.Contain("4 of 8 runs are missing").And.Contain("missing: 4-7."));
            Assert.That((incomplete.Outcome, incomplete.Runs.Count), Is.EqualTo(("incomplete", 4)));
            Assert.That(incomplete.Missing.Select(run => run.Place), Is.EqualTo(new[] { 4, 5, 6, 7 }));
            Assert.That((all, merged), Is.EqualTo((0, 0)));
            Assert.That(said, Does.Contain("4 of 8 cells are in"));
            Assert.That(table, Does.Contain("Jain").And.Not.Contain("switches"));
            Assert.That(_sweep.Document().Hosts.Single(), Is.EqualTo(new HostRuns(Environment.MachineName, _sweep.Document().Host, 8, 0)));
            Assert.That(SweepFolder.Figures(_sweep.Path), Is.EqualTo(_sweep.Compared("hundred.json", design)));
        });
    }

    [Test]
    public void Cells_are_named_by_their_content_and_a_larger_plan_keeps_them()
    {
        _sweep.Plan("quickstart.json", "--scheduler", "bvt", "--repeat", "2");
        Assert.That(Run("run", _sweep.Path).Code, Is.Zero);
        IReadOnlyList<string> before = _sweep.Finished();
        _sweep.Plan("quickstart.json", "--scheduler", "round-robin,bvt", "--repeat", "3");
        string[] planned = [.. Plan().Cells.Select(cell => cell.Name)];
        Assert.Multiple(() =>
        {
            Assert.That(before, Has.Count.EqualTo(2).And.All.Matches("^simulated-bvt-r[12]-[0-9a-f]{16}$"));
            Assert.That(planned, Is.Unique.And.Length.EqualTo(6).And.SupersetOf(before));
        });
        (int code, _, string said) = Run("run", _sweep.Path);
        Assert.That((code, said.Contains("of 6 cells are in", StringComparison.Ordinal)), Is.EqualTo((0, true)), said);
        Assert.That(_sweep.Finished(), Is.EquivalentTo(planned));

        // What another plan has no cell for stays and is left out.
        _sweep.Plan("quickstart.json", "--scheduler", "bvt", "--repeat", "1");
        (int merged, _, string left) = Run("merge", _sweep.Path, "--quiet");
        Assert.That((merged, _sweep.Document().Runs.Count), Is.EqualTo((0, 1)));
        Assert.That(left, Does.Contain("5 runs in").And.Contain("are no cells of this plan"));
    }

    [Test]
    public void A_comparison_and_a_sweep_go_on_in_one_folder()
    {
        string[] design = ["--scheduler", "bvt,round-robin", "--repeat", "2"];
        _sweep.Plan("quickstart.json", design);
        Assert.That(Run("run", _sweep.Path, "--cells", "1-2").Code, Is.Zero);
        using Support.Cli compare = new();
        string[] arguments = ["compare", Repository.Sample("quickstart.json"), "--simulate-only", "--seconds", "1", "--no-schedules",
            .. design, "--out", _sweep.Path];
        Assert.That(compare.Run(arguments), Is.Zero, compare.Error);
        (int status, string text, _) = Run("status", _sweep.Path);
        Assert.Multiple(() =>
        {
            Assert.That(compare.Error, Does.Contain("2 of 4 runs are in"));
            Assert.That(status, Is.Zero, text);
            Assert.That(_sweep.Finished().Count(name => char.IsAsciiDigit(name[0])), Is.EqualTo(2));
        });
    }

    [Test]
    public void A_sweep_takes_what_a_comparison_made()
    {
        string[] design = ["--scheduler", "bvt,round-robin", "--repeat", "2"];
        using Support.Cli compare = new();
        Assert.That(
            compare.Run(["compare", Repository.Sample("quickstart.json"), "--simulate-only", "--seconds", "1", "--no-schedules", .. design, "--out", _sweep.Path]),
            Is.Zero, compare.Error);
        _sweep.Plan("quickstart.json", design);
        (int code, _, string error) = Run("run", _sweep.Path);
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.Zero, error);
            Assert.That(error, Does.Contain("4 of 4 cells are in"));
            Assert.That(_sweep.Finished(), Has.Count.EqualTo(4));
        });
    }

    [Test]
    public void A_changed_plugin_stops_a_run_and_its_old_runs_are_left_out()
    {
        using PluginForge forge = new();
        string plugin = forge.Plugin("mine", PluginForge.Scheduler("mine"));
        _sweep.Plan("quickstart.json", "--scheduler", $"bvt,{plugin}", "--repeat", "2");
        Assert.That(Run("run", _sweep.Path, "--cells", "1-2").Code, Is.LessThan(2));
        File.Delete(plugin);
        forge.Plugin("mine", PluginForge.Scheduler("mine", "\"something else\""));
        (int code, _, string error) = Run("run", _sweep.Path);
        Assert.That(code, Is.EqualTo(ExitCode.Usage));
        Assert.That(error, Does.Contain("by something else than is planned: the scheduler plugin " + plugin).And.Contain("plan again"));

        // Its runs have names of their own in a new plan; one that is called like a new cell is known by what it says made it.
        _sweep.Plan("quickstart.json", "--scheduler", $"bvt,{plugin}", "--repeat", "2");
        SweepPlan plan = Plan();
        SweepCell cell = plan.Cells.First(each => plan.Variants[each.Variant].Scheduler == "mine");
        string old = _sweep.Finished().First(name => name.Contains("-mine-", StringComparison.Ordinal));
        string place = Path.Combine(_sweep.Runs, cell.Name);
        if (Directory.Exists(place))
            Directory.Delete(place, recursive: true);
        Directory.Move(Path.Combine(_sweep.Runs, old), place);
        Assert.That(Run("status", _sweep.Path).Out, Does.Contain("made by something else than is planned: 1"));
    }

    [Test]
    public void A_failed_cell_is_named_and_made_again()
    {
        using PluginForge forge = new();
        string broken = Path.Combine(forge.Folder, "is-broken");
        File.WriteAllText(broken, "");
        string schedule = $"=> System.IO.File.Exists(\"{broken}\") ? throw new InvalidOperationException(\"no idea\") : Decision.Idle";
        string plugin = forge.Plugin("frail", PluginForge.Scheduler("frail")
            .Replace("=> Decision.Idle", schedule, StringComparison.Ordinal));
        _sweep.Plan("quickstart.json", "--scheduler", plugin, "--repeat", "2");
        (int code, _, string error) = Run("run", _sweep.Path);
        (_, string status, _) = Run("status", _sweep.Path);
        (int merged, _, string notMerged) = Run("merge", _sweep.Path);
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.EqualTo(1));
            Assert.That(error, Does.Contain("no idea").And.Contain("2 of 2 cells failed; the same command repeats them"));
            Assert.That(status,
                Does.Contain("0 of 2 cells done, 2 failed, 0 missing").And.Contain("failed: cell 1, runs/simulated-frail-r1-"));
            Assert.That((merged, notMerged.Contains("no cell has a good run yet", StringComparison.Ordinal)), Is.EqualTo((1, true)));
        });
    }

    [Test]
    public void Runs_on_machines_of_several_hosts_are_called_blocks()
    {
        FakePacer pacer = new();
        FakeMachines machines = new(pacer);
        using Support.Cli plan = new() { Kvm = Experiments.Hosts.KvmState.Missing };
        string[] design = [Repository.Sample("quickstart.json"), "--scheduler", "bvt,round-robin", "--repeat", "2", "--seconds", "1"];
        Assert.That(plan.Run(["sweep", "plan", .. design, "--out", _sweep.Path]), Is.Zero, plan.Error);
        Assert.That(plan.Error, Does.Contain("the engine \"auto\" is software here, and so it is for every cell"));
        Assert.That(plan.Out, Does.Contain("4 cells").And.Contain("4 on the machine, 0 in virtual time; 2 a repetition").And.Contain(
            "machine: 4 runs, 2 of each policy and combination: about 8 s"));
        using Support.Cli run = new() { Pacer = pacer, Machines = machines };
        Assert.That(run.Run("sweep", "run", _sweep.Path), Is.Zero, run.Error);
        Assert.That(machines.Made, Has.Count.EqualTo(4));
        foreach (string name in _sweep.Finished().Where(name => name.Contains("-r2-", StringComparison.Ordinal)))
            Edit(name, row => row["host"]!["name"] = "elsewhere");
        (int merged, _, string error) = Run("merge", _sweep.Path);
        ComparisonDocument document = _sweep.Document();
        Assert.Multiple(() =>
        {
            Assert.That(merged, Is.Zero);
            Assert.That(document.Hosts.Select(host => (host.Runs, host.OnMachine)), Is.EqualTo(new[] { (2, 2), (2, 2) }));
            Assert.That(document.Blocking, Does.Contain("from 2 hosts").And.Contain("the host is a blocking factor").And.Contain(
                "Each repetition was made on one of them"));
            Assert.That(error, Does.Contain("the host is a blocking factor"));
            if (ReportWriter.CanDraw)
                Assert.That(File.ReadAllText(Path.Combine(_sweep.Path, "report.html")),
                    Does.Contain("id=\"hosts\"").And.Contain(">elsewhere, "));
            Assert.That(document.Runs.Select(made => made.Host!.Engine), Is.All.EqualTo("software"));
        });
        Edit(_sweep.Finished().First(name => name.Contains("-r1-", StringComparison.Ordinal)), row =>
            row["host"]!["name"] = "a \u001b[2Jthird");
        Assert.That(Run("merge", _sweep.Path, "--quiet").Code, Is.Zero);
        Assert.That(_sweep.Document().Blocking,
            Does.Contain("1 of 2 repetitions were made on more than one (1)").And.Contain("a [2Jthird"));

        void Edit(string name, Action<JsonNode> edit)
        {
            string file = Path.Combine(_sweep.Runs, name, "run.json");
            JsonNode stored = JsonNode.Parse(File.ReadAllText(file))!;
            edit(stored["row"]!);
            File.WriteAllText(file, stored.ToJsonString());
        }
    }

    [Test]
    public void Sweeps_of_one_content_from_two_folders_are_the_same_wherever_files_lie()
    {
        using PluginForge here = new();
        using PluginForge there = new();
        string plugin = here.Plugin("mine", PluginForge.Scheduler("mine"));
        Directory.CreateDirectory(Path.Combine(there.Folder, "mine"));
        string copy = Path.Combine(there.Folder, "mine", "mine.dll");
        File.Copy(plugin, copy);
        Dictionary<string, string> of(string path) => new() { [$"the plugin {path}"] = "hash", ["the configuration"] = "c" };
        PlannedRun run = new(1, 1, "simulated", "mine", []);
        Assert.Multiple(() =>
        {
            Assert.That(Experiments.Comparisons.Fingerprint.Differences(of(plugin), of(copy)), Is.Empty);
            Assert.That(Experiments.Comparisons.Fingerprint.ContentOf(run, of(plugin)),
                Is.EqualTo(Experiments.Comparisons.Fingerprint.ContentOf(run with { Place = 7 }, of(copy))));
            Assert.That(Experiments.Comparisons.Fingerprint.ContentOf(run with { Repetition = 2 }, of(plugin)),
                Is.Not.EqualTo(Experiments.Comparisons.Fingerprint.ContentOf(run, of(plugin))));
        });
    }

    [TestCase("{}", "not the plan of a sweep")]
    [TestCase("no JSON", "not the plan of a sweep")]
    [TestCase("../../x", "name of cell 1")]
    [TestCase("", "Cell 2 is not whole", 1)]
    [TestCase("seconds", "\"seconds\" are out of range")]
    [TestCase("label", "has control characters")]
    [TestCase("plugin", "has control characters")]
    [TestCase("schema", "Its \"schema\" is \"[2J\"")]
    public void A_plan_that_is_none_is_named_with_its_file(string text, string message, int index = 0)
    {
        _sweep.Plan("quickstart.json", "--repeat", "2");
        string file = Path.Combine(_sweep.Path, "plan.json");
        if (text is "{}" or "no JSON")
        {
            File.WriteAllText(file, text);
        }
        else
        {
            JsonNode plan = JsonNode.Parse(File.ReadAllText(file))!;
            if (text == "label")
                plan["variants"]![0]!["scheduler"] = "\u001b[2J";
            else if (text == "plugin")
                plan["variants"]![0]!["plugin"] = "/x\u001b]0;";
            else if (text == "schema")
                plan["schema"] = "\u001b[2J";
            else if (text == "seconds")
                plan["seconds"]!["simulated"] = 1e300;
            else
                plan["cells"]![index]![text.Length > 0 ? "name" : "variant"] = text.Length > 0 ? text : 7;
            File.WriteAllText(file, plan.ToJsonString());
        }

        foreach (string verb in new[] { "run", "status", "merge" })
        {
            (int code, _, string error) = Run(verb, _sweep.Path);
            Assert.That(code, Is.EqualTo(ExitCode.Usage), error);
            Assert.That(error, Does.Contain(file).And.Contain(message).And.Contain("Plan again"));
        }
    }

    [TestCase("0-1", "begin with 1")]
    [TestCase("2-1", "begin with 1")]
    [TestCase("1-2-3", "numbers and ranges")]
    [TestCase("x", "numbers and ranges")]
    [TestCase("3", "there is no cell 3; the plan has 2")]
    public void Numbers_of_cells_are_checked(string cells, string message)
    {
        _sweep.Plan("quickstart.json", "--repeat", "2");
        (int code, _, string error) = Run("run", _sweep.Path, "--cells", cells);
        Assert.That((code, error.Contains(message, StringComparison.Ordinal)), Is.EqualTo((ExitCode.Usage, true)), error);
    }

    [Test]
    public void Numbers_of_cells_are_written_as_they_are_read()
    {
        Assert.That(CellNumbers.Text(CellNumbers.Parse("7,1-3,3-4,9-99", 10)), Is.EqualTo("1-4,7,9-10"));
        Assert.That(CellNumbers.Text([]), Is.Empty);
    }

    [Test]
    public void A_folder_without_a_plan_says_how_to_make_one()
    {
        (int code, _, string error) = Run("run", _sweep.Path);
        Assert.That((code, error), Is.EqualTo((2,
            $"tessera: {_sweep.Path}: there is no plan.json here. Make one: tessera sweep plan CONFIG --out "
            + $"{_sweep.Path}{Environment.NewLine}")));
    }

    [Test]
    public void What_killed_processes_of_this_host_left_goes_and_what_others_write_stays()
    {
        _sweep.Plan("quickstart.json", "--repeat", "1");
        string mine = Directory.CreateDirectory(Path.Combine(_sweep.Runs, Experiments.Comparisons.UnfinishedRuns.NewName())).FullName;
        string killed = mine.Replace($"-{Environment.ProcessId}-", $"-{int.MaxValue}-", StringComparison.Ordinal);
        string elsewhere = killed + "x";
        Directory.CreateDirectory(killed);
        Directory.CreateDirectory(elsewhere);
        (int code, _, string error) = Run("run", _sweep.Path);
        Assert.Multiple(() =>
        {
            Assert.That(code, Is.Zero, error);
            Assert.That(killed, Does.Not.Exist);
            Assert.That(mine, Does.Exist);
            Assert.That(elsewhere, Does.Exist);
            Assert.That(Run("status", _sweep.Path).Out, Does.Contain("being made, or left by a process that was killed: 2"));
        });
    }

    [Test]
    public void Status_speaks_JSON()
    {
        _sweep.Plan("quickstart.json", "--repeat", "3");
        using JsonDocument status = JsonDocument.Parse(Run("status", _sweep.Path, "--json").Out);
        Assert.Multiple(() =>
        {
            Assert.That(status.RootElement.GetProperty("schema").GetString(), Is.EqualTo("tessera.sweep-status/1"));
            Assert.That(status.RootElement.GetProperty("done").GetInt32(), Is.EqualTo(1));
            Assert.That(status.RootElement.GetProperty("missing").GetString(), Is.EqualTo("2-3"));
        });
    }

    [Test]
    public void Every_key_of_a_plan_is_documented()
    {
        string page = File.ReadAllText(Path.Combine(Repository.Root, "docs", "sweep.md"));
        IEnumerable<string> keys = new[] { typeof(SweepPlan), typeof(SweepVariant), typeof(SweepCell), typeof(CellSeconds) }
            .SelectMany(type => type.GetProperties(BindingFlags.Public | BindingFlags.Instance))
                .Select(property => JsonNamingPolicy.CamelCase.ConvertName(property.Name)).Distinct();
        Assert.That(keys.Where(key => !page.Contains($"`{key}`", StringComparison.Ordinal)), Is.Empty);
    }

    private SweepPlan Plan() => SweepPlanFile.Read(new Lab.Folders.UntrustedFolder(_sweep.Path));

    private static (int Code, string Out, string Error) Run(string verb, params string[] arguments)
    {
        using Support.Cli cli = new();
        int code = cli.Run(["sweep", verb, .. arguments]);
        return (code, cli.Out, cli.Error);
    }
}
