using System.Globalization;
using System.Text.Json;
using FsCheck;
using FsCheck.Fluent;
using Tessera.Lab.Metrics;
using Tessera.Lab.Recording;
using Tessera.Lab.Reports;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Lab.Tests.Reports;

/// <summary>series/*.csv and trace.json of a run.</summary>
internal sealed class RunFilesTests
{
    private static readonly string[] Names = ["one", "two, \"quoted\"", "sleeper"];

    /// <summary>A guest's timer may have been set for any time gone by: before the recording, before the wake before.</summary>
    [Test]
    public void Wakes_whose_deadlines_are_long_gone_are_drawn()
    {
        Drawing.Require();
        using SampleRun run = SampleRun.Write(Names);
        int wake = 0;
        ScheduleRecording late = run.Recording with
        {
            Events = [.. run.Recording.Events.Select(item => item.Kind == ScheduleEventKind.Wake && item.At > Nanoseconds.Zero ? item with { Late = new(item.At.Value * (++wake % 3)) } : item)],
        };
        using (StreamWriter writer = new(Path.Combine(run.Folder, "schedule.csv")))
            ScheduleCsv.Write(writer, late);
        Assert.That(wake, Is.GreaterThan(3));
        ReportWriter.Write(run.Folder);
        Assert.That(Trace(run).Where(item => item.GetProperty("ph").GetString() != "M").Select(item => item.GetProperty("ts").GetDecimal()), Is.All.GreaterThanOrEqualTo(0));
    }

    [Test]
    public void A_trace_has_the_shape_that_its_viewers_read()
    {
        using SampleRun run = SampleRun.Write(Names, pcpus: 2);
        JsonElement[] events = Trace(run);
        Assert.Multiple(() =>
        {
            foreach (JsonElement item in events)
            {
                string phase = item.GetProperty("ph").GetString()!;
                Assert.That(phase, Is.AnyOf("M", "X", "i", "s", "f", "C"));
                Assert.That(item.GetProperty("name").GetString(), Is.Not.Empty);
                Assert.That(item.GetProperty("pid").GetInt32(), Is.AnyOf(1, 2));
                Assert.That(item.GetProperty("tid").GetInt32(), Is.GreaterThanOrEqualTo(0));
                if (phase != "M")
                    Assert.That(item.GetProperty("ts").GetDecimal(), Is.GreaterThanOrEqualTo(0));
                if (phase == "i")
                    Assert.That(item.GetProperty("s").GetString(), Is.AnyOf("t", "g"));
            }

            Assert.That(Named(events, "thread_name", 1), Is.EqualTo(new[] { "pCPU 0", "pCPU 1" }));
            Assert.That(Named(events, "thread_name", 2), Is.EqualTo(Names));
            Assert.That(Named(events, "process_name", 1), Is.EqualTo(new[] { "Physical CPUs" }));
        });
    }

    [Test]
    public void Slices_of_a_track_do_not_overlap_and_add_up_to_the_recording()
    {
        using SampleRun run = SampleRun.Write(Names, pcpus: 2);
        JsonElement[] slices = [.. Trace(run).Where(item => item.GetProperty("ph").GetString() == "X")];
        foreach (IGrouping<(int, int), JsonElement> track in slices.GroupBy(item => (item.GetProperty("pid").GetInt32(), item.GetProperty("tid").GetInt32())))
        {
            decimal end = 0;
            foreach (JsonElement slice in track.OrderBy(item => item.GetProperty("ts").GetDecimal()))
            {
                Assert.That(slice.GetProperty("ts").GetDecimal(), Is.GreaterThanOrEqualTo(end), $"track {track.Key}");
                end = slice.GetProperty("ts").GetDecimal() + slice.GetProperty("dur").GetDecimal();
            }
        }

        decimal ran = slices.Where(item => item.GetProperty("pid").GetInt32() == 1).Sum(item => item.GetProperty("dur").GetDecimal());
        Assert.That(ran, Is.EqualTo(ScheduleReplay.Of(run.Recording).Runs.Sum(span => (span.To - span.From).Value) / 1000m));
    }

