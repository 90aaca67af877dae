using System.Text.Encodings.Web;
using System.Text.Json;
using Tessera.Lab.Metrics;
using Tessera.Lab.Recording;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Lab.Reports;

/// <summary>
/// Writes trace.json in the Trace Event format that Perfetto and chrome://tracing open: a process "Physical CPUs" with a track each, a process
/// "Domains" with a track each (vCPU) of running and waiting, wakes as flows to the run that followed, preemptions as instants, traps and
/// hypercalls as counters. Times are microseconds with three digits, which is nanoseconds.
/// </summary>
internal static class TraceEvents
{
    /// <summary>The file's name.</summary>
    public const string FileName = "trace.json";

    /// <summary>Stints written at most: each makes up to six events, and viewers give up on files of hundreds of megabytes.</summary>
    private const int MostRuns = 150_000;

    private const int Pcpus = 1;
    private const int Domains = 2;

    /// <summary>How much is gathered before it is written.</summary>
    private const int Flush = 1 << 20;

    /// <summary>Writes the file.</summary>
    /// <returns>Whether there was anything to write.</returns>
    public static bool Write(RunFolder run)
    {
        if (run is not { Recording: { } recording, Replay: { } replay })
            return false;
        run.Files.Write(run.Below + FileName, file => Write(file, run, recording, replay));
        return true;
    }

