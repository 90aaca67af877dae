using Tessera.Lab.Statistics;

namespace Tessera.Lab.Comparisons;

/// <summary>What a comparison gave: comparison.json, format "tessera.comparison/1". Within a format number keys are only ever added.</summary>
public sealed record ComparisonDocument
{
    /// <summary>The format's name and number.</summary>
    public const string Format = "tessera.comparison/1";

    /// <summary>Always <see cref="Format"/>.</summary>
    public string Schema { get; init; } = Format;

    /// <summary>The version of Tessera.</summary>
    public required string Version { get; init; }

    /// <summary>When the first of its runs was started.</summary>
    public required DateTimeOffset StartedAt { get; init; }

    /// <summary>
    /// <c>completed</c>, <c>interrupted</c>, <c>failed</c> when at least one run failed, or <c>incomplete</c> when runs of a sweep are
    /// missing.
    /// </summary>
    public required string Outcome { get; init; }

    /// <summary>The configuration's file, as the user named it.</summary>
    public required string Configuration { get; init; }

    /// <summary>The host's CPU model.</summary>
    public required string Host { get; init; }

    /// <summary>Seed of the order and of simulated workloads.</summary>
    public required long Seed { get; init; }

    /// <summary>Repetitions asked for.</summary>
    public required int Repeat { get; init; }

    /// <summary>What was run on: <c>machine</c>, <c>simulated</c>, or both.</summary>
    public required IReadOnlyList<string> Engines { get; init; }

    /// <summary>The schedulers' labels.</summary>
    public required IReadOnlyList<string> Schedulers { get; init; }

    /// <summary>What was varied.</summary>
    public required IReadOnlyList<Factor> Factors { get; init; }

    /// <summary>What the metrics mean; only those that have values.</summary>
    public required IReadOnlyList<MetricDefinition> Metrics { get; init; }

    /// <summary>Statistics for each combination of engine and varied values.</summary>
    public required IReadOnlyList<CellResult> Cells { get; init; }

    /// <summary>Machine and simulator side by side; empty unless both ran.</summary>
    public required IReadOnlyList<AgreementRow> Agreement { get; init; }

    /// <summary>What the simulator was told that switches and wakes cost; null when it did not run.</summary>
    public required SimulationCosts? Costs { get; init; }

    /// <summary>Every run that was made, in order.</summary>
    public required IReadOnlyList<RunRow> Runs { get; init; }

    /// <summary>Where the runs were made, by name; empty where that was not written down.</summary>
    public IReadOnlyList<HostRuns> Hosts { get => field ?? []; init; }

    /// <summary>What more than one host means for the figures; null for one host, and where all runs are in virtual time.</summary>
    public string? Blocking { get; init; }

    /// <summary>The runs of a sweep that are not there.</summary>
    public IReadOnlyList<PlannedRun> Missing { get => field ?? []; init; }
}

/// <summary>The simulator's costs.</summary>
/// <param name="SwitchNs">Of a context switch.</param>
/// <param name="WakeNs">Of a wake, until the guest's own work goes on.</param>
/// <param name="BeatNs">CPU time of a <c>beat</c> guest's own work for one wake.</param>
/// <param name="Source">Where they are from: measured here, given, or nothing.</param>
/// <param name="WithheldPercent">For measured ones, the most of the pCPU's time that the host withheld in one of the measurements, in per cent.</param>
public sealed record SimulationCosts(long SwitchNs, long WakeNs, long BeatNs, string Source, double? WithheldPercent = null);

/// <summary>One run.</summary>
public sealed record RunRow
{
    /// <summary>Its folder below the comparison's.</summary>
    public required string Folder { get; init; }

    /// <summary>Its place in the order.</summary>
    public required int Place { get; init; }

    /// <summary>The repetition.</summary>
    public required int Repetition { get; init; }

    /// <summary>The engine.</summary>
    public required string Engine { get; init; }

    /// <summary>The scheduler's label.</summary>
    public required string Scheduler { get; init; }

    /// <summary>The varied values.</summary>
    public required IReadOnlyList<FactorValue> Cell { get; init; }

    /// <summary><c>completed</c> or <c>failed</c>.</summary>
    public required string Outcome { get; init; }

    /// <summary>What failed; empty after a good run.</summary>
    public required IReadOnlyList<string> Failures { get; init; }

    /// <summary>Whether its time was virtual: the simulator's, or a machine's that goes by the work of its guests.</summary>
    public bool IsVirtual { get => field || Engine == ComparisonEngines.Simulated; init; }

    /// <summary>When it was started.</summary>
    public required DateTimeOffset StartedAt { get; init; }

    /// <summary>How long it took altogether, start-up included, in seconds of real time.</summary>
    public required double WallSeconds { get; init; }

