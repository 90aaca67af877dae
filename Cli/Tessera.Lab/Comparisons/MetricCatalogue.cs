namespace Tessera.Lab.Comparisons;

/// <summary>A number that every run of a comparison is reduced to.</summary>
/// <param name="Key">Its name in files.</param>
/// <param name="Title">Its name for people, fit for "12 % lower …".</param>
/// <param name="Unit"><c>points</c>, <c>ns</c>, <c>/s</c>, <c>%</c>, or empty.</param>
/// <param name="Better"><c>lower</c>, <c>higher</c>, or <c>neither</c>.</param>
/// <param name="Meaning">A sentence.</param>
public sealed record MetricDefinition(string Key, string Title, string Unit, string Better, string Meaning);

/// <summary>All metrics of comparisons, in the order they are shown.</summary>
public static class MetricCatalogue
{
    /// <summary>Less is better.</summary>
    public const string Lower = "lower";

    /// <summary>More is better.</summary>
    public const string Higher = "higher";

    /// <summary>A fact without a better side.</summary>
    public const string Neither = "neither";

    /// <summary>Prefix of the share errors' keys; the window follows in ms.</summary>
    public const string ShareErrorPrefix = "shareError";

    /// <summary>The metric that tells of a busy host.</summary>
    public const string Withheld = "withheld";

    /// <summary>The definitions.</summary>
    public static IReadOnlyList<MetricDefinition> All { get; } =
    [
        new(ShareErrorPrefix + "10ms", "share error at 10 ms", "points", Lower, "Mean distance of domains' shares from generalised processor sharing in windows of 10 ms."),
        new(ShareErrorPrefix + "100ms", "share error at 100 ms", "points", Lower, "The same in windows of 100 ms."),
        new(ShareErrorPrefix + "1000ms", "share error at 1 s", "points", Lower, "The same in windows of 1 s."),
        new(ShareErrorPrefix + "10000ms", "share error at 10 s", "points", Lower, "The same in windows of 10 s."),
        new("jain", "Jain's index", "", Higher, "Jain's index of service over ideal service, over the whole window: 1 is perfectly fair."),
        new("wakeP50", "wake-to-run latency, median", "ns", Lower, "From a wake to running, as the scheduler core saw it, over all domains."),
        new("wakeP99", "wake-to-run latency, p99", "ns", Lower, "Its 99th percentile; only where a hundred wakes were seen."),
        new("wakeP999", "wake-to-run latency, p99.9", "ns", Lower, "Its 99.9th percentile; only where a thousand wakes were seen."),
        new("lateP50", "guests' lateness, median", "ns", Lower, "How late beat and burst found themselves awake: the median of the domains' medians."),
        new("lateP99", "guests' lateness, p99", "ns", Lower, "The worst domain's 99th percentile of that."),
        new("responseP50", "response time, median", "ns", Lower, "From a request's arrival or a job's release until it was done, of queue and periodic models: the median of the domains' medians."),
        new("responseP99", "response time, p99", "ns", Lower, "The worst domain's 99th percentile of that."),
        new("missed", "missed deadlines", "/s", Lower, "Deadlines that had passed before beat and burst could wait for them, or that a periodic model missed."),
        new("work", "throughput", "/s", Higher, "Units of work of all built-in guests; compare within one engine and configuration only."),
        new("diskBytes", "disk throughput", "/s", Higher, "Bytes that all disks read and wrote; only where a domain has a disk."),
        new("diskP99", "disk latency, p99", "ns", Lower, "The worst disk's 99th percentile of reads, writes and flushes, from the ring to the response."),
        new("netBytes", "network throughput", "/s", Higher, "Bytes that all interfaces sent; only where a domain has one."),
        new("netP99", "network latency, p99", "ns", Lower, "The worst interface's 99th percentile, of sending to the backend and of receiving into the guest's ring."),
        new("lost", "CPU lost", "%", Lower, "pCPU time that was idle while a vCPU waited."),
        new("switches", "switches", "/s", Neither, "Turns of a pCPU to another vCPU."),
        new("preemptions", "preemptions", "/s", Neither, "Stints that ended though the vCPU could have gone on."),
        new("decisionP50", "decision cost, median", "ns", Lower, "Time inside the policy for one decision, since the machine's start."),
        new("decisionP99", "decision cost, p99", "ns", Lower, "Its 99th percentile."),
        new(Withheld, "withheld by the host", "%", Neither, "Time that a pCPU's thread was ready and the host ran something else, or that the hypervisor beneath the host took, of all pCPU time: a fact about the measurement."),
    ];

    /// <summary>A definition by its key.</summary>
    public static MetricDefinition Of(string key) => All.First(metric => metric.Key == key);
}
