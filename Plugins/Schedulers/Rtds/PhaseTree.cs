namespace Tessera.Plugins.Schedulers.Rtds;

/// <summary>
/// Servers of one period that wait with their budget, in the order of the ends of their periods within it. That order goes round in a circle and
/// never changes, so the earliest deadline is found without moving anybody when periods end.
/// </summary>
/// <remarks>
/// A treap (C. R. Aragon and R. Seidel, 1989) through the records themselves: nothing allocates, and all operations are O(log n) expected. The ranks
/// are a hash of a running number, so equal input gives equal trees.
/// </remarks>
internal sealed class PhaseTree
{
    private RtdsVcpu? _root;
    private ulong _arrivals;

    public bool IsEmpty => _root is null;

    /// <param name="vcpu">In no tree.</param>
    /// <param name="phase">When in the period its periods end, ns.</param>
    public void Add(RtdsVcpu vcpu, long phase)
    {
        vcpu.Node.Phase = phase;
        vcpu.Node.Arrival = _arrivals++;
        vcpu.Node.Rank = Scatter(vcpu.Node.Arrival);
        vcpu.Node.Queued = true;
        ref RtdsVcpu? link = ref _root;
        while (link is not null && link.Node.Rank >= vcpu.Node.Rank)
            link = ref vcpu.PrecedesInTree(link) ? ref link.Node.Less : ref link.Node.More;
        RtdsVcpu? rest = link;
        link = vcpu;

        // What was below goes to the left or to the right of it.
        ref RtdsVcpu? less = ref vcpu.Node.Less;
        ref RtdsVcpu? more = ref vcpu.Node.More;
        while (rest is not null)
        {
            if (rest.PrecedesInTree(vcpu))
            {
                less = rest;
                less = ref rest.Node.More;
                rest = less;
            }
            else
            {
                more = rest;
                more = ref rest.Node.Less;
                rest = more;
            }
        }

        less = null;
        more = null;
    }

    public void Remove(RtdsVcpu vcpu)
    {
        ref RtdsVcpu? link = ref _root;
        while (link != vcpu)
            link = ref vcpu.PrecedesInTree(link!) ? ref link!.Node.Less : ref link!.Node.More;
        RtdsVcpu? less = vcpu.Node.Less;
        RtdsVcpu? more = vcpu.Node.More;
        while (less is not null && more is not null)
        {
            if (less.Node.Rank >= more.Node.Rank)
            {
                link = less;
                link = ref less.Node.More;
                less = link;
            }
            else
            {
                link = more;
                link = ref more.Node.Less;
                more = link;
            }
        }

        link = less ?? more;
        vcpu.Node = default;
    }

    /// <summary>The first whose period ends after this moment of it, going round; or null.</summary>
    public RtdsVcpu? FirstAfter(long phase) => Above(phase) ?? Above(-1);

    private RtdsVcpu? Above(long phase)
    {
        RtdsVcpu? first = null;
        for (RtdsVcpu? vcpu = _root; vcpu is not null;)
        {
            if (vcpu.Node.Phase > phase)
            {
                first = vcpu;
                vcpu = vcpu.Node.Less;
            }
            else
            {
                vcpu = vcpu.Node.More;
            }
        }

        return first;
    }

    /// <summary>SplitMix64's mixing.</summary>
    private static ulong Scatter(ulong number)
    {
        number = (number + 1) * 0x9E3779B97F4A7C15;
        number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9;
        number = (number ^ (number >> 27)) * 0x94D049BB133111EB;
        return number ^ (number >> 31);
    }
}

/// <summary>A record's place in a <see cref="PhaseTree"/>.</summary>
internal struct PhaseNode
{
    public RtdsVcpu? Less;
    public RtdsVcpu? More;
    public long Phase;
    public ulong Arrival;
    public ulong Rank;
    public bool Queued;
}