    [Test]
    public void A_wake_flows_to_the_run_that_followed_and_a_preemption_is_on_its_track()
    {
        using SampleRun run = SampleRun.Write(Names);
        JsonElement[] events = Trace(run);
        ScheduleReplay replay = ScheduleReplay.Of(run.Recording);
        long[] begun = Ids(events, "s");
        Assert.Multiple(() =>
        {
            Assert.That(begun, Is.Not.Empty.And.Unique);
            Assert.That(Ids(events, "f"), Is.EqualTo(begun));
            Assert.That(Count(events, "wake"), Is.EqualTo(replay.Wakes.Count));
            Assert.That(Count(events, "preempted"), Is.EqualTo(replay.Preemptions));
        });

        static long[] Ids(JsonElement[] events, string phase) => [.. events.Where(item => item.GetProperty("ph").GetString() == phase).Select(item => item.GetProperty("id").GetInt64())];
        static int Count(JsonElement[] events, string name) => events.Count(item => item.GetProperty("ph").GetString() == "i" && item.GetProperty("name").GetString() == name);
    }

    [Test]
    public void Traps_and_hypercalls_are_counters_of_their_domain()
    {
        using SampleRun run = SampleRun.Write(Names);
        JsonElement[] counters = [.. Trace(run).Where(item => item.GetProperty("ph").GetString() == "C")];
        long[] hypercalls = [.. counters.Where(item => item.GetProperty("name").GetString() == "one hypercalls").Select(item => item.GetProperty("args").GetProperty("count").GetInt64())];
        Assert.That(hypercalls, Is.EqualTo(new[] { 0, 20, 40, 60, 80 }));
    }

    [Test]
    public void What_was_changed_while_it_ran_is_marked_where_it_was()
    {
        using SampleRun run = SampleRun.Write(Names);
        run.Result["changes"] = new System.Text.Json.Nodes.JsonArray(new System.Text.Json.Nodes.JsonObject
        {
            ["atSeconds"] = 0.75,
            ["by"] = "ctl",
            ["command"] = "set domain.one.weight=512",
            ["what"] = "one's weight is 512 instead of 256",
        });
        run.WriteResult();
        JsonElement mark = Trace(run).Single(item => item.GetProperty("name").GetString() == "one's weight is 512 instead of 256");
        Assert.That(mark.GetProperty("ts").GetDecimal(), Is.EqualTo(250_000), "the window begins half a second after the machine");
        if (ReportWriter.CanDraw)
            Assert.That(run.Page, Does.Contain("changed while it ran").And.Contain("set domain.one.weight=512"));
    }

    [Test]
    public void Series_hold_the_numbers_of_the_recording()
    {
        using SampleRun run = SampleRun.Write(Names);
        Attempt(run);
        string[] runs = File.ReadAllLines(Path.Combine(run.Folder, "series", "runs.csv"));
        string[] shares = File.ReadAllLines(Path.Combine(run.Folder, "series", "shares.csv"));
        RunMetrics metrics = RunMetrics.Of(run.Recording);
        double mine = shares.Skip(1).Select(line => line.Split(',')).Where(fields => fields[2] == "one")
            .Sum(fields => double.Parse(fields[3], CultureInfo.InvariantCulture) * double.Parse(fields[1], CultureInfo.InvariantCulture));
        Assert.Multiple(() =>
        {
            Assert.That(runs[0], Is.EqualTo("from_ns,to_ns,pcpu,domain,vcpu,ended"));
            Assert.That(runs, Has.Length.EqualTo(ScheduleReplay.Of(run.Recording).Runs.Count + 1));
            Assert.That(runs.Any(line => line.Contains("\"two, \"\"quoted\"\"\"", StringComparison.Ordinal)), Is.True, "names are quoted where CSV wants it");
            Assert.That(mine / 1e9, Is.EqualTo(metrics.Domains[0].CpuSeconds).Within(1e-6));
        });
    }

