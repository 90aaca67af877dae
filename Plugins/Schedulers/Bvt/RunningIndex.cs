using Tessera.Sdk.SchedulerParts;
using Tessera.Sdk;

namespace Tessera.Plugins.Schedulers.Bvt;

/// <summary>
/// Finds among the running vCPUs of a group the one furthest ahead and the one furthest behind without looking at every physical
/// CPU. Virtual times of equal weight grow at the same pace, so their order stands while they run: a class for each weight, and in it a
/// heap by the instant at which the line of a virtual time would have been at zero.
/// </summary>
/// <remarks>
/// A search looks at the first of each class: O(distinct weights); a vCPU comes and goes in O(log p). A cap on weights that changes makes
/// the classes it touches be sorted anew when they are next looked at. No overflow: an instant is below 2^63 · 2^24, and a virtual time
/// below 2^80, times a weight below 2^39.
/// </remarks>
internal sealed class RunningIndex
{
    private readonly List<RunningClass> _classes = [];

    /// <summary>On fewer physical CPUs than this looking at each is faster.</summary>
    public const int WorthwhilePcpus = 12;

    public int ClassCount => _classes.Count;

    /// <summary>Finds or makes the class of a weight.</summary>
    public void Join(BvtVcpu vcpu)
    {
        int index = _classes.FindIndex(candidate => candidate.Weight == vcpu.Weight);
        if (index < 0)
        {
            index = _classes.Count;
            _classes.Add(new(vcpu.Weight));
        }

        vcpu.RunningClass = _classes[index];
        vcpu.RunningClass.Members++;
    }

    /// <summary>It is in no heap.</summary>
    public void Leave(BvtVcpu vcpu)
    {
        if (--vcpu.RunningClass!.Members == 0)
            _classes.Remove(vcpu.RunningClass);
        vcpu.RunningClass = null;
    }

    /// <summary>The running vCPU of a class with the greatest effective virtual time among those that may be preempted, or null.</summary>
    public BvtVcpu? FurthestAhead(int index) => Fresh(index).Ahead.Top;

    /// <summary>The running vCPU of a class with the least actual virtual time, or null.</summary>
    public BvtVcpu? FurthestBehind(int index) => Fresh(index).Behind.Top;

    private RunningClass Fresh(int index)
    {
        RunningClass found = _classes[index];
        found.Refresh();
        return found;
    }
}

/// <summary>The running vCPUs of one weight.</summary>
internal sealed class RunningClass(int weight)
{
    private readonly List<BvtVcpu> _moved = [];

    /// <summary>The weight they are charged at by the keys in the heaps.</summary>
    private long _weight8;

    public int Weight { get; } = weight;

    /// <summary>How many vCPUs of the group have this weight, in whatever state.</summary>
    public int Members { get; set; }

    /// <summary>Those whose physical CPU was not asked to decide, the greatest effective virtual time first.</summary>
    public VcpuHeap<BvtVcpu> Ahead { get; } = new(BvtVcpu.ByLead);

    /// <summary>All of them, the least actual virtual time first.</summary>
    public VcpuHeap<BvtVcpu> Behind { get; } = new(BvtVcpu.ByLag);

    /// <summary>A vCPU runs from now on.</summary>
    /// <param name="vcpu">It.</param>
    /// <param name="preemptible">Whether its physical CPU may still be asked to decide.</param>
    public void Add(BvtVcpu vcpu, bool preemptible)
    {
        Refresh();
        if (Behind.Count == 0)
            _weight8 = vcpu.Group.ChargedWeight8(vcpu);
        if (preemptible)
            Ahead.Add(vcpu, ZeroOf(vcpu, vcpu.Effective));
        Behind.Add(vcpu, -ZeroOf(vcpu, vcpu.Actual));
    }

    public void Remove(BvtVcpu vcpu)
    {
        Ahead.Remove(vcpu);
        Behind.Remove(vcpu);
    }

    /// <summary>Its effective virtual time has jumped.</summary>
    public void Moved(BvtVcpu vcpu)
    {
        Refresh();
        if (vcpu.Places[BvtVcpu.ByLead] < 0)
            return;
        Ahead.Remove(vcpu);
        Ahead.Add(vcpu, ZeroOf(vcpu, vcpu.Effective));
    }

    /// <summary>Sorts anew if they are charged at another weight than when they were put in.</summary>
    public void Refresh()
    {
        if (Behind.Top is not { } first || first.Group.ChargedWeight8(first) == _weight8)
            return;
        _weight8 = first.Group.ChargedWeight8(first);
        for (int place = 0; place < Behind.Count; place++)
            _moved.Add(Behind[place]);
        foreach (BvtVcpu vcpu in _moved)
        {
            bool preemptible = vcpu.Places[BvtVcpu.ByLead] >= 0;
            Remove(vcpu);
            if (preemptible)
                Ahead.Add(vcpu, ZeroOf(vcpu, vcpu.Effective));
            Behind.Add(vcpu, -ZeroOf(vcpu, vcpu.Actual));
        }

        _moved.Clear();
    }

    /// <summary>When a virtual time that grows with this run would have been at zero, in 1/2^24 ns: the earlier, the greater it is at any instant.</summary>
    private Int128 ZeroOf(BvtVcpu vcpu, Int128 virtualTime)
    {
        Nanoseconds from = vcpu.StintStart + vcpu.StintCharged - vcpu.Remainder;
        return ((Int128)from.Value << VirtualTime.ScaleBits) - (virtualTime * _weight8);
    }
}
