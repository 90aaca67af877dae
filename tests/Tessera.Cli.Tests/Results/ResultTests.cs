using System.Text.Json;
using Tessera.Cli.Tests.Support;
using Tessera.Kernel.Devices.Block;
using Tessera.Kernel.Devices.Network;
using Tessera.Lab.Results;
using Tessera.Sdk.Devices;

namespace Tessera.Cli.Tests.Results;

/// <summary>The shape of result.json: keys are only ever added.</summary>
internal sealed class ResultTests
{
    private static readonly string[] DocumentKeys =
    [
        "schema", "version", "startedAt", "outcome", "failures", "host", "time", "engine", "scheduler", "configuration", "measuredFromSeconds", "elapsedSeconds",
        "experiment", "withheld", "domains", "pcpus", "schedulerCost", "changes",
    ];

    private static readonly string[] DomainKeys =
    [
        "name", "id", "guest", "state", "exitReason", "crashRegisters", "weight", "cpuSeconds", "share", "expectedShare", "work", "wakes", "wakeLatencyNs",
        "missedDeadlines", "responseTimeNs", "traps", "hypercalls", "memory", "disks", "nics", "bootMilliseconds", "consoleTail", "consoleProblem", "unknownCode",
    ];

    private static readonly string[] DiskKeys =
    [
        "name", "reads", "readBytes", "writes", "writtenBytes", "flushes", "discards", "failed", "refused", "notifications",
        "readsPerSecond", "readBytesPerSecond", "writesPerSecond", "writtenBytesPerSecond", "readLatencyNs", "writeLatencyNs", "flushLatencyNs", "problem",
    ];

    private static readonly string[] NicKeys =
    [
        "number", "mac", "sentFrames", "sentBytes", "receivedFrames", "receivedBytes", "dropped", "refused", "notifications",
        "sentFramesPerSecond", "sentBytesPerSecond", "receivedFramesPerSecond", "receivedBytesPerSecond", "sendLatencyNs", "receiveLatencyNs", "problem",
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
            Assert.That(Keys(result.GetProperty("schedulerCost")), Is.EqualTo(new[] { "decisions", "p50Ns", "p99Ns", "bySchedulers" }));
            Assert.That(Keys(result.GetProperty("schedulerCost").GetProperty("bySchedulers")[0]), Is.EqualTo(new[] { "name", "decisions", "p50Ns", "p99Ns" }));
        });
    }

    [Test]
    public void Every_device_has_throughput_and_latency_in_the_result_the_summary_and_the_report()
    {
        FakePacer pacer = new();
        string folder = Directory.CreateTempSubdirectory("tessera-devices-").FullName;
        using FakeMachine machine = new(pacer) { Created = WithDevices };
        using Support.Cli cli = new() { Pacer = pacer, Machine = machine };
        int code = cli.Run("run", Repository.Sample("quickstart.json"), "--seconds", "4", "--out", folder, "--quiet");
        string json = File.ReadAllText(Path.Combine(folder, "result.json"));
        Directory.Delete(folder, recursive: true);
        JsonElement domain = JsonDocument.Parse(json).RootElement.GetProperty("domains")[1];
        JsonElement disk = domain.GetProperty("disks")[0];
        JsonElement nic = domain.GetProperty("nics")[0];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(code, Is.Zero, cli.Error);
            Assert.That(Keys(disk), Is.EqualTo(DiskKeys));
            Assert.That(Keys(nic), Is.EqualTo(NicKeys));
            Assert.That(disk.GetProperty("readsPerSecond").GetDouble(), Is.EqualTo(200));
            Assert.That(disk.GetProperty("readBytesPerSecond").GetDouble(), Is.EqualTo(1 << 20));
            Assert.That(disk.GetProperty("readLatencyNs").GetProperty("p99").GetInt64(), Is.EqualTo(90_000));
            Assert.That(disk.GetProperty("writeLatencyNs").ValueKind, Is.EqualTo(JsonValueKind.Null));
            Assert.That(nic.GetProperty("sentBytesPerSecond").GetDouble(), Is.EqualTo(1500));
            Assert.That(nic.GetProperty("sentFramesPerSecond").GetDouble(), Is.EqualTo(1));
            Assert.That(nic.GetProperty("receiveLatencyNs").ValueKind, Is.EqualTo(JsonValueKind.Null));
            Assert.That(cli.Out, Does.Match(@"two xvda +reads +1\.0 MiB +200 +20 µs +90 µs").And.Match(@"two nic 0 +sends +1\.5 KiB +1\.0 +2 µs +–"));
            Assert.That(cli.Out, Does.Not.Contain("writes"), "what did not happen has no line");
            Assert.That(disk.GetProperty("problem").GetString(), Is.EqualTo("The NBD server does not answer."));
            Assert.That(cli.Out, Does.Contain("two xvda: The NBD server does not answer."));
            Assert.That(nic.GetProperty("problem").GetString(), Is.EqualTo("The host's device is gone."));
            Assert.That(cli.Out, Does.Contain("two nic 0: The host's device is gone."));
        }
    }

    [Test]
    public void Every_key_of_a_result_is_documented()
    {
        string documentation = File.ReadAllText(Path.Combine(Repository.Root, "docs", "results.md"));
        Assert.That(DocumentKeys.Concat(DomainKeys).Concat(DiskKeys).Concat(NicKeys).Where(key => !documentation.Contains($"`{key}`", StringComparison.Ordinal) && !documentation.Contains($"`{key}[]`", StringComparison.Ordinal)), Is.Empty);
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

    private static void WithDevices(FakeDomain domain)
    {
        if (domain.Plan.Name != "two")
            return;
        domain.Disks["xvda"] = new BlockReading
        {
            Reads = 800,
            Writes = 0,
            Flushes = 0,
            Discards = 0,
            ReadBytes = 4 << 20,
            WrittenBytes = 0,
            DiscardedBytes = 0,
            Failed = 0,
            Refused = 0,
            Notifications = 5,
            BrokenRings = 0,
            ReadLatency = new(800, new(30_000), new(20_000), new(90_000), new(95_000), new(100_000)),
            WriteLatency = default,
            FlushLatency = default,
            Problem = "The NBD server does not answer.",
        };
        domain.Nics[0] = (new MacAddress(0x0016_3E00_0001), new NetworkReading
        {
            SentFrames = 4,
            SentBytes = 6000,
            ReceivedFrames = 0,
            ReceivedBytes = 0,
            Dropped = 0,
            Refused = 0,
            Notifications = 0,
            BrokenRings = 0,
            Problem = "The host's device is gone.",
            SendLatency = new(4, new(2_000), new(3_000), new(3_000)),
            ReceiveLatency = default,
        });
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