    [Test]
    public void Waits_are_what_busy_periods_are_without_their_runs() => Check.QuickThrowOnFailure(Prop.ForAll(Gen.Choose(1, int.MaxValue).ToArbitrary(), seed =>
    {
        ScheduleRecording recording = SampleRun.Schedule(["a", "b", "c", "d"], 1 + (seed % 3), 60, seed);
        ScheduleReplay replay = ScheduleReplay.Of(recording);
        IReadOnlyList<WaitSpan> waits = WaitSpans.Of(replay);
        long busy = replay.BusyPeriods.Sum(period => (period.To - period.From).Value);
        long within = replay.BusyPeriods.Sum(period => replay.Runs.Where(span => span.Domain == period.Domain)
            .Sum(span => Math.Max(0, (Nanoseconds.Min(span.To, period.To) - Nanoseconds.Max(span.From, period.From)).Value)));
        return waits.Sum(wait => (wait.To - wait.From).Value) == busy - within && waits.All(wait => wait.To > wait.From);
    }));

    [Test]
    public void Counters_keep_a_bounded_number_of_evenly_spaced_instants()
    {
        CounterSamples samples = new(domains: 1);
        for (int instant = 0; instant < 10_000; instant++)
            samples.Offer(Nanoseconds.FromMilliseconds(instant), _ => (instant, 0));
        CounterSample[] kept = [.. samples.All];
        long[] gaps = [.. kept.Zip(kept.Skip(1), (one, next) => (next.At - one.At).Value).Distinct()];
        Assert.Multiple(() =>
        {
            Assert.That(kept, Has.Length.InRange(500, 1000));
            Assert.That(gaps, Has.Length.EqualTo(1));
            Assert.That(kept[0].At, Is.EqualTo(Nanoseconds.Zero));
        });
        using StringWriter text = new();
        CounterSamples.Write(text, kept);
        using StringReader reader = new(text.ToString());
        Assert.That(CounterSamples.Read(reader, "counters.csv"), Is.EqualTo(kept));
    }

    [Test]
    public void A_folder_without_results_or_with_broken_ones_is_refused_with_its_name()
    {
        using SampleRun run = SampleRun.Write(Names);
        Assert.That(() => ReportWriter.Write(Path.Combine(run.Folder, "series")), Throws.TypeOf<ReportException>().With.Message.Contains("neither result.json nor comparison.json"));
        File.WriteAllText(Path.Combine(run.Folder, "schedule.csv"), "nonsense");
        Assert.That(() => ReportWriter.Write(run.Folder), Throws.TypeOf<ReportException>().With.Message.Contains("schedule.csv:1"));
        File.WriteAllText(Path.Combine(run.Folder, "result.json"), "{ \"schema\": \"other/1\" }");
        Assert.That(() => ReportWriter.Write(run.Folder), Throws.TypeOf<ReportException>().With.Message.Contains("tessera.result/1"));
        File.WriteAllText(Path.Combine(run.Folder, "result.json"), "{");
        Assert.That(() => ReportWriter.Write(run.Folder), Throws.TypeOf<ReportException>().With.Message.Contains("result.json"));
        run.Result["domains"]![0]!["wakes"] = "many";
        run.WriteResult();
        Assert.That(() => ReportWriter.Write(run.Folder), Throws.TypeOf<ReportException>().With.Message.Contains("result.json").And.Message.Contains("domains[0].wakes"));
    }

    [Test]
    public void Without_the_plotting_library_the_other_files_are_written_and_the_cure_is_named()
    {
        using SampleRun run = SampleRun.Write(Names);
        if (ReportWriter.CanDraw)
            Assert.Ignore("This build has the plotting library.");
        Assert.That(() => ReportWriter.Write(run.Folder), Throws.TypeOf<ReportException>().With.Message.Contains(".ci/plotting-library"));
        Assert.That(File.Exists(Path.Combine(run.Folder, "trace.json")), Is.True);
    }

    /// <summary>Writes the files; the page too where this build can.</summary>
    private static void Attempt(SampleRun run)
    {
        try
        {
            ReportWriter.Write(run.Folder);
        }
        catch (ReportException) when (!ReportWriter.CanDraw)
        {
            // The files were written before the page was refused.
        }
    }

    private static JsonElement[] Trace(SampleRun run)
    {
        Attempt(run);
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(Path.Combine(run.Folder, "trace.json")));
        return [.. document.RootElement.Clone().GetProperty("traceEvents").EnumerateArray()];
    }

    private static string[] Named(JsonElement[] events, string kind, int process) =>
        [.. events.Where(item => item.GetProperty("name").GetString() == kind && item.GetProperty("pid").GetInt32() == process).Select(item => item.GetProperty("args").GetProperty("name").GetString()!)];
}
