using Tessera.Sdk.SchedulerParts;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;

namespace Tessera.Plugins.Schedulers.Rtds;

/// <summary>RTDS's record of a vCPU: a deferrable server.</summary>
internal sealed class RtdsVcpu(SchedulableVcpu vcpu) : VcpuRecord<RtdsVcpu>(vcpu, heaps: 2)
{
    /// <summary>The heap of those in extra time, by level and deadline.</summary>
    public const int InExtraTime = 0;

    /// <summary>The heap of those to whom the end of their period makes a difference, by that instant.</summary>
    public const int Replenishment = 1;

    /// <summary>Its place among those that wait with budget.</summary>
    public PhaseNode Node;

    /// <summary>Those of the same affinity and period.</summary>
    public ServerGroup Servers = null!;

    /// <summary>The length of periods from the next one on.</summary>
    public long Period;

    /// <summary>The length of the period it is in.</summary>
    public long PeriodInForce;

    public long Budget;
    public bool ExtraTime;

    /// <summary>Budget left in this period, ns.</summary>
    public long Left;

    /// <summary>How often the budget was used up in this period and given anew as extra time: 0 goes before 1, and so on.</summary>
    public long Level;

    /// <summary>The end of this period.</summary>
    public Nanoseconds Deadline = Nanoseconds.Zero;

    /// <summary>When it last stopped running.</summary>
    public Nanoseconds LastRan;

    public bool HasPeriod;

    /// <summary>CPU time left of its turn among those of equal deadline, ns: a turn is a budget long, also when a period ends in it.</summary>
    public long TurnLeft;

    public bool Depleted => Left <= 0;

    public bool Queued => Node.Queued || Places[InExtraTime] >= 0;

    public bool Precedes(RtdsVcpu other) => Level < other.Level || (Level == other.Level && Deadline < other.Deadline);

    /// <summary>Whether a waiting one goes before a running one.</summary>
    public bool GoesBefore(RtdsVcpu running) => Precedes(running) || (running.TurnLeft <= 0 && Ties(running));

    public bool Ties(RtdsVcpu other) => Level == other.Level && Deadline == other.Deadline;

    /// <summary>Of periods that end together, who ran longest ago goes first.</summary>
    public bool PrecedesInTree(RtdsVcpu other) =>
        Node.Phase != other.Node.Phase ? Node.Phase < other.Node.Phase
        : LastRan != other.LastRan ? LastRan < other.LastRan
        : Node.Arrival < other.Node.Arrival;

    /// <summary>Moves on to the period that contains this instant, budget full, if the one it is in is over and the next is as long.</summary>
    public void Refresh(Nanoseconds now)
    {
        if (Deadline <= now && PeriodInForce == Period)
            BeginPeriod(now);
    }

    /// <summary>Moves on to the period that contains this instant, budget full.</summary>
    public void BeginPeriod(Nanoseconds now)
    {
        long periods = HasPeriod ? ((now - Deadline).Value / Period) + 1 : 1;
        Nanoseconds from = HasPeriod ? Deadline : now;

        // The period fits any time the clock can show, except in its last days.
        Deadline = from.Value > long.MaxValue - (periods * Period) ? Nanoseconds.Never : from + new Nanoseconds(periods * Period);
        HasPeriod = true;
        Left = Budget;
        Level = 0;
    }
}
