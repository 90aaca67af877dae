using Tessera.Sdk.SchedulerParts;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;

namespace Tessera.Plugins.Schedulers.Sedf;

/// <summary>As what a vCPU runs; the lesser goes first.</summary>
internal enum TimeKind
{
    /// <summary>In its reserved slice, by deadline.</summary>
    Reserved,

    /// <summary>In extra time that makes up for a slice cut by a short sleep.</summary>
    Penalty,

    /// <summary>In extra time shared by weight.</summary>
    Extra,
}

/// <summary>SEDF's record of a vCPU. Its queues are numbered as <see cref="TimeKind"/>, and <see cref="Waiting"/>.</summary>
internal sealed class SedfVcpu(SchedulableVcpu vcpu) : VcpuRecord<SedfVcpu>(vcpu, heaps: 4)
{
    /// <summary>The heap of those whose next period has not begun, by its beginning.</summary>
    public const int Waiting = 3;

    public long FullPeriod;
    public long FullSlice;
    public Nanoseconds Latency;
    public bool ExtraTime;

    /// <summary>The period and slice in force: shorter than the full ones after a long sleep with a latency hint.</summary>
    public long Period;
    public long Slice;

    public bool HasDeadline;
    public Nanoseconds Deadline;

    /// <summary>How much of the slice is used in this period, ns.</summary>
    public long Used;

    /// <summary>The CPU time it lost by its last short sleep and has not made up for, ns.</summary>
    public long Lost;

    /// <summary>Its virtual time in extra time.</summary>
    public Int128 ExtraPass;

    public TimeKind RunsAs;

    /// <summary>When it last ran.</summary>
    public Nanoseconds LastRan;

    /// <summary>CPU time left of its turn among those of equal deadline, ns: a turn is a slice long, also when a period ends in it.</summary>
    public long TurnLeft;

    public Nanoseconds PeriodBegin => Deadline - new Nanoseconds(Period);

    public bool Precedes(SedfVcpu other, TimeKind kind) =>
        kind < other.RunsAs || (kind == TimeKind.Reserved && other.RunsAs == TimeKind.Reserved && Deadline < other.Deadline);

    /// <summary>Moves the deadline on to the first of its grid that is not past, with a fresh slice.</summary>
    public void SkipPast(Nanoseconds now)
    {
        long periods = ((now - Deadline).Value / Period) + 1;
        Deadline += new Nanoseconds(periods * Period);
        Used = 0;
    }
}
