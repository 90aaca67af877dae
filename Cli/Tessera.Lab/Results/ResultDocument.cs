using System.Text.Json;
using System.Text.Json.Serialization;

namespace Tessera.Lab.Results;

/// <summary>
/// What a run gave: result.json, format "tessera.result/1". Within a format number keys are only ever added. Counters and times are
/// those of the measured window (<see cref="ElapsedSeconds"/>) unless a key says otherwise.
/// </summary>
/// <remarks>A list that a document lacks is empty: the serialiser gives null for a missing key, whatever the initialiser says.</remarks>
public sealed record ResultDocument
{
    /// <summary>The format's name and number.</summary>
    public const string Format = "tessera.result/1";

    /// <summary><see cref="Time"/>: the host's.</summary>
    public const string RealTime = "real";

    /// <summary><see cref="Time"/>: a simulator's, or the work of guests.</summary>
    public const string VirtualTime = "virtual";

    /// <summary>Always <see cref="Format"/>.</summary>
    public string Schema { get; init; } = Format;

    /// <summary>The version of Tessera that ran.</summary>
    public required string Version { get; init; }

    /// <summary>When the machine was started.</summary>
    public required DateTimeOffset StartedAt { get; init; }

    /// <summary>How the run ended.</summary>
    public required RunOutcome Outcome { get; init; }

    /// <summary>What failed, a sentence each; empty after a good run.</summary>
    public required IReadOnlyList<string> Failures { get; init; }

    /// <summary>The host.</summary>
    public required HostFacts Host { get; init; }

    /// <summary>Whose time it was: <see cref="RealTime"/> or <see cref="VirtualTime"/>.</summary>
    public string Time { get => field ?? RealTime; init; }

    /// <summary>The CPU engine and everything it probed.</summary>
    public required EngineReport Engine { get; init; }

    /// <summary>The scheduler that was configured, and what happened to it.</summary>
    public required SchedulerReport Scheduler { get; init; }

    /// <summary>The resolved configuration: every default filled in; `tessera run` takes it as it is.</summary>
    public required JsonElement Configuration { get; init; }

    /// <summary>From the machine's start to the beginning of the measured window, in seconds.</summary>
    public required double MeasuredFromSeconds { get; init; }

    /// <summary>The length of the measured window, in seconds.</summary>
    public required double ElapsedSeconds { get; init; }

    /// <summary>The name of the configuration's file, without its ending; null when it had none.</summary>
    public string? Experiment { get; init; }

    /// <summary>What the host withheld from the window; null in virtual time and where the host keeps no such accounts.</summary>
    public WithheldResult? Withheld { get; init; }

    /// <summary>The domains, in the order of the configuration.</summary>
    public required IReadOnlyList<DomainResult> Domains { get; init; }

    /// <summary>The physical CPUs.</summary>
    public required IReadOnlyList<PcpuResult> Pcpus { get; init; }

    /// <summary>What the scheduler's decisions cost.</summary>
    public required SchedulerCost SchedulerCost { get; init; }

    /// <summary>What was changed from outside during the run, in order; empty for a run that nobody touched.</summary>
    public IReadOnlyList<ChangeResult> Changes { get => field ?? []; init; }
}

/// <summary>What a busy host took from a measurement.</summary>
/// <param name="Seconds">How long threads of pCPUs were ready while the host ran something else, all pCPUs together.</param>
/// <param name="StolenSeconds">How long the hypervisor beneath the host took their host CPUs, all together (steal).</param>
/// <param name="Percent">Both, of all pCPU time of the window.</param>
public sealed record WithheldResult(double Seconds, double StolenSeconds, double Percent);

/// <summary>How a run ended.</summary>
public enum RunOutcome
{
    /// <summary>The duration passed, or every domain shut down.</summary>
    Completed,

    /// <summary>The user stopped it; what was measured until then is in the result.</summary>
    Interrupted,

    /// <summary>A domain crashed, was not up in time, or the scheduler was ejected.</summary>
    Failed,
}

