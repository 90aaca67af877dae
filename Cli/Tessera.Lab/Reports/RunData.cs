using System.Text;
using System.Text.Json;
using Tessera.Lab.Metrics;
using Tessera.Lab.Results;
using Tessera.Sdk;

namespace Tessera.Lab.Reports;

/// <summary>What the scripts of a run's report draw, as JSON. The default encoder escapes every character that HTML knows.</summary>
internal static class RunData
{
    /// <summary>Fractions are kept as whole parts of this.</summary>
    public const double ShareUnit = 1e7;

    /// <summary>Stints and waits drawn at most, each: more would make a page of tens of megabytes.</summary>
    public const int MostIntervals = 250_000;

    private static readonly string[] Ends = ["the recording ended", "preempted", "blocked", "paused", "removed"];
    private static readonly string[] Causes = ["a wake", "a preemption"];

    /// <summary>The JSON.</summary>
    public static string Of(RunFolder run)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream))
        {
            json.WriteStartObject();
            json.WriteString("kind", "run");
            Domains(json, run);
            if (run is { Recording: { } recording, Replay: { } replay, Trace: { } trace })
            {
                json.WriteNumber("pcpus", recording.PcpuCount);
                Shares(json, trace, recording.Covered);
                Errors(json, trace.Errors);
                if (run.Latencies is { } latencies)
                    Latency(json, latencies);
                Gantt(json, run, replay, recording.Covered);
                Marks(json, run);
            }

            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(stream.GetBuffer(), 0, (int)stream.Length);
    }

    /// <summary>Until when intervals can be drawn; the recording's end when all can.</summary>
    public static Nanoseconds DrawnUntil(RunFolder run)
    {
        Nanoseconds until = run.Recording!.Covered;
        if (run.Replay!.Runs.Count > MostIntervals)
            until = Nanoseconds.Min(until, run.Replay.Runs[MostIntervals].From);
        if (run.Waits!.Count > MostIntervals)
            until = Nanoseconds.Min(until, run.Waits.Select(wait => wait.From).Order().ElementAt(MostIntervals));
        return until;
    }

    private static void Domains(Utf8JsonWriter json, RunFolder run)
    {
        IReadOnlyList<DomainResult> results = run.Result.Domains;
        json.WriteStartArray("domains");
        for (int index = 0; index < run.DomainNames.Count; index++)
        {
            DomainMetrics? metrics = run.Metrics?.Domains[index];
            DomainResult? result = index < results.Count ? results[index] : null;
            json.WriteStartObject();
            json.WriteString("name", run.DomainNames[index]);
            json.WriteNumber("weight", metrics?.Weight ?? result?.Weight ?? 0);
            json.WriteNumber("share", metrics?.Share ?? result?.Share ?? 0);
            json.WriteNumber("expected", metrics?.IdealShare ?? result?.ExpectedShare ?? 0);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void Shares(Utf8JsonWriter json, ShareTrace trace, Nanoseconds covered)
    {
        ShareSeries series = trace.Series;
        int steps = series.Real.Count == 0 ? 0 : series.Real[0].Length;
        if (steps == 0)
            return;
        json.WriteStartObject("shares");
        json.WriteNumber("stepNs", series.Step.Value);
        json.WriteNumber("steps", steps);
        json.WriteNumber("coveredNs", covered.Value);
        json.WriteStartArray("factors");
        foreach (int factor in (int[])[1, 10, 100])
        {
            if (factor == 1 || steps >= factor * 4)
                json.WriteNumberValue(factor);
        }

        json.WriteEndArray();
        Curves(json, "real", series.Real);
        Curves(json, "ideal", series.Ideal);
        json.WriteEndObject();
    }

    private static void Curves(Utf8JsonWriter json, string name, IReadOnlyList<double[]> curves)
    {
        json.WriteStartArray(name);
        foreach (double[] curve in curves)
        {
            Packed packed = new();
            foreach (double share in curve)
                packed.Add((long)Math.Round(Math.Max(0, share) * ShareUnit));
            json.WriteStringValue(packed.ToBase64());
        }

        json.WriteEndArray();
    }

    private static void Errors(Utf8JsonWriter json, IReadOnlyList<WindowError> errors)
    {
        if (errors.Count == 0)
            return;
        json.WriteStartObject("errors");
        Numbers(json, "windowsNs", errors.Select(error => (double)error.Window.Value));
        Numbers(json, "mean", errors.Select(error => error.Mean));
        Numbers(json, "p99", errors.Select(error => error.P99));
        Numbers(json, "max", errors.Select(error => error.Max));
        json.WriteEndObject();
    }

    private static void Latency(Utf8JsonWriter json, LatencyCurves latencies)
    {
        json.WriteStartObject("latency");
        Numbers(json, "atNs", latencies.At.Select(at => (double)at));
        json.WriteStartArray("curves");
        foreach (LatencyCurve curve in latencies.Curves)
        {
            // Packed as steps up from one grid point to the next: most are 0.
            Packed steps = new();
            int before = 0;
            foreach (int below in curve.AtOrBelow)
            {
                steps.Add(below - before);
                before = below;
            }

            json.WriteStartObject();
            json.WriteNumber("domain", curve.Domain);
            json.WriteNumber("count", curve.Count);
            json.WriteString("steps", steps.ToBase64());
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void Gantt(Utf8JsonWriter json, RunFolder run, ScheduleReplay replay, Nanoseconds covered)
    {
        Nanoseconds until = DrawnUntil(run);
        (int Domain, int Vcpu)[] slots = [.. replay.BusyPeriods.Select(period => (period.Domain, period.Vcpu)).Concat(replay.Runs.Select(span => (span.Domain, span.Vcpu))).Distinct().Order()];
        Dictionary<(int, int), int> slotOf = slots.Select((slot, index) => (slot, index)).ToDictionary(pair => pair.slot, pair => pair.index);
        HashSet<int> several = [.. slots.GroupBy(slot => slot.Domain).Where(group => group.Count() > 1).Select(group => group.Key)];
        json.WriteStartObject("gantt");
        json.WriteNumber("lengthNs", Nanoseconds.Min(covered, until).Value);
        Strings(json, "ends", Ends);
        Strings(json, "causes", Causes);
        json.WriteStartArray("slots");
        foreach ((int domain, int vcpu) in slots)
        {
            json.WriteStartArray();
            json.WriteNumberValue(domain);
            json.WriteNumberValue(vcpu);
            json.WriteBooleanValue(several.Contains(domain));
            json.WriteEndArray();
        }

        json.WriteEndArray();
        json.WriteStartArray("pcpus");
        ILookup<int, RunSpan> runs = replay.Runs.Where(span => span.From < until).ToLookup(span => span.Pcpu);
        for (int pcpu = 0; pcpu < run.Recording!.PcpuCount; pcpu++)
            json.WriteStringValue(Track(runs[pcpu].Select(span => (span.From, span.To, ((long)slotOf[(span.Domain, span.Vcpu)] * 8) + (long)span.End))));
        json.WriteEndArray();
        json.WriteStartArray("waits");
        ILookup<int, WaitSpan> waits = run.Waits!.Where(wait => wait.From < until).ToLookup(wait => slotOf[(wait.Domain, wait.Vcpu)]);
        for (int slot = 0; slot < slots.Length; slot++)
            json.WriteStringValue(Track(waits[slot].Select(wait => (wait.From, wait.To, wait.AfterWake ? 0L : 1L))));
        json.WriteEndArray();
        json.WriteStartArray("wakes");
        ILookup<int, WakeToRun> wakes = replay.Wakes.Where(wake => wake.At < until).ToLookup(wake => slotOf[(wake.Domain, wake.Vcpu)]);
        for (int slot = 0; slot < slots.Length; slot++)
            json.WriteStringValue(Instants(wakes[slot].Select(wake => wake.SeenAt).Order()));
        json.WriteEndArray();
        json.WriteEndObject();
    }

    /// <summary>Instants, in order, as gaps.</summary>
    private static string Instants(IEnumerable<Nanoseconds> instants)
    {
        Packed packed = new();
        Nanoseconds last = Nanoseconds.Zero;
        foreach (Nanoseconds instant in instants)
        {
            packed.Add((instant - last).Value);
            last = instant;
        }

        return packed.ToBase64();
    }

    private static void Marks(Utf8JsonWriter json, RunFolder run)
    {
        json.WriteStartArray("marks");
        foreach (RunMark mark in RunMarks.Of(run))
        {
            json.WriteStartObject();
            json.WriteNumber("atNs", mark.At.Value);
            json.WriteString("what", mark.What);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    /// <summary>Intervals that do not overlap, as gap, length and tag.</summary>
    private static string Track(IEnumerable<(Nanoseconds From, Nanoseconds To, long Tag)> intervals)
    {
        Packed packed = new();
        Nanoseconds end = Nanoseconds.Zero;
        foreach ((Nanoseconds from, Nanoseconds to, long tag) in intervals)
        {
            packed.Add((from - end).Value);
            packed.Add((to - from).Value);
            packed.Add(tag);
            end = to;
        }

        return packed.ToBase64();
    }

    private static void Numbers(Utf8JsonWriter json, string name, IEnumerable<double> values)
    {
        json.WriteStartArray(name);
        foreach (double value in values)
            json.WriteNumberValue(value);
        json.WriteEndArray();
    }

    private static void Strings(Utf8JsonWriter json, string name, IEnumerable<string> values)
    {
        json.WriteStartArray(name);
        foreach (string value in values)
            json.WriteStringValue(value);
        json.WriteEndArray();
    }
}
