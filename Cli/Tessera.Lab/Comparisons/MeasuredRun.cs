using Tessera.Lab.Metrics;
using Tessera.Lab.Results;

namespace Tessera.Lab.Comparisons;

/// <summary>A run as metrics see it.</summary>
/// <param name="result">What it gave.</param>
/// <param name="recorded">What its recording comes to; null when there is none.</param>
public sealed class MeasuredRun(ResultDocument result, RunMetrics? recorded)
{
    /// <summary>What it gave.</summary>
    public ResultDocument Result => result;

    /// <summary>What its recording comes to; null when the window never began.</summary>
    public RunMetrics? Recorded { get; } = recorded is { Seconds: > 0 } ? recorded : null;

    /// <summary>Its domains.</summary>
    public IReadOnlyList<DomainResult> Domains => result.Domains;

    /// <summary>Their disks.</summary>
    public IEnumerable<DiskResult> Disks => result.Domains.SelectMany(domain => domain.Disks);

    /// <summary>Their network interfaces.</summary>
    public IEnumerable<NicResult> Nics => result.Domains.SelectMany(domain => domain.Nics);

    /// <summary>What decisions cost; null where that was not measured.</summary>
    public SchedulerCost? DecisionCost => result.SchedulerCost is { Decisions: > 0, P50Ns: > 0, P99Ns: not null } cost ? cost : null;

    /// <summary>What domains count, all together, over the window's length; null when none counts it, or the window never began.</summary>
    public double? PerSecond(Func<DomainResult, long?> count) =>
        result.ElapsedSeconds > 0 && result.Domains.Any(domain => count(domain) is not null)
            ? result.Domains.Sum(count) / result.ElapsedSeconds
            : null;
}
