using System.Globalization;
using Tessera.Lab.Metrics;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Lab.Reports;

/// <summary>Writes series/*.csv: the numbers behind every plot of a run's report, in full where the page holds only a part.</summary>
internal static class SeriesFiles
{
    /// <summary>The folder's name.</summary>
    public const string Folder = "series";

    /// <summary>Writes them.</summary>
    /// <returns>Their names, from the folder that was named.</returns>
    public static IReadOnlyList<string> Write(RunFolder run)
    {
        if (run is not { Recording: not null, Replay: { } replay, Trace: { } trace })
            return [];
        run.Files.MakeFolder(run.Below + Folder);
        IReadOnlyList<string> names = [.. run.DomainNames.Select(Field)];
        List<string> written = [];
        Write(run, written, "shares.csv", "at_ns,length_ns,domain,share,ideal_share", Shares(trace.Series, run.Recording.Covered.Value, names));
        Write(run, written, "share-errors.csv", "window_ns,windows,mean_points,p99_points,max_points",
            trace.Errors.Select(error => Line($"{error.Window.Value},{error.Windows},{error.Mean},{error.P99},{error.Max}")));
        Write(run, written, "runs.csv", "from_ns,to_ns,pcpu,domain,vcpu,ended",
            replay.Runs.Select(span => Line($"{span.From.Value},{span.To.Value},{span.Pcpu},{names[span.Domain]},{span.Vcpu},{Word(span.End)}")));
        Write(run, written, "waits.csv", "from_ns,to_ns,domain,vcpu,after",
            run.Waits!.Select(wait => Line($"{wait.From.Value},{wait.To.Value},{names[wait.Domain]},{wait.Vcpu},{(wait.AfterWake ? "wake" : "preemption")}")));
        Write(run, written, "wake-latencies.csv", "at_ns,domain,vcpu,latency_ns",
            replay.Wakes.Select(wake => Line($"{wake.At.Value},{names[wake.Domain]},{wake.Vcpu},{wake.Latency.Value}")));
        if (run.Latencies is { } latencies)
        {
            Write(run, written, "latency-distribution.csv", "latency_ns,domain,wakes_at_or_below,wakes",
                latencies.Curves.SelectMany(curve => latencies.At.Select((at, index) => Line($"{at},{names[curve.Domain]},{curve.AtOrBelow[index]},{curve.Count}"))));
        }

        if (run.Counters.Count > 0)
        {
            Write(run, written, "counters.csv", "at_ns,domain,traps,hypercalls",
                run.Counters.Where(sample => sample.Domain < names.Count).Select(sample => Line($"{sample.At.Value},{names[sample.Domain]},{sample.Traps},{sample.Hypercalls}")));
        }

        return written;
    }

    private static IEnumerable<string> Shares(ShareSeries series, long covered, IReadOnlyList<string> names)
    {
        for (int step = 0; step < (series.Real.Count == 0 ? 0 : series.Real[0].Length); step++)
        {
            long at = step * series.Step.Value;
            long length = Math.Min(series.Step.Value, covered - at);
            for (int domain = 0; domain < names.Count; domain++)
                yield return Line($"{at},{length},{names[domain]},{series.Real[domain][step]:0.########},{series.Ideal[domain][step]:0.########}");
        }
    }

    private static void Write(RunFolder run, List<string> written, string name, string heading, IEnumerable<string> lines)
    {
        string path = $"{run.Below}{Folder}/{name}";
        run.Files.WriteText(path, writer =>
        {
            writer.WriteLine(heading);
            foreach (string line in lines)
                writer.WriteLine(line);
        });
        written.Add(path);
    }

    private static string Word(RunEnd end) => end == RunEnd.None ? "" : end.ToString().ToLowerInvariant();

    private static string Line(FormattableString line) => line.ToString(CultureInfo.InvariantCulture);

    /// <summary>A text as a field (RFC 4180).</summary>
    private static string Field(string text) =>
        text.AsSpan().IndexOfAny(",\"\r\n") < 0 ? text : "\"" + text.Replace("\"", "\"\"", StringComparison.Ordinal) + "\"";
}