/// <summary>Words for <see cref="RunOutcome"/>.</summary>
public static class RunOutcomes
{
    /// <summary>The word that results and people use.</summary>
    public static string Word(this RunOutcome outcome) => outcome.ToString().ToLowerInvariant();
}

/// <summary>A change made from outside during a run.</summary>
/// <param name="AtSeconds">When, from the machine's start.</param>
/// <param name="By">By whom: "ctl".</param>
/// <param name="Command">With what command.</param>
/// <param name="What">What, in words.</param>
public sealed record ChangeResult(double AtSeconds, string By, string Command, string What);

/// <summary>The host that a run was made on.</summary>
/// <param name="Cpu">The CPU's model name.</param>
/// <param name="Cpus">CPUs online.</param>
/// <param name="MemoryBytes">Memory.</param>
/// <param name="Kernel">The kernel's release.</param>
/// <param name="Runtime">The .NET runtime.</param>
public sealed record HostFacts(string Cpu, int Cpus, long MemoryBytes, string Kernel, string Runtime);

/// <summary>The CPU engine.</summary>
/// <param name="Name">Its name and what it stands on.</param>
/// <param name="Strategy">What it chose from its probes.</param>
/// <param name="Findings">Each probe.</param>
public sealed record EngineReport(string Name, string Strategy, IReadOnlyList<EngineFindingReport> Findings)
{
    /// <summary>The simulator's name.</summary>
    public const string Simulated = "simulated";

    /// <summary>Whether guests were only modelled.</summary>
    [JsonIgnore]
    public bool IsSimulated => Name == Simulated;
}

/// <summary>One probe of the engine.</summary>
/// <param name="Probe">What was tried.</param>
/// <param name="Finding">What happened.</param>
/// <param name="Consequence">What followed for this run; empty for nothing.</param>
public sealed record EngineFindingReport(string Probe, string Finding, string Consequence);

/// <summary>The scheduler.</summary>
/// <param name="Name">The plugin's name.</param>
/// <param name="Version">Its version.</param>
/// <param name="Ejected">Why it was replaced by the fallback during the run; null when it was not.</param>
public sealed record SchedulerReport(string Name, string Version, string? Ejected);

/// <summary>One domain's result.</summary>
public sealed record DomainResult
{
    /// <summary>The name.</summary>
    public required string Name { get; init; }

    /// <summary>The domain number.</summary>
    public required int Id { get; init; }

    /// <summary>The guest's name, or the kernel's file.</summary>
    public required string Guest { get; init; }

    /// <summary>The state at the end of the window: created, running, blocked, paused, shutdown, crashed or destroyed.</summary>
    public required string State { get; init; }

    /// <summary>Why it ended; null while it lives.</summary>
    public required string? ExitReason { get; init; }

    /// <summary>The registers at a crash, hexadecimal by name; null without one.</summary>
    public required IReadOnlyDictionary<string, string>? CrashRegisters { get; init; }

    /// <summary>The weight at the window's end.</summary>
    public required int Weight { get; init; }

    /// <summary>pCPU time given to its vCPUs.</summary>
    public required double CpuSeconds { get; init; }

    /// <summary>That time as a fraction of all pCPU time of the window.</summary>
    public required double Share { get; init; }

    /// <summary>The fraction that the scheduler owes it by its weight, cap and reservation (<see cref="Sdk.Scheduling.Core.ExpectedShares"/>).</summary>
    public required double ExpectedShare { get; init; }

    /// <summary>Units of work that a built-in guest reports; null for other guests.</summary>
    public required long? Work { get; init; }

    /// <summary>How often its vCPUs became runnable.</summary>
    public required long Wakes { get; init; }

    /// <summary>
    /// From wake to running in the window: as beat and burst measured it themselves, for other guests as the scheduler core did; null when nothing
    /// was recorded.
    /// </summary>
    public required LatencySummary? WakeLatencyNs { get; init; }

    /// <summary>
    /// How late the guest found itself awake, by its own clock and in the window; null for those that do not measure it, who have no deadlines either.
    /// </summary>
    [JsonIgnore]
    public LatencySummary? LatenessNs => MissedDeadlines is null ? null : WakeLatencyNs;

