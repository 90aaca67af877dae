namespace Tessera.Sdk.Scheduling.Core;

/// <summary>The fixed parameters of a <see cref="SchedulerCore"/>.</summary>
public sealed record SchedulerCoreOptions
{
    /// <summary>How many physical CPUs there are, at least 1.</summary>
    public required int PcpuCount { get; init; }

    /// <summary>How they lie to each other; null for a flat machine.</summary>
    public MachineTopology? Topology { get; init; }

    /// <summary>
    /// How long a vCPU may stay runnable without being dispatched though a physical CPU of its affinity ran others or idled; zero
    /// turns the watchdog off. It is stretched for a vCPU whose weight entitles it to less than 1/512 of the runnable weight, by what
    /// the others are due for the time it last ran, and by the waiting that what the policy owes it allows (<see cref="LongestExcuse"/>).
    /// </summary>
    public Nanoseconds StarvationLimit { get; init; } = Nanoseconds.FromSeconds(30);

    /// <summary>
    /// The most by which a policy's word can put the watchdog off: how much longer than by its weight alone a vCPU may wait because of caps, budgets and
    /// reservations (<see cref="Sdk.Scheduling.IScheduler.EntitlementOf"/>). So a policy that answers whatever suits it is caught nevertheless.
    /// </summary>
    public Nanoseconds LongestExcuse { get; init; } = Nanoseconds.FromSeconds(3_600);

    /// <summary>How much host time one call into the policy may take; beyond it a guest notices. Zero: no limit. Needs <see cref="HostClock"/>.</summary>
    public Nanoseconds DecisionBudget { get; init; } = Nanoseconds.FromMilliseconds(100);

    /// <summary>
    /// How many calls over the budget are forgiven in a minute: a busy host takes the CPU from an innocent policy several times in that time. One that is
    /// slow itself is out within about a second.
    /// </summary>
    public int SlowCallsForgiven { get; init; } = 9;

    /// <summary>After how much time of <see cref="HangClock"/> inside one call <see cref="SchedulerCore.CheckHung"/> gives the call up.</summary>
    public Nanoseconds HangLimit { get; init; } = Nanoseconds.FromSeconds(1);

    /// <summary>The clock that decision cost and budget are measured with; null in virtual time, where there is no such cost.</summary>
    public TimeProvider? HostClock { get; init; }

    /// <summary>The clock that hangs are measured with; <see cref="HostClock"/> unless it is another. Without either no call is given up.</summary>
    public TimeProvider? HangClock { get; init; }

    /// <summary>The name ejections and reports give the fallback policy.</summary>
    public string FallbackName { get; init; } = "round-robin";
}

/// <summary>No policy is left: the fallback itself failed. The machine cannot go on.</summary>
public sealed class SchedulerFailedException(string message) : Exception(message);
