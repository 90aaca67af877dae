using Tessera.Lab.Metrics;
using Tessera.Lab.Reports;
using Tessera.Lab.Results;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Lab.Exports;

/// <summary>The tables of one run: its domains and, with a recording, shares, stints and wakes.</summary>
internal static class RunExport
{
    private static readonly Column<DomainRow>[] Domains =
    [
        new("domain", ColumnKind.Text, "its name", row => row.Result.Name),
        new("guest", ColumnKind.Text, "the guest's name, or the kernel's file", row => row.Result.Guest),
        new("state", ColumnKind.Text, "the state at the window's end", row => row.Result.State),
        new("weight", ColumnKind.Count, "share weight", row => (long)row.Result.Weight),
        new("cpu_seconds", ColumnKind.Number, "pCPU time, in seconds", row => row.Result.CpuSeconds),
        new("share", ColumnKind.Number, "that time as a part of all pCPU time, 0 to 1", row => row.Result.Share),
        new("expected_share", ColumnKind.Number, "what the scheduler owes it by weight, cap and reservation, 0 to 1", row => row.Result.ExpectedShare),
        new("ideal_share", ColumnKind.Number, "what generalised processor sharing gives it, 0 to 1", row => row.Recorded?.IdealShare),
        new("wait_share", ColumnKind.Number, "the part of the window in which it could run and did not, 0 to 1", row => row.Recorded?.WaitShare),
        new("work", ColumnKind.Count, "units of work of a built-in guest", row => row.Result.Work),
        new("wakes", ColumnKind.Count, "how often its vCPUs became runnable", row => row.Result.Wakes),
        new("late_p50_ns", ColumnKind.Count, "how late the guest found itself awake, median, in ns", row => row.Result.LatenessNs?.P50),
        new("late_p99_ns", ColumnKind.Count, "its 99th percentile", row => row.Result.LatenessNs?.P99),
        new("wake_p50_ns", ColumnKind.Count, "from a wake to running, median, in ns", row => row.Recorded?.WakeToRunNs?.P50),
        new("wake_p99_ns", ColumnKind.Count, "its 99th percentile", row => row.Recorded?.WakeToRunNs?.P99),
        new("response_p50_ns", ColumnKind.Count, "from a request to its answer, median, in ns", row => row.Result.ResponseTimeNs?.P50),
        new("response_p99_ns", ColumnKind.Count, "its 99th percentile", row => row.Result.ResponseTimeNs?.P99),
        new("missed_deadlines", ColumnKind.Count, "deadlines missed", row => row.Result.MissedDeadlines),
        new("memory_bytes", ColumnKind.Count, "memory at the window's end, in bytes", row => row.Result.Memory.AssignedBytes),
        new("disk_bytes_per_second", ColumnKind.Number, "what its disks read and wrote", row => row.Result.Disks.Count == 0 ? null : row.Result.Disks.Sum(disk => disk.ReadBytesPerSecond + disk.WrittenBytesPerSecond)),
        new("sent_bytes_per_second", ColumnKind.Number, "what its interfaces sent", row => row.Result.Nics.Count == 0 ? null : row.Result.Nics.Sum(nic => nic.SentBytesPerSecond)),
    ];

    private static readonly Column<ShareRow>[] Shares =
    [
        new("at_ns", ColumnKind.Count, "the window's beginning, in ns from the recording's", row => row.At),
        new("length_ns", ColumnKind.Count, "its length, in ns", row => row.Length),
        new("domain", ColumnKind.Text, "the domain's name", row => row.Domain),
        new("share", ColumnKind.Number, "its part of all pCPU time, 0 to 1", row => row.Share),
        new("ideal_share", ColumnKind.Number, "what generalised processor sharing gives it, 0 to 1", row => row.Ideal),
    ];

    private static readonly Column<(RunSpan Span, string Domain)>[] Stints =
    [
        new("from_ns", ColumnKind.Count, "its beginning, in ns from the recording's", row => row.Span.From.Value),
        new("to_ns", ColumnKind.Count, "its end", row => row.Span.To.Value),
        new("pcpu", ColumnKind.Count, "the physical CPU", row => (long)row.Span.Pcpu),
        new("domain", ColumnKind.Text, "the domain's name", row => row.Domain),
        new("vcpu", ColumnKind.Count, "the vCPU's index in the domain", row => (long)row.Span.Vcpu),
        new("ended", ColumnKind.Text, "why it ended; nothing at the recording's end", row => row.Span.End == RunEnd.None ? null : row.Span.End.ToString().ToLowerInvariant()),
    ];

    private static readonly Column<(WakeToRun Wake, string Domain)>[] Wakes =
    [
        new("at_ns", ColumnKind.Count, "the wake, or the deadline of the timer that caused it, in ns from the recording's beginning", row => row.Wake.At.Value),
        new("domain", ColumnKind.Text, "the domain's name", row => row.Domain),
        new("vcpu", ColumnKind.Count, "the vCPU's index in the domain", row => (long)row.Wake.Vcpu),
        new("latency_ns", ColumnKind.Count, "from then to running, in ns", row => row.Wake.Latency.Value),
    ];

    /// <summary>All of them.</summary>
    public static IReadOnlyList<ExportTable> Of(RunFolder run)
    {
        IReadOnlyList<string> names = run.DomainNames;
        DomainRow[] domains = [.. run.Result.Domains.Select(domain => new DomainRow(domain, run.Metrics?.Domains.FirstOrDefault(recorded => recorded.Name == domain.Name)))];
        return
        [
            new ExportTable<DomainRow>("domains", Domains, domains),
            new ExportTable<ShareRow>("shares", Shares, run is { Trace: { } trace, Recording: { } recording } ? [.. SharesOf(trace.Series, recording.Covered.Value, names)] : []),
            new ExportTable<(RunSpan, string)>("stints", Stints, [.. (run.Replay?.Runs ?? []).Select(span => (span, names[span.Domain]))]),
            new ExportTable<(WakeToRun, string)>("wakes", Wakes, [.. (run.Replay?.Wakes ?? []).Select(wake => (wake, names[wake.Domain]))]),
        ];
    }

    private static IEnumerable<ShareRow> SharesOf(ShareSeries series, long covered, IReadOnlyList<string> names)
    {
        for (int step = 0; step < (series.Real.Count == 0 ? 0 : series.Real[0].Length); step++)
        {
            long at = step * series.Step.Value;
            for (int domain = 0; domain < names.Count; domain++)
                yield return new ShareRow(at, Math.Min(series.Step.Value, covered - at), names[domain], series.Real[domain][step], series.Ideal[domain][step]);
        }
    }

    private sealed record DomainRow(DomainResult Result, DomainMetrics? Recorded);

    private sealed record ShareRow(long At, long Length, string Domain, double Share, double Ideal);
}