    private static void Write(Stream file, RunFolder run, ScheduleRecording recording, ScheduleReplay replay)
    {
        using Utf8JsonWriter json = new(file, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
        Nanoseconds until = replay.Runs.Count > MostRuns ? replay.Runs[MostRuns].From : recording.Covered;
        json.WriteStartObject();
        json.WriteString("displayTimeUnit", "ns");
        json.WriteStartObject("otherData");
        json.WriteString("scheduler", run.Result.Scheduler.Name);
        json.WriteString("engine", run.Result.Engine.Name);
        json.WriteNumber("coveredSeconds", until.TotalSeconds);
        json.WriteNumber("windowSeconds", recording.Length.TotalSeconds);
        json.WriteEndObject();
        json.WriteStartArray("traceEvents");
        Dictionary<(int Domain, int Vcpu), int> tracks = Names(json, run, replay, recording);
        foreach (RunSpan span in replay.Runs)
        {
            if (span.From < until)
                Run(json, span, recording, tracks);
            if (json.BytesPending > Flush)
                json.Flush();
        }

        foreach (WaitSpan wait in run.Waits!)
        {
            if (wait.From >= until)
                continue;
            Begin(json, "X", "waiting", Domains, tracks[(wait.Domain, wait.Vcpu)], wait.From);
            Time(json, "dur", wait.To - wait.From);
            json.WriteStartObject("args");
            json.WriteString("after", wait.AfterWake ? "wake" : "preemption");
            json.WriteEndObject();
            json.WriteEndObject();
            if (json.BytesPending > Flush)
                json.Flush();
        }

        Wakes(json, replay, recording, tracks, until);
        Marks(json, run, until);
        Counters(json, run, until);
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static Dictionary<(int Domain, int Vcpu), int> Names(Utf8JsonWriter json, RunFolder run, ScheduleReplay replay, ScheduleRecording recording)
    {
        Name(json, "process_name", Pcpus, 0, "Physical CPUs");
        Name(json, "process_name", Domains, 0, "Domains");
        for (int pcpu = 0; pcpu < recording.PcpuCount; pcpu++)
            Name(json, "thread_name", Pcpus, pcpu, $"pCPU {pcpu}");
        (int Domain, int Vcpu)[] vcpus = [.. replay.Runs.Select(span => (span.Domain, span.Vcpu)).Concat(replay.BusyPeriods.Select(period => (period.Domain, period.Vcpu))).Concat(recording.Domains.Select((_, index) => (index, 0))).Distinct().Order()];
        Dictionary<(int Domain, int Vcpu), int> tracks = [];
        foreach ((int domain, int vcpu) in vcpus)
        {
            tracks.Add((domain, vcpu), tracks.Count);
            Name(json, "thread_name", Domains, tracks[(domain, vcpu)], vcpus.Count(other => other.Domain == domain) > 1 ? $"{run.DomainNames[domain]} v{vcpu}" : run.DomainNames[domain]);
        }

        return tracks;
    }

    private static void Name(Utf8JsonWriter json, string kind, int process, int thread, string name)
    {
        json.WriteStartObject();
        json.WriteString("name", kind);
        json.WriteString("ph", "M");
        json.WriteNumber("pid", process);
        json.WriteNumber("tid", thread);
        json.WriteStartObject("args");
        json.WriteString("name", name);
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static void Run(Utf8JsonWriter json, in RunSpan span, ScheduleRecording recording, Dictionary<(int Domain, int Vcpu), int> tracks)
    {
        string name = recording.Domains[span.Domain].Name;
        string ended = span.End == RunEnd.None ? "recording ended" : span.End.ToString().ToLowerInvariant();
        Begin(json, "X", name, Pcpus, span.Pcpu, span.From);
        Time(json, "dur", span.To - span.From);
        json.WriteStartObject("args");
        json.WriteNumber("vcpu", span.Vcpu);
        json.WriteString("ended", ended);
        json.WriteEndObject();
        json.WriteEndObject();
        Begin(json, "X", "running", Domains, tracks[(span.Domain, span.Vcpu)], span.From);
        Time(json, "dur", span.To - span.From);
        json.WriteStartObject("args");
        json.WriteNumber("pcpu", span.Pcpu);
        json.WriteString("ended", ended);
        json.WriteEndObject();
        json.WriteEndObject();
        if (span.End != RunEnd.Preempted)
            return;
        Begin(json, "i", "preempted", Pcpus, span.Pcpu, span.To);
        json.WriteString("s", "t");
        json.WriteStartObject("args");
        json.WriteString("domain", name);
        json.WriteEndObject();
        json.WriteEndObject();
    }

    /// <summary>A wake: an instant on the domain's track, and a flow to the physical CPU that ran it.</summary>
    private static void Wakes(Utf8JsonWriter json, ScheduleReplay replay, ScheduleRecording recording, Dictionary<(int Domain, int Vcpu), int> tracks, Nanoseconds until)
    {
        Dictionary<(int, int, Nanoseconds), int> starts = [];
        foreach (RunSpan span in replay.Runs)
            starts[(span.Domain, span.Vcpu, span.From)] = span.Pcpu;
        int flow = 0;
        foreach (WakeToRun wake in replay.Wakes)
        {
            if (wake.At >= until)
                continue;
            int track = tracks[(wake.Domain, wake.Vcpu)];
            Begin(json, "i", "wake", Domains, track, wake.SeenAt);
            json.WriteString("s", "t");
            json.WriteEndObject();
            if (wake.Latency > Nanoseconds.Zero && wake.At + wake.Latency < until && starts.TryGetValue((wake.Domain, wake.Vcpu, wake.At + wake.Latency), out int pcpu))
            {
                flow++;
                Begin(json, "s", "wake to run", Domains, track, wake.SeenAt);
                json.WriteString("cat", "wake");
                json.WriteNumber("id", flow);
                json.WriteEndObject();
                Begin(json, "f", "wake to run", Pcpus, pcpu, wake.At + wake.Latency);
                json.WriteString("cat", "wake");
                json.WriteString("bp", "e");
                json.WriteNumber("id", flow);
                json.WriteEndObject();
            }

            if (json.BytesPending > Flush)
                json.Flush();
        }
    }

    private static void Marks(Utf8JsonWriter json, RunFolder run, Nanoseconds until)
    {
        foreach (RunMark mark in RunMarks.Of(run))
        {
            if (mark.At >= until || mark.What.Length == 0)
                continue;
            Begin(json, "i", mark.What, Pcpus, 0, mark.At);
            json.WriteString("s", "g");
            json.WriteEndObject();
        }
    }

    private static void Counters(Utf8JsonWriter json, RunFolder run, Nanoseconds until)
    {
        foreach (CounterSample sample in run.Counters)
        {
            if (sample.Domain >= run.DomainNames.Count || sample.At > until)
                continue;
            foreach ((string what, long count) in (ReadOnlySpan<(string, long)>)[("traps", sample.Traps), ("hypercalls", sample.Hypercalls)])
            {
                Begin(json, "C", $"{run.DomainNames[sample.Domain]} {what}", Domains, 0, sample.At);
                json.WriteStartObject("args");
                json.WriteNumber("count", count);
                json.WriteEndObject();
                json.WriteEndObject();
            }

            if (json.BytesPending > Flush)
                json.Flush();
        }
    }

    private static void Begin(Utf8JsonWriter json, string phase, string name, int process, int thread, Nanoseconds at)
    {
        json.WriteStartObject();
        json.WriteString("ph", phase);
        json.WriteString("name", name);
        json.WriteNumber("pid", process);
        json.WriteNumber("tid", thread);
        Time(json, "ts", at);
    }

    private static void Time(Utf8JsonWriter json, string key, Nanoseconds time) => json.WriteNumber(key, time.Value / 1000m);
}