    /// <summary>
    /// Deadlines missed: those that had passed before beat and burst could wait for them, and of modelled periodic work those of late jobs, completed or
    /// not yet; null for guests without deadlines.
    /// </summary>
    public long? MissedDeadlines { get; init; }

    /// <summary>From a request's arrival or a job's release until it was done, in the window: of queue and periodic models; null for others.</summary>
    public LatencySummary? ResponseTimeNs { get; init; }

    /// <summary>Traps by kind.</summary>
    public required IReadOnlyDictionary<string, long> Traps { get; init; }

    /// <summary>Hypercalls by name.</summary>
    public required IReadOnlyDictionary<string, long> Hypercalls { get; init; }

    /// <summary>Memory at the end of the window.</summary>
    public required MemoryResult Memory { get; init; }

    /// <summary>What its disks did in the window.</summary>
    public IReadOnlyList<DiskResult> Disks { get => field ?? []; init; }

    /// <summary>What its network interfaces did in the window.</summary>
    public IReadOnlyList<NicResult> Nics { get => field ?? []; init; }

    /// <summary>From its start to its first user-space line, in milliseconds; null when none came.</summary>
    public required double? BootMilliseconds { get; init; }

    /// <summary>The last lines of its console.</summary>
    public required IReadOnlyList<string> ConsoleTail { get; init; }

    /// <summary>Why the file of its console lacks output, a sentence; null when it lacks none.</summary>
    public string? ConsoleProblem { get; init; }

    /// <summary>Code that its engine does not run, and that raised an exception for that reason; empty when there was none.</summary>
    public IReadOnlyList<UnknownCodeResult> UnknownCode { get => field ?? []; init; }
}

/// <summary>Code that an engine does not run.</summary>
/// <param name="What">The instruction's name.</param>
/// <param name="Bytes">Its bytes, hexadecimal, as they were first met.</param>
/// <param name="Count">How often it was met.</param>
public sealed record UnknownCodeResult(string What, string Bytes, long Count);

/// <summary>A distribution of times in nanoseconds.</summary>
/// <param name="P50">Median.</param>
/// <param name="P99">99th percentile.</param>
/// <param name="Max">The longest.</param>
/// <param name="Count">How many.</param>
public sealed record LatencySummary(long P50, long P99, long Max, long Count)
{
    /// <summary>Of fewer values the 99th percentile is the longest, and says no more than that.</summary>
    public const int Enough = 100;

    /// <summary>The 99th percentile where there are enough values for one; else null.</summary>
    [JsonIgnore]
    public long? TellingP99 => Count >= Enough ? P99 : null;

    /// <summary>What the scheduler core or a device recorded; null when that is nothing.</summary>
    public static LatencySummary? Of(Sdk.Scheduling.Core.LatencySummary latency) =>
        latency.Count == 0 ? null : new(latency.P50.Value, latency.P99.Value, latency.Max.Value, latency.Count);
}

/// <summary>What a network interface did in the window. Rates are over all of the window, though it may have come later.</summary>
/// <param name="Number">Its number in the domain.</param>
/// <param name="Mac">Its address.</param>
/// <param name="SentFrames">Frames the guest sent, large ones counted once.</param>
/// <param name="SentBytes">Their bytes.</param>
/// <param name="ReceivedFrames">Frames the guest got.</param>
/// <param name="ReceivedBytes">Their bytes.</param>
/// <param name="Dropped">Frames for the guest that it had no room or no driver for.</param>
/// <param name="Refused">Frames of the guest that were none.</param>
/// <param name="Notifications">Events sent to the guest.</param>
/// <param name="SentFramesPerSecond">Frames sent a second.</param>
/// <param name="SentBytesPerSecond">Bytes sent a second.</param>
/// <param name="ReceivedFramesPerSecond">Frames received a second.</param>
/// <param name="ReceivedBytesPerSecond">Bytes received a second.</param>
/// <param name="SendLatencyNs">From taking a frame off the ring until the backend had it.</param>
/// <param name="ReceiveLatencyNs">From a frame's arrival to its place in the guest's ring.</param>
/// <param name="Problem">What is wrong with it at the window's end; null when all is well.</param>
public sealed record NicResult(
    int Number,
    string Mac,
    long SentFrames,
    long SentBytes,
    long ReceivedFrames,
    long ReceivedBytes,
    long Dropped,
    long Refused,
    long Notifications,
    double SentFramesPerSecond,
    double SentBytesPerSecond,
    double ReceivedFramesPerSecond,
    double ReceivedBytesPerSecond,
    LatencySummary? SendLatencyNs,
    LatencySummary? ReceiveLatencyNs,
    string? Problem);

