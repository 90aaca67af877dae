using Tessera.Sdk.Scheduling.Core;


namespace Tessera.Sdk.Simulation;

/// <summary>What a vCPU of a <see cref="VirtualMachine"/> does: a sequence of bursts of CPU use and sleeps. One object serves one vCPU.</summary>
public abstract class Workload
{
    /// <summary>From the instant its sleep was over to the instant its own work went on, switch and wake costs included.</summary>
    public LatencyHistogram WakeLatency { get; } = new();

    /// <summary>Bursts, jobs or requests completed.</summary>
    public long Completed { get; protected set; }

    /// <summary>
    /// What to do from now on. Asked when the vCPU starts, when a burst has had its CPU time, and when a sleep is over; never while
    /// a burst has time left, so an answer may depend on what became of the one before.
    /// </summary>
    /// <param name="now">The instant.</param>
    public abstract WorkloadStep Next(Nanoseconds now);
}

/// <summary>One step of a <see cref="Workload"/>: a burst or a sleep.</summary>
public readonly record struct WorkloadStep
{
    private WorkloadStep(WorkloadStepKind kind, Nanoseconds time) => (Kind, Time) = (kind, time);

    /// <summary>What it is.</summary>
    public WorkloadStepKind Kind { get; }

    /// <summary>The burst's CPU time, or the instant the burst or the sleep ends.</summary>
    public Nanoseconds Time { get; }

    /// <summary>Uses so much CPU time; <see cref="Nanoseconds.Never"/> never stops.</summary>
    /// <param name="length">More than nothing.</param>
    public static WorkloadStep Run(Nanoseconds length)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length.Value, nameof(length));
        return new(WorkloadStepKind.Run, length);
    }

    /// <summary>Uses whatever CPU time it gets until an instant; who gets none until then looks once more at the clock and stops.</summary>
    /// <param name="instant">When it stops.</param>
    public static WorkloadStep RunUntil(Nanoseconds instant) => new(WorkloadStepKind.RunUntil, instant);

    /// <summary>Sleeps until an instant.</summary>
    /// <param name="instant">When it wakes; <see cref="Nanoseconds.Never"/> for good.</param>
    public static WorkloadStep SleepUntil(Nanoseconds instant) => new(WorkloadStepKind.Sleep, instant);
}

/// <summary>The kinds of <see cref="WorkloadStep"/>.</summary>
public enum WorkloadStepKind
{
    /// <summary>Sleeps until an instant.</summary>
    Sleep,

    /// <summary>Uses so much CPU time.</summary>
    Run,

    /// <summary>Uses CPU time until an instant.</summary>
    RunUntil,
}
