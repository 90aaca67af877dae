using System.Text.Json;
using Tessera.Cli.Tests.Support;
using Tessera.Lab.Reports;

namespace Tessera.Cli.Tests.Verbs;

/// <summary>`report`, and the reports that `run` and `simulate` write.</summary>
internal sealed class ReportTests
{
    private string _folder = "";

    [SetUp]
    public void Make() => _folder = Directory.CreateTempSubdirectory("tessera-report-").FullName;

    [TearDown]
    public void Remove() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void A_simulated_run_leaves_a_report_and_report_makes_the_same_again()
    {
        using Support.Cli cli = new();
        Assert.That(cli.Run("simulate", Repository.Sample("hundred.json"), "--seconds", "1", "--wake-cost", "5 us", "--out", _folder, "--quiet"), Is.Zero, cli.Error);
        Assert.Multiple(() =>
        {
            Assert.That(File.Exists(InFolder("trace.json")), Is.True);
            Assert.That(File.Exists(InFolder("series/runs.csv")), Is.True);
            Assert.That(File.Exists(InFolder("counters.csv")), Is.False, "modelled guests do not trap");
            Assert.That(File.Exists(InFolder("report.html")), Is.EqualTo(ReportWriter.CanDraw));
        });
        if (!ReportWriter.CanDraw)
            Assert.Ignore("The plotting library could not be fetched from the npm registry when this was built; run .ci/plotting-library and build again.");
        string first = File.ReadAllText(InFolder("report.html"));
        File.Delete(InFolder("report.html"));
        using Support.Cli again = new();
        Assert.That(again.Run("report", _folder), Is.Zero, again.Error);
        Assert.Multiple(() =>
        {
            Assert.That(again.Out.Split('\n', StringSplitOptions.RemoveEmptyEntries), Is.All.Matches<string>(File.Exists).And.Some.EndsWith("report.html"));
            Assert.That(File.ReadAllText(InFolder("report.html")), Is.EqualTo(first));
            Assert.That(first, Does.Contain("SIMULATED"));
        });
    }

    [Test]
    public void Traps_and_hypercalls_are_sampled_through_the_window_of_a_machine()
    {
        FakePacer pacer = new();
        using FakeMachine machine = new(pacer);
        using Support.Cli cli = new() { Pacer = pacer, Machine = machine };
        Assert.That(cli.Run("run", Repository.Sample("quickstart.json"), "--seconds", "2", "--set", "measureAfter=1 s", "--out", _folder, "--quiet"), Is.Zero, cli.Error);
        using StreamReader reader = new(InFolder("counters.csv"));
        CounterSample[] four = [.. CounterSamples.Read(reader, "counters.csv").Where(sample => sample.Domain == 2)];
        Assert.Multiple(() =>
        {
            Assert.That(four, Has.Length.EqualTo(41), "every 50 ms");
            Assert.That((four[0].At.Value, four[0].Traps), Is.EqualTo((0L, 0L)));
            Assert.That(four[^1].At.TotalSeconds, Is.EqualTo(2).Within(1e-9));
            Assert.That(four[^1].Traps, Is.EqualTo(2_000_000 * 4 / 7).Within(3));
            Assert.That(four[^1].Hypercalls, Is.EqualTo(1_000_000 * 4 / 7).Within(3));
        });
    }

    [Test]
    public void A_folder_without_results_is_bad_usage_and_named()
    {
        using Support.Cli cli = new();
        Assert.That(cli.Run("report", _folder), Is.EqualTo(2));
        Assert.That(cli.Error, Does.Contain(_folder).And.Contain("neither result.json nor comparison.json"));
    }

    [Test]
    public void Results_are_written_into_their_folder_and_not_through_what_bears_their_names()
    {
        string victim = Path.Combine(_folder, "victim");
        File.WriteAllText(victim, "kept");
        string results = Path.Combine(_folder, "results");
        Directory.CreateDirectory(results);
        string[] names = ["result.json", "schedule.csv", "configuration.json", "console-one.log", "report.html", "trace.json"];
        foreach (string name in names)
            File.CreateSymbolicLink(Path.Combine(results, name), victim);
        using Support.Cli cli = new();
        Assert.That(cli.Run("simulate", Repository.Sample("quickstart.json"), "--seconds", "1", "--out", results, "--force", "--quiet"), Is.Zero, cli.Error);
        Directory.Delete(Path.Combine(results, "series"), recursive: true);
        string elsewhere = Path.Combine(_folder, "elsewhere");
        Directory.CreateDirectory(elsewhere);
        Directory.CreateSymbolicLink(Path.Combine(results, "series"), elsewhere);
        using Support.Cli again = new();
        Assert.Multiple(() =>
        {
            Assert.That(File.ReadAllText(victim), Is.EqualTo("kept"));
            Assert.That(names.Where(name => new FileInfo(Path.Combine(results, name)).LinkTarget is not null), Is.EqualTo(ReportWriter.CanDraw ? Array.Empty<string>() : ["report.html"]));
            Assert.That(again.Run("report", results), Is.EqualTo(2));
            Assert.That(again.Error, Does.Contain("series").And.Contain("symbolic link"));
            Assert.That(Directory.GetFileSystemEntries(elsewhere), Is.Empty);
        });
    }

    [Test]
    public void A_trace_is_JSON_that_names_every_physical_CPU_and_domain()
    {
        using Support.Cli cli = new();
        Assert.That(cli.Run("simulate", Repository.Sample("quickstart.json"), "--seconds", "1", "--pcpus", "2", "--out", _folder, "--quiet"), Is.Zero, cli.Error);
        using JsonDocument trace = JsonDocument.Parse(File.ReadAllText(InFolder("trace.json")));
        string[] tracks = [.. trace.RootElement.GetProperty("traceEvents").EnumerateArray().Where(item => item.GetProperty("name").GetString() == "thread_name").Select(item => item.GetProperty("args").GetProperty("name").GetString()!)];
        Assert.That(tracks, Is.EqualTo(new[] { "pCPU 0", "pCPU 1", "one", "two", "four" }));
    }

    private string InFolder(string name) => Path.Combine(_folder, name);
}
