using System.Globalization;
using Tessera.Lab.Results;
using Tessera.Lab.Statistics;
using Tessera.Sdk;

namespace Tessera.Lab.Comparisons;

/// <summary>A number that every run of a comparison is reduced to.</summary>
/// <param name="Key">Its name in files.</param>
/// <param name="Title">Its name for people, fit for "12 % lower …".</param>
/// <param name="Unit"><c>points</c>, <c>ns</c>, <c>/s</c>, <c>%</c>, <c>part</c> (from 0 to 1), <c>count</c>, or empty.</param>
/// <param name="Better"><c>lower</c>, <c>higher</c>, or <c>neither</c>.</param>
/// <param name="Meaning">A sentence.</param>
public record MetricDefinition(string Key, string Title, string Unit, string Better, string Meaning)
{
    /// <summary>The item of <c>domains</c> that it is of; null for the whole machine.</summary>
    public string? Item { get; init; }

    /// <summary>A run's value; null where it does not apply.</summary>
    public double? Of(RunRow run) =>
        Item is not null ? ItemCatalogue.ValueOf(run, this) : run.Metrics.TryGetValue(Key, out double value) ? value : null;
}

/// <summary>A metric with what computes it: an entry of <see cref="MetricCatalogue"/>.</summary>
/// <param name="Key">Its name in files.</param>
/// <param name="Title">Its name for people.</param>
/// <param name="Unit">Its unit.</param>
/// <param name="Better">Which side is better.</param>
/// <param name="Meaning">A sentence.</param>
/// <param name="Value">Its value for a run; null where it does not apply.</param>
public sealed record Metric(string Key, string Title, string Unit, string Better, string Meaning, Func<MeasuredRun, double?> Value)
    : MetricDefinition(Key, Title, Unit, Better, Meaning);

/// <summary>
/// All metrics of comparisons, in the order they are shown. An entry is all that there is to a metric: runs, statistics, verdicts, comparison.csv,
/// reports and the table of docs/compare.md read this one.
/// </summary>
public static class MetricCatalogue
{
    /// <summary>Less is better.</summary>
    public const string Lower = "lower";

    /// <summary>More is better.</summary>
    public const string Higher = "higher";

    /// <summary>A fact without a better side.</summary>
    public const string Neither = "neither";

    /// <summary>The metric that tells of a busy host.</summary>
    public const string Withheld = "withheld";

    /// <summary>Of fewer wakes a percentile is the greatest or the second greatest alone.</summary>
    internal const int WakesForP99 = 100;
    private const int WakesForP999 = 1000;

