using Tessera.Sdk.SchedulerParts;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;

namespace Tessera.Plugins.Schedulers.Bvt;

/// <summary>BVT's record of a vCPU.</summary>
internal sealed class BvtVcpu(SchedulableVcpu vcpu) : IHeapMember
{
    public const int Unwarped = 0;
    public const int WarpedByEffective = 1;
    public const int ByRewarp = 2;

    /// <summary>While it runs: by effective virtual time, the greatest first.</summary>
    public const int ByLead = 3;

    /// <summary>While it runs: by actual virtual time, the least first.</summary>
    public const int ByLag = 4;
    public const int WarpedByActual = 5;

    public readonly SchedulableVcpu Vcpu = vcpu;

    /// <summary>The queue of those with the same affinity.</summary>
    public AffinityGroup Group = null!;

    /// <summary>Those of its group with its weight; null where the physical CPUs are few.</summary>
    public RunningClass? RunningClass;

    /// <summary>The weight it is charged at; the handle's may be newer until Adjust.</summary>
    public int Weight;

    /// <summary>A_i, the actual virtual time.</summary>
    public Int128 Actual;

    /// <summary>CPU time not charged yet because it is less than an mcu.</summary>
    public Nanoseconds Remainder;

    public bool Runnable;
    public bool JustWoke;
    public bool Yielded;

    /// <summary>The physical CPU it runs on, or -1.</summary>
    public int Pcpu = -1;

    /// <summary>When it was given this CPU or last decided to stay there.</summary>
    public Nanoseconds StintStart;

    /// <summary>How much of the time since is charged already.</summary>
    public Nanoseconds StintCharged;

    public bool WarpOn;
    public Int128 WarpValue;
    public Nanoseconds WarpLimit;
    public Nanoseconds UnwarpTime;

    /// <summary>Warped at present.</summary>
    public bool Warped;

    /// <summary>CPU time used warped since it was last warped.</summary>
    public Nanoseconds WarpedRan;

    /// <inheritdoc/>
    public int[] Places { get; } = [-1, -1, -1, -1, -1, -1];

    /// <summary>E_i, the effective virtual time: least goes first.</summary>
    public Int128 Effective => Warped ? Actual - WarpValue : Actual;

    public bool Queued => Places[Unwarped] >= 0 || Places[WarpedByEffective] >= 0;

    /// <summary>Whether it goes before another by effective virtual time; of equals who just woke goes first.</summary>
    public bool GoesBefore(BvtVcpu other) => Effective < other.Effective || (Effective == other.Effective && JustWoke && !other.JustWoke);

    /// <summary>Whether it serves its unwarp time.</summary>
    public bool Unwarping => Places[ByRewarp] >= 0;
}
