using System.Text.Json;
using System.Text.Json.Nodes;
using Tessera.Lab.Metrics;
using Tessera.Lab.Recording;
using Tessera.Lab.Reports;
using Tessera.Lab.Results;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Lab.Tests.Reports;

/// <summary>The folder of a run that never was: a seeded recording, and the result that goes with it.</summary>
internal sealed class SampleRun : IDisposable
{
    public string Folder { get; } = Directory.CreateTempSubdirectory("tessera-report-").FullName;

    public ScheduleRecording Recording { get; private set; } = null!;

    public JsonObject Result { get; private set; } = null!;

    public string Page => File.ReadAllText(Path.Combine(Folder, ReportWriter.PageFile));

    /// <summary>Writes the files of a run.</summary>
    /// <param name="names">The domains.</param>
    /// <param name="pcpus">The physical CPUs.</param>
    /// <param name="slices">How many stints, of some 2 ms each.</param>
    /// <param name="engine">The engine's name.</param>
    /// <param name="change">Changes the result.</param>
    public static SampleRun Write(string[] names, int pcpus = 1, int slices = 500, string engine = "kvm", Action<JsonObject>? change = null)
    {
        SampleRun run = new() { Recording = Schedule(names, pcpus, slices, seed: 7) };
        RunMetrics metrics = RunMetrics.Of(run.Recording);
        run.Result = ResultOf(metrics, engine);
        change?.Invoke(run.Result);
        run.WriteResult();
        using (StreamWriter writer = new(Path.Combine(run.Folder, "schedule.csv")))
            ScheduleCsv.Write(writer, run.Recording);
        using StreamWriter counters = new(Path.Combine(run.Folder, "counters.csv"));
        CounterSamples.Write(counters, Enumerable.Range(0, 5).SelectMany(instant => names.Select((_, domain) =>
            new CounterSample(Nanoseconds.FromMilliseconds(instant * 50), domain, instant * 30, instant * 20))));
        return run;
    }

    /// <summary>The same with its report.</summary>
    public static SampleRun Draw(string[] names, int pcpus = 1, int slices = 500, string engine = "kvm", Action<JsonObject>? change = null)
    {
        Drawing.Require();
        SampleRun run = Write(names, pcpus, slices, engine, change);
        ReportWriter.Write(run.Folder);
        return run;
    }

    public void WriteResult() => File.WriteAllText(Path.Combine(Folder, "result.json"), Result.ToJsonString());

    public void Dispose() => Directory.Delete(Folder, recursive: true);

    /// <summary>Busy domains take turns; the last one sleeps and wakes.</summary>
    public static ScheduleRecording Schedule(string[] names, int pcpus, int slices, int seed)
    {
        Random random = new(seed);
        List<ScheduleEvent> events = [];
        int sleeper = names.Length > 1 ? names.Length - 1 : -1;
        List<int> waiting = [.. Enumerable.Range(0, names.Length).Where(domain => domain != sleeper)];
        int[] runs = [.. Enumerable.Repeat(-1, pcpus)];
        Nanoseconds now = Nanoseconds.Zero;
        foreach (int domain in waiting)
            events.Add(new(now, ScheduleEventKind.Wake, -1, domain, 0, RunEnd.None));
        bool asleep = true;
        for (int slice = 0; slice < slices; slice++)
        {
            int pcpu = slice % pcpus;
            int before = runs[pcpu];
            RunEnd end = RunEnd.None;
            if (before >= 0)
            {
                bool sleeps = before == sleeper;
                end = sleeps ? RunEnd.Slept : RunEnd.Preempted;
                if (sleeps)
                    events.Add(new(now, ScheduleEventKind.Sleep, -1, before, 0, RunEnd.None));
                else
                    waiting.Add(before);
                asleep |= sleeps;
            }

            if (asleep && sleeper >= 0 && before != sleeper && random.Next(3) == 0)
            {
                events.Add(new(now, ScheduleEventKind.Wake, -1, sleeper, 0, RunEnd.None));
                waiting.Insert(random.Next(Math.Min(2, waiting.Count)), sleeper);
                asleep = false;
            }

            if (waiting.Count == 0)
            {
                events.Add(new(now, ScheduleEventKind.Idle, pcpu, -1, -1, end));
                runs[pcpu] = -1;
            }
            else
            {
                runs[pcpu] = waiting[0];
                waiting.RemoveAt(0);
                events.Add(new(now, ScheduleEventKind.Run, pcpu, runs[pcpu], 0, end));
            }

            now += new Nanoseconds(random.Next(1_000_000, 3_000_000) / pcpus);
        }

        return new() { Length = now, PcpuCount = pcpus, Domains = [.. names.Select((name, index) => new RecordedDomain(name, 256 << (index % 3)))], Events = events };
    }

    /// <summary>A disk of a domain's that only reads.</summary>
    public static JsonNode Disk(Tessera.Lab.Results.LatencySummary reads, string? problem = null) => JsonSerializer.SerializeToNode(
        new DiskResult("xvda", 12_345, 3 << 20, 0, 0, 0, 0, 0, 0, 0, 12_345, 1 << 20, 0, 0, reads, null, null, problem), JsonSerializerOptions.Web)!;

    private static JsonObject ResultOf(RunMetrics metrics, string engine) => JsonNode.Parse(ResultJson.Write(new ResultDocument
    {
        Version = "0.1.0",
        StartedAt = new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero),
        Outcome = RunOutcome.Completed,
        Failures = [],
        Host = new HostFacts("A CPU", 2, 1L << 33, "6.1", ".NET 10"),
        Engine = new EngineReport(engine, "Plain.", []),
        Scheduler = new SchedulerReport("bvt", "1.0.0", null),
        Configuration = JsonSerializer.SerializeToElement(new { duration = "1 s" }),
        MeasuredFromSeconds = 0.5,
        ElapsedSeconds = metrics.Seconds,
        Domains =
        [
            .. metrics.Domains.Select((domain, index) => new DomainResult
            {
                Name = domain.Name,
                Id = index + 1,
                Guest = "spin",
                State = "running",
                ExitReason = null,
                CrashRegisters = null,
                Weight = domain.Weight,
                CpuSeconds = domain.CpuSeconds,
                Share = domain.Share,
                ExpectedShare = domain.IdealShare,
                Work = null,
                Wakes = domain.Wakes,
                WakeLatencyNs = null,
                Traps = new Dictionary<string, long> { ["preempted"] = domain.Preemptions },
                Hypercalls = new Dictionary<string, long> { ["sched_op"] = domain.Wakes },
                Memory = new MemoryResult(32 << 20, 1 << 20),
                BootMilliseconds = null,
                ConsoleTail = ["hello from " + domain.Name],
            }),
        ],
        Pcpus = [.. Enumerable.Range(0, metrics.Pcpus).Select(index => new PcpuResult(index, index, metrics.Seconds, 0, metrics.Switches))],
        SchedulerCost = new SchedulerCost(1234, 400, 2100),
    }))!.AsObject();
}

/// <summary>Whether this build can draw pages.</summary>
internal static class Drawing
{
    /// <summary>Skips the test, saying why, when it cannot.</summary>
    public static void Require()
    {
        if (!ReportWriter.CanDraw)
            Assert.Ignore("The plotting library could not be fetched from the npm registry when this was built; run .ci/plotting-library and build again.");
    }
}
