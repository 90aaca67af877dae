using System.Collections.Immutable;
using Tessera.Guests;
using Tessera.Kernel.Devices.Block;
using Tessera.Kernel.Devices.Network;
using Tessera.Lab.Results;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Devices;

namespace Tessera.Experiments.Runs;

/// <summary>All counters at one moment.</summary>
public sealed record MachineReading
{
    /// <summary>Machine time.</summary>
    public required Nanoseconds At { get; init; }

    /// <summary>By domain, in the order of creation.</summary>
    public required IReadOnlyList<DomainReading> Domains { get; init; }

    /// <summary>By physical CPU.</summary>
    public required IReadOnlyList<PcpuReading> Pcpus { get; init; }

    /// <summary>Decisions since the window's start, by scheduler.</summary>
    public required IReadOnlyList<DecisionReading> Decisions { get; init; }

    /// <summary>Why the scheduler was replaced by the fallback; null when it was not.</summary>
    public string? SchedulerEjected { get; init; }

    /// <summary>Why the memory policy is no longer asked; null while it is.</summary>
    public string? MemoryPolicyFailure { get; init; }
}

/// <summary>One domain's counters.</summary>
public sealed record DomainReading
{
    /// <summary>Where it is in its life.</summary>
    public required DomainPhase Phase { get; init; }

    /// <summary>Time its vCPUs ran.</summary>
    public required Nanoseconds Running { get; init; }

    /// <summary>How often they became runnable.</summary>
    public required long Wakes { get; init; }

    /// <summary>From wake to running since the window's start, as the scheduler core saw it; null when it saw none.</summary>
    public LatencySummary? WakeLatency { get; init; }

    /// <summary>Traps by kind.</summary>
    public required IReadOnlyDictionary<string, long> Traps { get; init; }

    /// <summary>Hypercalls by name.</summary>
    public required IReadOnlyDictionary<string, long> Hypercalls { get; init; }

    /// <summary>Memory it owns.</summary>
    public required long AssignedBytes { get; init; }

    /// <summary>Host memory it takes.</summary>
    public required long ResidentBytes { get; init; }

    /// <summary>Code that its engine does not run, since it began.</summary>
    public IReadOnlyList<UnknownCode> UnknownCode { get; init; } = [];

    /// <summary>What a built-in guest reports; null for others.</summary>
    public GuestReport? Report { get; init; }

    /// <summary>Response times of what it was asked for, as a model counts them; null for others.</summary>
    public LatencyHistogram? Responses { get; init; }

    /// <summary>What its disks did since the window began, or since they were attached when there is none yet or they came later, by name.</summary>
    public IReadOnlyDictionary<string, BlockReading> Disks { get; init; } = ImmutableDictionary<string, BlockReading>.Empty;

    /// <summary>The same of its network interfaces, by number.</summary>
    public IReadOnlyDictionary<int, (MacAddress Address, NetworkReading Reading)> Nics { get; init; } = ImmutableDictionary<int, (MacAddress, NetworkReading)>.Empty;
}

/// <summary>What one scheduler decided.</summary>
/// <param name="Scheduler">Its name.</param>
/// <param name="Count">How many decisions.</param>
/// <param name="P50Ns">Median of their cost in ns; null where it was not measured.</param>
/// <param name="P99Ns">99th percentile of the same.</param>
public readonly record struct DecisionReading(string Scheduler, long Count, long? P50Ns, long? P99Ns)
{
    /// <summary>The core's account as a reading.</summary>
    public static DecisionReading Of(Sdk.Scheduling.Core.PolicyDecisions decisions)
    {
        Sdk.Scheduling.Core.LatencySummary cost = decisions.Account.Cost;
        return cost.Count == 0
            ? new(decisions.Policy, decisions.Account.Decisions, null, null)
            : new(decisions.Policy, decisions.Account.Decisions, cost.P50.Value, cost.P99.Value);
    }
}

/// <summary>One physical CPU's counters.</summary>
/// <param name="Busy">Time given to vCPUs.</param>
/// <param name="Idle">Time with nothing to run.</param>
/// <param name="Switches">Changes of vCPU.</param>
public readonly record struct PcpuReading(Nanoseconds Busy, Nanoseconds Idle, long Switches);
