using System.Text.Json.Nodes;
using Tessera.Cli.Composition;
using Tessera.Cli.Tests.Support;

namespace Tessera.Cli.Tests.Verbs;

/// <summary>`--time virtual`: guests that run, and runs that can be repeated byte for byte (docs/virtual-time.md).</summary>
internal sealed class VirtualTimeTests
{
    private const string Busy = """
        {
          "machine": { "engine": "software", "time": "virtual", "pcpus": 2 },
          "domains": [
            { "name": "one", "guest": "spin" },
            { "name": "two", "guest": "spin", "weight": 512 },
            { "name": "three", "guest": "spin", "startDelay": "111 ms" },
            { "name": "beat", "guest": "beat", "scheduler": { "warp": true } },
            { "name": "burst", "guest": "burst" },
            { "name": "paging", "guest": "paging" },
            { "name": "hello", "guest": "hello" }
          ],
          "duration": "500 ms"
        }
        """;

    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("tessera-virtual-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void Three_runs_leave_the_same_files_also_on_a_busy_host_and_with_progress_shown()
    {
        SortedDictionary<string, string> first = RunFolder.SameThreeTimes(number => RunFolder.Files(Run($"run{number}", Busy, number == 3 ? [] : ["--quiet"])));
        Assert.That(first["schedule.csv"].Count(letter => letter == '\n'), Is.GreaterThan(100));
        Assert.That(first["console-hello.log"], Is.Not.Empty);
    }

    [Test]
    public void Other_code_made_of_the_same_guests_gives_the_same_run()
    {
        // Without BMI2 and FSGSBASE every check is another sequence, and blocks are cut and missed elsewhere: the count is of the guest's instructions alone.
        SortedDictionary<string, string> best = RunFolder.Files(Run("best", Busy, "--quiet"));
        SortedDictionary<string, string> plain = RunFolder.Files(Run("plain", Busy, "--quiet", "--set", "machine.engineOptions.plain=true"));
        foreach (string name in best.Keys.Where(name => name.EndsWith(".csv", StringComparison.Ordinal) || name.EndsWith(".log", StringComparison.Ordinal)))
            Assert.That(plain[name], Is.EqualTo(best[name]), name);
    }

    [Test]
    public void Shares_are_those_that_weights_promise()
    {
        JsonNode result = JsonNode.Parse(File.ReadAllText(Path.Combine(Run("shares", """
            { "machine": { "engine": "software", "time": "virtual", "pcpus": 1 }, "duration": "2 s",
              "domains": [ { "name": "a", "guest": "spin" }, { "name": "b", "guest": "spin", "weight": 768 } ] }
            """, "--quiet"), "result.json")))!;
        Assert.Multiple(() =>
        {
            Assert.That((string?)result["time"], Is.EqualTo("virtual"));
            Assert.That((double)result["elapsedSeconds"]!, Is.EqualTo(2));
            Assert.That((double)result["domains"]![1]!["share"]!, Is.EqualTo(0.75).Within(0.01));
            Assert.That(result["withheld"], Is.Null);
            Assert.That(result["schedulerCost"]!["p50Ns"], Is.Null);
        });
    }

    [Test]
    public void A_rate_of_half_as_many_instructions_gives_half_the_work()
    {
        double full = Work(1000);
        Assert.That(Work(500), Is.EqualTo(full / 2).Within(full * 0.02));

        double Work(int rate) => (double)JsonNode.Parse(File.ReadAllText(Path.Combine(Run($"rate{rate}", $$"""
            { "machine": { "engine": "software", "time": "virtual", "virtualTime": { "instructionsPerMicrosecond": {{rate}} }, "pcpus": 1 }, "duration": "300 ms", "domains": [ { "name": "a", "guest": "spin" } ] }
            """, "--quiet"), "result.json")))!["domains"]![0]!["work"]!;
    }

    [Test]
    public void A_machine_may_have_more_CPUs_than_the_host_and_its_configuration_runs_as_it_is()
    {
        string output = Run("wide", Busy.Replace("\"pcpus\": 2", "\"pcpus\": 7", StringComparison.Ordinal), "--quiet");
        Assert.That(JsonNode.Parse(File.ReadAllText(Path.Combine(output, "result.json")))!["pcpus"]!.AsArray(), Has.Count.EqualTo(7));
        string again = Run("again", File.ReadAllText(Path.Combine(output, "configuration.json")), "--quiet");
        Assert.That(RunFolder.Files(again), Is.EqualTo(RunFolder.Files(output)));
    }

    [Test]
    public void An_engine_that_goes_by_the_hosts_clock_is_refused_with_the_cure()
    {
        using Support.Cli cli = new();
        Assert.That(cli.Run("run", Repository.Sample("quickstart.json"), "--time", "virtual", "--engine", "kvm"), Is.EqualTo(ExitCode.Usage));
        Assert.That(cli.Error, Does.Contain("--engine software"));
    }

    [Test]
    public void Without_an_engine_by_name_it_takes_one_that_owns_time_also_where_KVM_is()
    {
        using Support.Cli cli = new() { Kvm = KvmState.Usable };
        Assert.That(cli.Run("run", Repository.Sample("quickstart.json"), "--time", "virtual", "--seconds", "0.1", "--json", "--quiet"), Is.Zero, cli.Error);
        JsonNode result = JsonNode.Parse(cli.Out)!;
        Assert.Multiple(() =>
        {
            Assert.That((string?)result["engine"]!["name"], Is.EqualTo("software"));
            Assert.That((string?)result["configuration"]!["machine"]!["engine"], Is.EqualTo("software"));
            Assert.That((string?)result["time"], Is.EqualTo("virtual"));
            Assert.That(cli.Error, Is.Empty);
        });
    }

    [TestCase("--record")]
    [TestCase("--replay")]
    public void A_recording_is_of_virtual_time(string option)
    {
        using Support.Cli cli = new();
        Assert.That(cli.Run("run", Repository.Sample("quickstart.json"), "--engine", "software", option, Path.Combine(_folder, "file")), Is.EqualTo(ExitCode.Usage));
        Assert.That(cli.Error, Does.Contain("--time virtual"));
    }

    [Test]
    public void What_reaches_outside_is_refused_unless_it_is_recorded()
    {
        string file = Write("outside", """
            { "machine": { "engine": "software", "time": "virtual", "pcpus": 1 }, "duration": "10 ms", "domains": [ { "name": "a", "guest": "spin", "nics": [ { "backend": "nat" } ] } ] }
            """);
        using Support.Cli cli = new();
        Assert.That(cli.Run("run", file, "--quiet"), Is.EqualTo(ExitCode.Usage));
        Assert.That(cli.Error, Does.Contain("nat").And.Contain("--record"));
    }

    [Test]
    public void A_recording_of_another_configuration_is_refused()
    {
        string recording = Path.Combine(_folder, "recording");
        _ = Run("recorded", Busy, "--quiet", "--record", recording);
        using Support.Cli cli = new();
        Assert.That(cli.Run("run", Write("other", Busy), "--set", "domains[0].weight=3", "--replay", recording), Is.EqualTo(ExitCode.Usage));
        Assert.That(cli.Error, Does.Contain("another configuration"));
    }

    [Test]
    public void A_recorded_run_is_replayed_to_the_same_files()
    {
        string recording = Path.Combine(_folder, "recording");
        SortedDictionary<string, string> first = RunFolder.Files(Run("first", Busy, "--quiet", "--record", recording));
        Assert.That(RunFolder.Files(Run("first", Busy, "--quiet", "--replay", recording, "--force")), Is.EqualTo(first));
        Assert.That(File.ReadAllLines(recording), Has.Length.EqualTo(2), "the head and the end: nothing comes from outside");
    }

    [Test]
    public void A_file_that_is_no_recording_is_refused()
    {
        string file = Write("none", "{}");
        using Support.Cli cli = new();
        Assert.That(cli.Run("run", Write("busy", Busy), "--replay", file), Is.EqualTo(ExitCode.Usage));
        Assert.That(cli.Error, Does.Contain("not a recording"));
    }

    private string Write(string name, string configuration)
    {
        string file = Path.Combine(_folder, $"{name}.json");
        File.WriteAllText(file, configuration);
        return file;
    }

    /// <summary>Runs a configuration, always of the same name, and answers the folder of its files.</summary>
    private string Run(string name, string configuration, params string[] arguments)
    {
        using Support.Cli cli = new() { Kvm = KvmState.Missing };
        string output = Path.Combine(_folder, name);
        Assert.That(cli.Run(["run", Write("experiment", configuration), "--out", output, .. arguments]), Is.Zero, () => cli.Error);
        return output;
    }
}
