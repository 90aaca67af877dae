namespace Tessera.Sdk.Scheduling.Core;

/// <summary>What one vCPU got so far.</summary>
/// <param name="CpuTime">Time on a physical CPU.</param>
/// <param name="WaitTime">Time runnable without a physical CPU.</param>
/// <param name="Wakes">Wakes that ended a block.</param>
/// <param name="Dispatches">Times it was switched in.</param>
/// <param name="Preemptions">Times it was switched out though it could have gone on.</param>
/// <param name="WakeLatency">From the instant at which it was to wake to running, since the start or the beginning of the window.</param>
public sealed record VcpuAccount(
    Nanoseconds CpuTime, Nanoseconds WaitTime, long Wakes, long Dispatches, long Preemptions, LatencySummary WakeLatency);

/// <summary>What one physical CPU did so far, from its first decision on.</summary>
/// <param name="Busy">Time with a vCPU.</param>
/// <param name="Idle">Time without.</param>
/// <param name="Switches">Decisions that put another vCPU on it than the one before.</param>
public sealed record PcpuAccount(Nanoseconds Busy, Nanoseconds Idle, long Switches);

/// <summary>What decisions cost: time inside the policy's Schedule.</summary>
/// <param name="Decisions">How many decisions were made.</param>
/// <param name="Cost">Host time of each; empty when the core has no host clock (virtual time).</param>
public sealed record DecisionAccount(long Decisions, LatencySummary Cost);

/// <summary>What one policy's decisions cost.</summary>
/// <param name="Policy">The policy's name.</param>
/// <param name="Account">Its decisions.</param>
public sealed record PolicyDecisions(string Policy, DecisionAccount Account);

/// <summary>Why a policy was ejected.</summary>
public enum EjectionReason
{
    /// <summary>It threw an exception.</summary>
    Threw,

    /// <summary>It chose a vCPU that could not run there.</summary>
    Nonsense,

    /// <summary>Its calls took longer than the budget.</summary>
    TooSlow,

    /// <summary>A call did not come back at all.</summary>
    Hung,

    /// <summary>It left a runnable vCPU waiting beyond the watchdog's limit.</summary>
    Starved,
}

/// <summary>One ejection of a policy.</summary>
/// <param name="Policy">The policy's name.</param>
/// <param name="Reason">Why.</param>
/// <param name="Evidence">What it did, in a sentence a person can act on.</param>
/// <param name="At">When, in machine time.</param>
public sealed record Ejection(string Policy, EjectionReason Reason, string Evidence, Nanoseconds At)
{
    /// <inheritdoc/>
    public override string ToString() => $"scheduler {Policy} ejected at {At} ({Reason}): {Evidence}";
}

/// <summary>What a physical CPU does until the core is asked again.</summary>
/// <param name="Vcpu">The vCPU to run; null to idle.</param>
/// <param name="Until">The instant to ask again at the latest; <see cref="Nanoseconds.Never"/> when only a kick ends the idling.</param>
/// <param name="Lost">True when the policy hung in this call and another thread took over the physical CPU: leave without touching anything.</param>
public readonly record struct Dispatch(SchedulableVcpu? Vcpu, Nanoseconds Until, bool Lost = false);
