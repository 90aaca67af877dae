using System.Text.Json;
using Tessera.Cli.Results;
using Tessera.Cli.Tests.Support;

namespace Tessera.Cli.Tests.Results;

/// <summary>The shape of result.json: keys are only ever added.</summary>
internal sealed class ResultTests
{
    private static readonly string[] DocumentKeys =
    [
        "schema", "version", "startedAt", "outcome", "failures", "host", "engine", "scheduler", "configuration", "measuredFromSeconds", "elapsedSeconds",
        "domains", "pcpus", "schedulerCost", "changes",
    ];

    private static readonly string[] DomainKeys =
    [
        "name", "id", "guest", "state", "exitReason", "crashRegisters", "weight", "cpuSeconds", "share", "expectedShare", "work", "wakes", "wakeLatencyNs",
        "missedDeadlines", "traps", "hypercalls", "memory", "disks", "nics", "bootMilliseconds", "consoleTail",
    ];

    [Test]
    public void A_result_has_exactly_the_documented_keys()
    {
        JsonElement result = Run("quickstart.json");
        Assert.Multiple(() =>
        {
            Assert.That(result.GetProperty("schema").GetString(), Is.EqualTo("tessera.result/1"));
            Assert.That(Keys(result), Is.EqualTo(DocumentKeys));
            Assert.That(Keys(result.GetProperty("host")), Is.EqualTo(new[] { "cpu", "cpus", "memoryBytes", "kernel", "runtime" }));
            Assert.That(Keys(result.GetProperty("engine")), Is.EqualTo(new[] { "name", "strategy", "findings" }));
            Assert.That(Keys(result.GetProperty("engine").GetProperty("findings")[0]), Is.EqualTo(new[] { "probe", "finding", "consequence" }));
            Assert.That(Keys(result.GetProperty("scheduler")), Is.EqualTo(new[] { "name", "version", "ejected" }));
            Assert.That(Keys(result.GetProperty("domains")[0]), Is.EqualTo(DomainKeys));
            Assert.That(Keys(result.GetProperty("domains")[0].GetProperty("memory")), Is.EqualTo(new[] { "assignedBytes", "residentBytes" }));
            Assert.That(Keys(result.GetProperty("pcpus")[0]), Is.EqualTo(new[] { "index", "hostCpu", "busySeconds", "idleSeconds", "switches" }));
            Assert.That(Keys(result.GetProperty("schedulerCost")), Is.EqualTo(new[] { "decisions", "p50Ns", "p99Ns" }));
        });
    }

    [Test]
    public void Every_key_of_a_result_is_documented()
    {
        string documentation = File.ReadAllText(Path.Combine(Repository.Root, "docs", "results.md"));
        Assert.That(DocumentKeys.Concat(DomainKeys).Where(key => !documentation.Contains($"`{key}`", StringComparison.Ordinal) && !documentation.Contains($"`{key}[]`", StringComparison.Ordinal)), Is.Empty);
    }

    [Test]
    public void Shares_and_work_are_those_of_the_measured_window()
    {
        JsonElement result = Run("quickstart.json", "--set", "measureAfter=3 s");
        JsonElement four = result.GetProperty("domains")[2];
        Assert.Multiple(() =>
        {
            Assert.That(result.GetProperty("measuredFromSeconds").GetDouble(), Is.EqualTo(3).Within(1e-6));
            Assert.That(result.GetProperty("elapsedSeconds").GetDouble(), Is.EqualTo(10).Within(1e-6));
            Assert.That(four.GetProperty("share").GetDouble(), Is.EqualTo(4 / 7.0).Within(1e-6));
            Assert.That(four.GetProperty("expectedShare").GetDouble(), Is.EqualTo(4 / 7.0).Within(1e-6));
            Assert.That(four.GetProperty("cpuSeconds").GetDouble(), Is.EqualTo(40 / 7.0).Within(1e-6));
            Assert.That(four.GetProperty("work").GetInt64(), Is.EqualTo(5714).Within(1));
            Assert.That(four.GetProperty("state").GetString(), Is.EqualTo("running"));
            Assert.That(four.GetProperty("bootMilliseconds").ValueKind, Is.EqualTo(JsonValueKind.Null));
        });
    }

    [Test]
    public void A_result_reads_back_as_it_was_written()
    {
        string text = RunText("hundred.json");
        Assert.That(ResultJson.Write(ResultJson.Read(text)), Is.EqualTo(text));
    }

    private static string[] Keys(JsonElement element) => [.. element.EnumerateObject().Select(member => member.Name)];

    private static JsonElement Run(string sample, params string[] arguments) => JsonDocument.Parse(RunText(sample, arguments)).RootElement;

    private static string RunText(string sample, params string[] arguments)
    {
        FakePacer pacer = new();
        using Support.Cli cli = new() { Pacer = pacer, Machine = new FakeMachine(pacer) };
        Assert.That(cli.Run(["run", Repository.Sample(sample), "--json", "--quiet", .. arguments]), Is.Zero, cli.Error);
        return cli.Out;
    }
}
