using Tessera.Sdk;
using Tessera.Sdk.Scheduling;

namespace Tessera.Sdk.SchedulerParts;

/// <summary>What every policy keeps of a vCPU: where it runs, and how much of that is charged.</summary>
/// <typeparam name="T">The policy's own record, which derives from this.</typeparam>
/// <param name="vcpu">The handle.</param>
/// <param name="heaps">In how many heaps it can be.</param>
internal abstract class VcpuRecord<T>(SchedulableVcpu vcpu, int heaps) : IHeapMember
    where T : VcpuRecord<T>
{
    public readonly SchedulableVcpu Vcpu = vcpu;

    /// <summary>Those with the same affinity, when the policy queues by affinity.</summary>
    public AffinityGroup<T> Group = null!;

    /// <summary>The weight in force; the handle's may be newer until Adjust.</summary>
    public int Weight = vcpu.Domain.Weight;

    public bool Runnable;
    public bool Yielded;

    /// <summary>The physical CPU it runs on, or -1.</summary>
    public int Pcpu = -1;

    /// <summary>When the last decision let it run here.</summary>
    private Nanoseconds _stintStart;

    /// <summary>How much of the time since is charged already.</summary>
    private Nanoseconds _stintCharged;

    /// <inheritdoc/>
    public int[] Places { get; } = MakePlaces(heaps);

    /// <summary>CPU time up to now that is not charged yet.</summary>
    public long Open(Nanoseconds now) => Pcpu < 0 ? 0 : Math.Max(now.Value - _stintStart.Value - _stintCharged.Value, 0);

    /// <summary>The part of its run time that is not charged yet; the caller charges it.</summary>
    /// <param name="ran">How long it ran since the last decision.</param>
    public long TakeOpen(Nanoseconds ran)
    {
        long open = Math.Max(ran.Value - _stintCharged.Value, 0);
        _stintCharged += new Nanoseconds(open);
        return open;
    }

    /// <summary>The same in the middle of a run, for a change of parameters.</summary>
    public long TakeOpenAt(Nanoseconds now) => Pcpu < 0 ? 0 : TakeOpen(now - _stintStart);

    public void BeginStint(int pcpu, Nanoseconds now)
    {
        Pcpu = pcpu;
        Yielded = false;
        _stintStart = now;
        _stintCharged = Nanoseconds.Zero;
    }

    private static int[] MakePlaces(int heaps)
    {
        int[] places = new int[heaps];
        Array.Fill(places, -1);
        return places;
    }
}
