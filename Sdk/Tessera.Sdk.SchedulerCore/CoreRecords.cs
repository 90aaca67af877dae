namespace Tessera.Sdk.Scheduling.Core;

/// <summary>The core's own record of a vCPU. Guarded by the core's lock.</summary>
internal sealed class VcpuRecord(SchedulerCore core, SchedulableVcpu vcpu)
{
    public readonly SchedulerCore Core = core;
    public readonly SchedulableVcpu Vcpu = vcpu;
    public readonly LatencyHistogram WakeLatency = new();

    /// <summary>The window that <see cref="WakeLatency"/> is of.</summary>
    public int Window;

    /// <summary>Position in the core's list.</summary>
    public int Index;

    /// <summary>The guest waits for a wake.</summary>
    public bool Blocked = true;

    /// <summary>A wake came while it was not blocked; the next sleep answers to it.</summary>
    public bool WakeKept;

    /// <summary>Administrative pauses in force.</summary>
    public int Pauses;

    /// <summary>The present policy was told that it is awake.</summary>
    public bool Told;

    /// <summary>What the policy owes it.</summary>
    public Entitlement Owed = Entitlement.ByWeight(vcpu.Domain.Weight);

    public bool Removed;

    /// <summary>Woken at <see cref="WokenAt"/> and not dispatched since.</summary>
    public bool LatencyOpen;

    /// <summary>When it was to wake: an instant in the past when the wake was late.</summary>
    public Nanoseconds WokenAt;

    public Nanoseconds BlockedAt;
    public Nanoseconds WaitSince;

    /// <summary>The watchdog's clock when the wait began.</summary>
    public long WaitWatched;

    public Nanoseconds DispatchedAt;

    /// <summary>How long it ran when it last ran, without a switch.</summary>
    public Nanoseconds LastStint;

    public Nanoseconds CpuTime;
    public Nanoseconds WaitTime;
    public long Wakes;
    public long Dispatches;
    public long Preemptions;

    public bool WantsRun => !Blocked && Pauses == 0 && !Removed;
}

/// <summary>The core's own record of a physical CPU. Guarded by the core's lock.</summary>
internal sealed class PcpuRecord(PcpuId id)
{
    public readonly PcpuId Id = id;

    /// <summary>The vCPU whose context is on this physical CPU, even when it was removed or its sleep is not yet told.</summary>
    public VcpuRecord? Occupant;

    /// <summary>What the policy believes runs here.</summary>
    public SchedulableVcpu? Known;

    /// <summary>It has called Schedule at least once.</summary>
    public bool Started;

    /// <summary>It was kicked and has not come yet.</summary>
    public bool Kicked;

    /// <summary>A reschedule was requested from within its own decision.</summary>
    public bool Again;

    public Nanoseconds RescheduleAt = Nanoseconds.Never;
    public Nanoseconds Until = Nanoseconds.Never;
    public Nanoseconds Since;

    /// <summary>The watchdog's clock at the last decision.</summary>
    public long DecidedWatched;

    public Nanoseconds Busy;
    public Nanoseconds Idle;
    public long Switches;
}

/// <summary>What the decisions of one policy cost. Guarded by the core's lock.</summary>
internal sealed class PolicyCost(string policy)
{
    public readonly string Policy = policy;
    public readonly LatencyHistogram Histogram = new();
    public long Decisions;
}