    /// <summary>The table.</summary>
    public static IReadOnlyList<Metric> All { get; } =
    [
        ShareError(10, "10 ms", "Mean distance of domains' shares from generalised processor sharing in windows of 10 ms."),
        ShareError(100, "100 ms", "The same in windows of 100 ms."),
        ShareError(1000, "1 s", "The same in windows of 1 s."),
        ShareError(10_000, "10 s", "The same in windows of 10 s."),
        new("jain", "Jain's index", "", Higher, "Jain's index of service over ideal service, over the whole window: 1 is perfectly fair.",
            run => run.Recorded?.JainIndex),
        new("wakeP50", "wake-to-run latency, median", "ns", Lower,
            "From a wake to running, as the scheduler core saw it, over all domains.",
            run => run.Recorded?.WakeToRunNs?.P50),
        new("wakeP99", "wake-to-run latency, p99", "ns", Lower, "Its 99th percentile; only where a hundred wakes were seen.",
            run => run.Recorded?.WakeToRunNs is { Count: >= WakesForP99 } wakes ? wakes.P99 : null),
        new("wakeP999", "wake-to-run latency, p99.9", "ns", Lower, "Its 99.9th percentile; only where a thousand wakes were seen.",
            run => run.Recorded?.WakeToRunNs is { Count: >= WakesForP999 } wakes ? wakes.P999 : null),
        new("lateP50", "guests' lateness, median", "ns", Lower,
            "How late beat and burst found themselves awake: the median of the domains' medians.",
            run => Median(run.Domains.Select(domain => domain.LatenessNs?.P50))),
        new("lateP99", "guests' lateness, p99", "ns", Lower, "The worst domain's 99th percentile of that.",
            run => Worst(run.Domains.Select(domain => domain.LatenessNs))),
        new("responseP50", "response time, median", "ns", Lower,
            "From a request's arrival or a job's release until it was done, of queue and periodic models: the median of the domains' medians.",
            run => Median(run.Domains.Select(domain => domain.ResponseTimeNs?.P50))),
        new("responseP99", "response time, p99", "ns", Lower, "The worst domain's 99th percentile of that.",
            run => Worst(run.Domains.Select(domain => domain.ResponseTimeNs))),
        new("missed", "missed deadlines", "/s", Lower,
            "Deadlines that had passed before beat and burst could wait for them, or that a periodic model missed.",
            run => run.PerSecond(domain => domain.MissedDeadlines)),
        new("work", "throughput", "/s", Higher, "Units of work of all built-in guests; compare within one engine and configuration only.",
            run => run.PerSecond(domain => domain.Work)),
        new("diskBytes", "disk throughput", "/s", Higher, "Bytes that all disks read and wrote; only where a domain has a disk.",
            run => run.Disks.Any() ? run.Disks.Sum(disk => disk.ReadBytesPerSecond + disk.WrittenBytesPerSecond) : null),
        new("diskP99", "disk latency, p99", "ns", Lower,
            "The worst disk's 99th percentile of reads, writes and flushes, from the ring to the response.",
            run => Worst(run.Disks.SelectMany(disk => new[] { disk.ReadLatencyNs, disk.WriteLatencyNs, disk.FlushLatencyNs }))),
        new("netBytes", "network throughput", "/s", Higher, "Bytes that all interfaces sent; only where a domain has one.",
            run => run.Nics.Any() ? run.Nics.Sum(nic => nic.SentBytesPerSecond) : null),
        new("netP99", "network latency, p99", "ns", Lower,
            "The worst interface's 99th percentile, of sending to the backend and of receiving into the guest's ring.",
            run => Worst(run.Nics.SelectMany(nic => new[] { nic.SendLatencyNs, nic.ReceiveLatencyNs }))),
        new("lost", "CPU lost", "%", Lower, "pCPU time that was idle while a vCPU waited.", run => run.Recorded?.LostShare * 100),
        new("switches", "switches", "/s", Neither, "Turns of a pCPU to another vCPU.",
            run => run.Recorded?.Switches / run.Recorded?.Seconds),
        new("preemptions", "preemptions", "/s", Neither, "Stints that ended though the vCPU could have gone on.",
            run => run.Recorded?.Preemptions / run.Recorded?.Seconds),
        new("decisionP50", "decision cost, median", "ns", Lower, "Time inside the policy for one decision, since the machine's start.",
            run => run.DecisionCost?.P50Ns),
        new("decisionP99", "decision cost, p99", "ns", Lower, "Its 99th percentile.", run => run.DecisionCost?.P99Ns),
        new(Withheld, "withheld by the host", "%", Neither,
            "Time that a pCPU's thread was ready and the host ran something else, or that the hypervisor beneath the host took, of all pCPU time: "
                + "a fact about the measurement.",
            run => run.Result.Withheld?.Percent),
    ];

    /// <summary>A run's values by key; metrics that do not apply are missing.</summary>
    public static IReadOnlyDictionary<string, double> ValuesOf(MeasuredRun run)
    {
        Dictionary<string, double> values = [];
        foreach (Metric metric in All)
        {
            if (metric.Value(run) is { } value)
                values.Add(metric.Key, value);
        }

        return values;
    }

    /// <summary>The metrics that runs have values of: those of the machine, then those of each item.</summary>
    public static IReadOnlyList<MetricDefinition> Measured(IReadOnlyList<RunRow> runs) =>
        [.. All.Where(metric => runs.Any(run => metric.Of(run) is not null)), .. ItemCatalogue.Measured(runs)];

    /// <summary>A definition by its key.</summary>
    public static MetricDefinition Of(string key) => All.First(metric => metric.Key == key);

    /// <summary>The median of those that are known; null when none is.</summary>
    internal static double? Median(IEnumerable<long?> values)
    {
        double[] known = [.. values.OfType<long>()];
        return known.Length == 0 ? null : Describe.Median(known);
    }

    /// <summary>The worst 99th percentile; null when there is none.</summary>
    internal static double? Worst(IEnumerable<LatencySummary?> latencies) => latencies.Max(latency => (double?)latency?.P99);

    private static Metric ShareError(int milliseconds, string window, string meaning) => new(
        string.Create(CultureInfo.InvariantCulture, $"shareError{milliseconds}ms"), $"share error at {window}", "points", Lower, meaning,
        run => run.Recorded?.ShareErrors.FirstOrDefault(error => error.Window == Nanoseconds.FromMilliseconds(milliseconds))?.Mean);
}