    /// <summary>The metrics by key; those that do not apply are missing.</summary>
    public required IReadOnlyDictionary<string, double> Metrics { get; init; }

    /// <summary>Items of the configuration: what each got.</summary>
    public required IReadOnlyList<GroupFigures> Groups { get; init; }

    /// <summary>Where it was made; null where that was not written down.</summary>
    public RunHost? Host { get; init; }
}

/// <summary>The statistics of one combination of engine and varied values.</summary>
/// <param name="Engine">The engine.</param>
/// <param name="Cell">The varied values.</param>
/// <param name="Schedulers">By scheduler, in the order asked for.</param>
/// <param name="Verdicts">Each pair of schedulers by each metric.</param>
public sealed record CellResult(string Engine, IReadOnlyList<FactorValue> Cell, IReadOnlyList<SchedulerResult> Schedulers, IReadOnlyList<Verdict> Verdicts);

/// <summary>One scheduler in a cell.</summary>
/// <param name="Scheduler">Its label.</param>
/// <param name="Runs">Good runs.</param>
/// <param name="Failed">Failed runs, in no statistic.</param>
/// <param name="Metrics">Summaries by metric.</param>
/// <param name="Copies">Of the good runs, those in virtual time that are copies of another to the last figure; they count once in statistics.</param>
public sealed record SchedulerResult(string Scheduler, int Runs, int Failed, IReadOnlyDictionary<string, Summary> Metrics, int Copies = 0);

/// <summary>Two schedulers by one metric.</summary>
public sealed record Verdict
{
    /// <summary>The metric's key.</summary>
    public required string Metric { get; init; }

    /// <summary>The one with the better mean (of equals, or where neither is better, the first named).</summary>
    public required string First { get; init; }

    /// <summary>The other.</summary>
    public required string Second { get; init; }

    /// <summary>Mean of the first less mean of the second, in the metric's unit.</summary>
    public required double Difference { get; init; }

    /// <summary>Its 95 % interval.</summary>
    public required Interval DifferenceInterval { get; init; }

    /// <summary>The difference over the second's mean, in per cent; null when that mean is 0.</summary>
    public required double? Percent { get; init; }

    /// <summary>Its 95 % interval.</summary>
    public required Interval? PercentInterval { get; init; }

    /// <summary>Cliff's delta.</summary>
    public required double CliffsDelta { get; init; }

    /// <summary>Hedges' g; null when nothing varied.</summary>
    public required double? HedgesG { get; init; }

    /// <summary>The probability of such a difference by chance: Mann and Whitney's, or Wilcoxon's where runs are paired; null where nothing is left to chance.</summary>
    public required double? Probability { get; init; }

    /// <summary>The same after Holm's correction for all pairs and cells of this metric and engine.</summary>
    public required double? Corrected { get; init; }

    /// <summary>Whether a difference was shown: the interval leaves zero out, and the corrected probability is below 5 % or there is none.</summary>
    public required bool IsShown { get; init; }

    /// <summary>Whether each scheduler's runs are copies of one run in virtual time: a difference then is what it is, and no probability applies.</summary>
    public bool IsExact { get; init; }

    /// <summary>Whether runs of one repetition were tested as pairs, since they share their seed.</summary>
    public bool IsPaired { get; init; }

    /// <summary>How many runs of each were compared, of the scheduler that had fewer; copies count once.</summary>
    public int Runs { get; init; }

    /// <summary>The fewest runs of each with which the test could show anything among all pairs and cells of this metric and engine.</summary>
    public int FewestRuns { get; init; }

    /// <summary>It all in a sentence.</summary>
    public required string Sentence { get; init; }
}

/// <summary>An item of the configuration on the machine and in the simulator.</summary>
public sealed record AgreementRow
{
    /// <summary>The scheduler.</summary>
    public required string Scheduler { get; init; }

    /// <summary>The varied values.</summary>
    public required IReadOnlyList<FactorValue> Cell { get; init; }

    /// <summary>The item's name.</summary>
    public required string Group { get; init; }

    /// <summary>What is compared: <c>share</c>, <c>lateness</c> or <c>wake-to-run</c>.</summary>
    public required string Quantity { get; init; }

    /// <summary>Mean over runs on the machine: a share in per cent, or a median latency in ns.</summary>
    public required double Machine { get; init; }

    /// <summary>The same in the simulator.</summary>
    public required double Simulated { get; init; }

    /// <summary>Simulated less machine: in points for shares, in per cent of the machine's for latencies.</summary>
    public required double Difference { get; init; }

    /// <summary>Below 1 point for shares, 25 % for latencies.</summary>
    public required bool Agrees { get; init; }

    /// <summary>Why it does not, as far as the recordings tell; empty when it does.</summary>
    public required string Reason { get; init; }
}
