using Tessera.Lab.Metrics;
using Tessera.Lab.Results;

namespace Tessera.Lab.Comparisons;

/// <summary>What an item of the configuration got in a run: one domain, or several equal ones.</summary>
/// <param name="Name">The item's name.</param>
/// <param name="Domains">How many domains.</param>
/// <param name="Modelled">For a simulated run: whether the workload is another than the guest's own model.</param>
/// <param name="Share">Share of all pCPU time, the domains together, 0 to 1.</param>
/// <param name="IdealShare">The share due to them, 0 to 1.</param>
/// <param name="LateP50Ns">Median over its domains of how late guests found themselves awake; null for those that do not sleep.</param>
/// <param name="WakeP50Ns">Median over its domains of wake-to-run as the core saw it.</param>
/// <param name="CpuPerWakeNs">pCPU time a wake; null without wakes.</param>
public sealed record GroupFigures(string Name, int Domains, bool Modelled, double Share, double IdealShare, double? LateP50Ns, double? WakeP50Ns, double? CpuPerWakeNs)
{
    /// <summary>The worst of its domains' 99th percentiles of lateness; null for those that do not sleep.</summary>
    public double? LateP99Ns { get; init; }

    /// <summary>The worst of its domains' 99th percentiles of wake-to-run.</summary>
    public double? WakeP99Ns { get; init; }

    /// <summary>The part of the window in which its vCPUs could run and did not, 0 to 1, their mean; null without a recording.</summary>
    public double? Wait { get; init; }

    /// <summary>Median over its domains of the response times of what they were asked for; null for guests that answer nobody.</summary>
    public double? ResponseP50Ns { get; init; }

    /// <summary>The worst of its domains' 99th percentiles of that.</summary>
    public double? ResponseP99Ns { get; init; }

    /// <summary>Deadlines missed by all of them; null for guests without deadlines.</summary>
    public long? Missed { get; init; }

    /// <summary>Units of work of all of them; null for guests that count none.</summary>
    public long? Work { get; init; }

    /// <summary>What domains got together.</summary>
    /// <param name="name">The item's name.</param>
    /// <param name="isModelled">Whether another workload than the guest's own was simulated.</param>
    /// <param name="domains">Its domains' results.</param>
    /// <param name="recorded">What the recording comes to for them, in the same order; null without one.</param>
    public static GroupFigures Of(string name, bool isModelled, IReadOnlyList<DomainResult> domains, IReadOnlyList<DomainMetrics>? recorded)
    {
        double woken = domains.Sum(domain => (double)domain.Wakes);
        return new GroupFigures(
            name,
            domains.Count,
            isModelled,
            domains.Sum(domain => domain.Share),
            recorded?.Sum(domain => domain.IdealShare) ?? domains.Sum(domain => domain.ExpectedShare),
            MetricCatalogue.Median(domains.Select(domain => domain.LatenessNs?.P50)),
            recorded is null ? null : MetricCatalogue.Median(recorded.Select(domain => domain.WakeToRunNs?.P50)),
            woken == 0 ? null : domains.Sum(domain => domain.CpuSeconds) * 1e9 / woken)
        {
            LateP99Ns = MetricCatalogue.Worst(domains.Select(domain => domain.LatenessNs)),
            WakeP99Ns = recorded?.Max(domain =>
                domain.WakeToRunNs is { Count: >= MetricCatalogue.WakesForP99 } wakes ? (double?)wakes.P99 : null),
            Wait = recorded?.Average(domain => domain.WaitShare),
            ResponseP50Ns = MetricCatalogue.Median(domains.Select(domain => domain.ResponseTimeNs?.P50)),
            ResponseP99Ns = MetricCatalogue.Worst(domains.Select(domain => domain.ResponseTimeNs)),
            Missed = Sum(domains.Select(domain => domain.MissedDeadlines)),
            Work = Sum(domains.Select(domain => domain.Work)),
        };
    }

    private static long? Sum(IEnumerable<long?> counts) =>
        counts.Aggregate((long?)null, (sum, count) => count is null ? sum : (sum ?? 0) + count);
}