/// <summary>What a disk did in the window. Rates are over all of the window, though it may have come later.</summary>
/// <param name="Name">Its name in the guest.</param>
/// <param name="Reads">Reads completed.</param>
/// <param name="ReadBytes">Bytes read.</param>
/// <param name="Writes">Writes completed.</param>
/// <param name="WrittenBytes">Bytes written.</param>
/// <param name="Flushes">Flushes completed.</param>
/// <param name="Discards">Discards completed.</param>
/// <param name="Failed">Requests that the storage failed.</param>
/// <param name="Refused">Requests refused without asking the storage: forged, torn, outside the disk.</param>
/// <param name="Notifications">Events sent to the guest.</param>
/// <param name="ReadsPerSecond">Reads a second.</param>
/// <param name="ReadBytesPerSecond">Bytes read a second.</param>
/// <param name="WritesPerSecond">Writes a second.</param>
/// <param name="WrittenBytesPerSecond">Bytes written a second.</param>
/// <param name="ReadLatencyNs">From taking a read off the ring to its response.</param>
/// <param name="WriteLatencyNs">The same of writes and discards.</param>
/// <param name="FlushLatencyNs">The same of flushes.</param>
/// <param name="Problem">What is wrong with it at the window's end; null when all is well.</param>
public sealed record DiskResult(
    string Name,
    long Reads,
    long ReadBytes,
    long Writes,
    long WrittenBytes,
    long Flushes,
    long Discards,
    long Failed,
    long Refused,
    long Notifications,
    double ReadsPerSecond,
    double ReadBytesPerSecond,
    double WritesPerSecond,
    double WrittenBytesPerSecond,
    LatencySummary? ReadLatencyNs,
    LatencySummary? WriteLatencyNs,
    LatencySummary? FlushLatencyNs,
    string? Problem);

/// <summary>A domain's memory.</summary>
/// <param name="AssignedBytes">What it owns.</param>
/// <param name="ResidentBytes">What of it takes host memory.</param>
public sealed record MemoryResult(long AssignedBytes, long ResidentBytes);

/// <summary>One physical CPU.</summary>
/// <param name="Index">The machine's index.</param>
/// <param name="HostCpu">The host's number.</param>
/// <param name="BusySeconds">Time given to vCPUs.</param>
/// <param name="IdleSeconds">Time with nothing to run.</param>
/// <param name="Switches">Changes from one vCPU to another.</param>
public sealed record PcpuResult(int Index, int HostCpu, double BusySeconds, double IdleSeconds, long Switches);

/// <summary>What scheduling decisions cost in the window.</summary>
/// <param name="Decisions">How many, of all schedulers.</param>
/// <param name="P50Ns">Median of the cost of the one in charge at the end; null where it was not measured, as in virtual time.</param>
/// <param name="P99Ns">99th percentile of the same.</param>
public sealed record SchedulerCost(long Decisions, long? P50Ns, long? P99Ns)
{
    /// <summary>The same of each scheduler that was in charge, in order.</summary>
    public IReadOnlyList<SchedulerDecisions> BySchedulers { get => field ?? []; init; }
}

/// <summary>What the decisions of one scheduler cost.</summary>
/// <param name="Name">The scheduler, with its version.</param>
/// <param name="Decisions">How many.</param>
/// <param name="P50Ns">Median; null where it was not measured.</param>
/// <param name="P99Ns">99th percentile; null where it was not measured.</param>
public sealed record SchedulerDecisions(string Name, long Decisions, long? P50Ns, long? P99Ns);
