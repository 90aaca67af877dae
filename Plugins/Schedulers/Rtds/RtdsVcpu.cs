using Tessera.Plugins.Schedulers.Common;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;

namespace Tessera.Plugins.Schedulers.Rtds;

/// <summary>RTDS's record of a vCPU: a deferrable server.</summary>
internal sealed class RtdsVcpu(SchedulableVcpu vcpu) : VcpuRecord<RtdsVcpu>(vcpu, heaps: 3)
{
    /// <summary>The queue of those with budget, by deadline.</summary>
    public const int WithBudget = 0;

    /// <summary>The queue of those in extra time, by level and deadline.</summary>
    public const int InExtraTime = 1;

    /// <summary>The heap of those awake, by the time of their replenishment.</summary>
    public const int Replenishment = 2;

    public long Period;
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

    public bool Depleted => Left <= 0;

    public bool Precedes(RtdsVcpu other) => Level < other.Level || (Level == other.Level && Deadline < other.Deadline);
}
