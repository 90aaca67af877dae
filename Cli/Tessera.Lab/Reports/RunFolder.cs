using System.Text.Json;
using Tessera.Lab.Folders;
using Tessera.Lab.Metrics;
using Tessera.Lab.Recording;
using Tessera.Lab.Results;

namespace Tessera.Lab.Reports;

/// <summary>A run's folder, read: its result, and what follows from its recording.</summary>
internal sealed class RunFolder
{
    /// <summary>The result's file.</summary>
    public const string ResultFile = "result.json";

    private const string ScheduleFile = "schedule.csv";
    private const string CountersFile = "counters.csv";

    private RunFolder(UntrustedFolder files, string below, ResultDocument result, ScheduleRecording? recording, IReadOnlyList<CounterSample> counters)
    {
        (Files, Below, Result, Recording, Counters) = (files, below, result, recording, counters);
        if (recording is null)
            return;
        Replay = ScheduleReplay.Of(recording);
        Trace = ShareTrace.Of(recording, Replay, SharePoints);
        Metrics = RunMetrics.Of(recording, Replay, Trace);
        Latencies = LatencyCurves.Of(Replay);
        Waits = WaitSpans.Of(Replay);
    }

    /// <summary>Most points of a share's curve; a screen has no more.</summary>
    private const int SharePoints = 2000;

    /// <summary>The files of the folder that was named: this one, or the comparison's that it is in.</summary>
    public UntrustedFolder Files { get; }

    /// <summary>Its path below that, with a '/' behind it; empty when it is that.</summary>
    public string Below { get; }

    /// <summary>result.json.</summary>
    public ResultDocument Result { get; }

    /// <summary>schedule.csv; null when the run has none.</summary>
    public ScheduleRecording? Recording { get; }

    /// <summary>counters.csv; empty when the run has none.</summary>
    public IReadOnlyList<CounterSample> Counters { get; }

    /// <summary>The recording read into stints and wakes; null without one.</summary>
    public ScheduleReplay? Replay { get; }

    /// <summary>Shares over time; null without a recording.</summary>
    public ShareTrace? Trace { get; }

    /// <summary>What the recording comes to; null without one.</summary>
    public RunMetrics? Metrics { get; }

    /// <summary>Distributions of wake latencies; null without a recording or wakes.</summary>
    public LatencyCurves? Latencies { get; }

    /// <summary>Waits; null without a recording.</summary>
    public IReadOnlyList<WaitSpan>? Waits { get; }

    /// <summary>Names of domains, in the configuration's order.</summary>
    public IReadOnlyList<string> DomainNames => Recording is { } recording
        ? [.. recording.Domains.Select(domain => domain.Name)]
        : [.. Result.Domains.Select(domain => domain.Name)];

    /// <summary>Reads a folder.</summary>
    /// <param name="files">The folder that was named.</param>
    /// <param name="below">The run's folder below that, with a '/' behind it; empty when it is that.</param>
    /// <exception cref="ReportException">A file is missing or not what it should be.</exception>
    public static RunFolder Read(UntrustedFolder files, string below)
    {
        string file = System.IO.Path.Combine(files.Path, below + ResultFile);
        try
        {
            ResultDocument result = ResultJson.Read(files.ReadBytes(below + ResultFile));
            return new RunFolder(files, below, result, Optional(files, below + ScheduleFile, ScheduleCsv.Read), Optional(files, below + CountersFile, CounterSamples.Read) ?? []);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or FormatException)
        {
            throw new ReportException(e is JsonException ? $"{file}: not a run's result: {e.Message}" : e.Message, e);
        }
    }

    private static T? Optional<T>(UntrustedFolder files, string name, Func<TextReader, string, T> read)
        where T : class
    {
        string file = System.IO.Path.Combine(files.Path, name);
        if (!File.Exists(file))
            return null;
        using StreamReader reader = new(files.OpenRead(name));
        return read(reader, file);
    }
}
