using Tessera.Sdk.SchedulerParts;
using Tessera.Sdk;

namespace Tessera.Plugins.Schedulers.Bvt;

/// <summary>
/// The vCPUs of one affinity: their queue, and the cap on their weights. A physical CPU looks at the heads of the groups that
/// include it, so a decision costs O(groups there + log n) however affinities overlap.
/// </summary>
internal sealed class AffinityGroup
{
    // Two heaps only for those whose effective and actual virtual times differ: a heap's nodes are in no cache when a guest has run for milliseconds.
    private readonly VcpuHeap<BvtVcpu> _unwarped = new(BvtVcpu.Unwarped);
    private readonly VcpuHeap<BvtVcpu> _warpedByEffective = new(BvtVcpu.WarpedByEffective);
    private readonly VcpuHeap<BvtVcpu> _warpedByActual = new(BvtVcpu.WarpedByActual);
    private readonly WeightCap _cap;
    private bool _isolated = true;

    /// <param name="pcpus">The physical CPUs all members may run on, ascending.</param>
    /// <param name="pcpuCount">How many the machine has.</param>
    public AffinityGroup(int[] pcpus, int pcpuCount)
    {
        Pcpus = pcpus;
        Bits = new(pcpuCount, pcpus);
        Running = pcpus.Length < RunningIndex.WorthwhilePcpus ? null : new();
        _cap = new(pcpus.Length);
    }

    /// <summary>The physical CPUs, ascending.</summary>
    public int[] Pcpus { get; }

    /// <summary>The same as bits.</summary>
    public PcpuBits Bits { get; }

    /// <summary>Those that run, in order; null where the physical CPUs are few.</summary>
    public RunningIndex? Running { get; }

    /// <summary>How many vCPUs have this affinity, in whatever state.</summary>
    public int Members { get; private set; }

    /// <summary>How many of them are runnable or running.</summary>
    public int RunnableCount => _cap.RunnableCount;

    /// <summary>The queued vCPU with the least effective virtual time.</summary>
    public BvtVcpu? Head
    {
        get
        {
            if (_warpedByEffective.Top is not { } warped)
                return _unwarped.Top;
            return _unwarped.Top is { } other && !warped.GoesBefore(other) ? other : warped;
        }
    }

    /// <summary>Working storage of the SVT computation over overlapping groups.</summary>
    public Int128? LeastActual { get; set; }

    /// <summary>The least actual virtual time of the queued, or null.</summary>
    public Int128? LeastQueuedActual
    {
        get
        {
            if (_warpedByActual.Count == 0)
                return _unwarped.Count > 0 ? _unwarped.TopKey : null;
            return _unwarped.Count > 0 ? Int128.Min(_unwarped.TopKey, _warpedByActual.TopKey) : _warpedByActual.TopKey;
        }
    }

    /// <summary>
    /// True while no other group shares a physical CPU with this one. Only then is a cap on weights right: beside outsiders a heavy
    /// vCPU may well have more than its group's arithmetic says.
    /// </summary>
    public bool Isolated
    {
        get => _isolated;
        set
        {
            _isolated = value;
            _cap.Enabled = value;
        }
    }

    /// <summary>The machine's physical CPUs that an affinity has: sets that differ only beyond the machine are one group.</summary>
    public static int[] PcpusOf(CpuSet affinity, int pcpuCount) =>
        [.. Enumerable.Range(0, pcpuCount).Where(index => affinity.Contains(new PcpuId(index)))];

    public bool Overlaps(AffinityGroup other) => Array.Exists(Pcpus, pcpu => Array.BinarySearch(other.Pcpus, pcpu) >= 0);

    public void Join(BvtVcpu vcpu)
    {
        Members++;
        _unwarped.Reserve(Members);
        _warpedByEffective.Reserve(Members);
        _warpedByActual.Reserve(Members);
        _cap.Join(vcpu.Weight);
        Running?.Join(vcpu);
    }

    public void Leave(BvtVcpu vcpu)
    {
        Members--;
        _cap.Leave(vcpu.Weight);
        Running?.Leave(vcpu);
    }

    public void Woke(BvtVcpu vcpu) => _cap.Woke(vcpu.Weight);

    public void Slept(BvtVcpu vcpu) => _cap.Slept(vcpu.Weight);

    /// <summary>Queues a vCPU. One that just woke has the SVT, which is just what the least of the others has: it goes first.</summary>
    public void Enqueue(BvtVcpu vcpu)
    {
        if (!vcpu.Warped)
        {
            _unwarped.Add(vcpu, vcpu.Actual, ahead: vcpu.JustWoke);
            return;
        }

        _warpedByEffective.Add(vcpu, vcpu.Effective, ahead: vcpu.JustWoke);
        _warpedByActual.Add(vcpu, vcpu.Actual);
    }

    public void Dequeue(BvtVcpu vcpu)
    {
        _unwarped.Remove(vcpu);
        _warpedByEffective.Remove(vcpu);
        _warpedByActual.Remove(vcpu);
    }

    /// <summary>The weight a member is charged at, times 2^<see cref="VirtualTime.WeightBits"/>.</summary>
    public long ChargedWeight8(BvtVcpu vcpu) => Math.Min((long)vcpu.Weight << VirtualTime.WeightBits, _cap.Value8);
}
