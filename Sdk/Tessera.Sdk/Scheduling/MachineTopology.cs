namespace Tessera.Sdk.Scheduling;

/// <summary>
/// How a machine's physical CPUs lie to each other: which are threads of one core, which share their last level of cache, and which are
/// in one
/// NUMA node. Immutable, and the same for as long as the machine is there.
/// </summary>
/// <remarks>
/// Cores, caches and nodes are numbered from 0 in the order of their lowest physical CPU, so that a policy can keep a queue for each in
/// an array:
/// <c>queues[topology.CacheOf(pcpu)]</c>. A core lies in one cache and in one node; a cache may reach over several nodes, or a node
/// have several.
/// </remarks>
public sealed class MachineTopology
{
    private readonly Groups _cores;
    private readonly Groups _caches;
    private readonly Groups _nodes;

    /// <summary>Says where each physical CPU lies.</summary>
    /// <param name="places">One for each physical CPU, from 0. Only whether two of a kind are equal counts.</param>
    /// <exception cref="ArgumentException">There is none, or threads of one core do not share cache and node.</exception>
    public MachineTopology(params IReadOnlyList<PcpuPlace> places)
    {
        if (places.Count == 0)
            throw new ArgumentException("A machine has at least one physical CPU.", nameof(places));
        _cores = new Groups(places, static place => place.Core);
        _caches = new Groups(places, static place => place.Cache);
        _nodes = new Groups(places, static place => place.Node);
        foreach (PcpuPlace place in places)
        {
            PcpuPlace other = places.First(first => first.Core == place.Core);
            if (other != place)
                throw new ArgumentException($"Threads of core {place.Core} lie apart: {other} and {place}.", nameof(places));
        }
    }

    /// <summary>How many physical CPUs there are.</summary>
    public int PcpuCount => _cores.Of.Length;

    /// <summary>The threads of each core.</summary>
    public IReadOnlyList<CpuSet> Cores => _cores.Members;

    /// <summary>The physical CPUs that share each last level of cache.</summary>
    public IReadOnlyList<CpuSet> Caches => _caches.Members;

    /// <summary>The physical CPUs of each NUMA node.</summary>
    public IReadOnlyList<CpuSet> Nodes => _nodes.Members;

    /// <summary>
    /// A machine of which nothing is known: each physical CPU is a core of its own, and all are in one cache and one node.
    /// </summary>
    /// <param name="pcpus">How many physical CPUs it has, at least 1.</param>
    public static MachineTopology Flat(int pcpus) =>
        new([.. Enumerable.Range(0, pcpus).Select(static index => new PcpuPlace(index, 0, 0))]);

    /// <summary>The core of a physical CPU: an index into <see cref="Cores"/>.</summary>
    public int CoreOf(PcpuId pcpu) => _cores.Of[pcpu.Index];

    /// <summary>The cache of a physical CPU: an index into <see cref="Caches"/>.</summary>
    public int CacheOf(PcpuId pcpu) => _caches.Of[pcpu.Index];

    /// <summary>The node of a physical CPU: an index into <see cref="Nodes"/>.</summary>
    public int NodeOf(PcpuId pcpu) => _nodes.Of[pcpu.Index];

    /// <inheritdoc/>
    public override string ToString() =>
        $"cores {string.Join(" | ", Cores)}; caches {string.Join(" | ", Caches)}; nodes {string.Join(" | ", Nodes)}";

    /// <summary>Physical CPUs by what they share.</summary>
    private sealed class Groups
    {
        public Groups(IReadOnlyList<PcpuPlace> places, Func<PcpuPlace, int> shared)
        {
            List<int> known = [];
            Of = new int[places.Count];
            for (int index = 0; index < Of.Length; index++)
            {
                int group = known.IndexOf(shared(places[index]));
                if (group < 0)
                {
                    group = known.Count;
                    known.Add(shared(places[index]));
                }

                Of[index] = group;
            }

            Members = [.. known.Select((_, group) => CpuSet.Of([.. Enumerable.Range(0, Of.Length).Where(index => Of[index] == group)]))];
        }

        public int[] Of { get; }

        public CpuSet[] Members { get; }
    }
}

/// <summary>Where a physical CPU lies. Numbers are names: equal ones mean the same core, cache or node.</summary>
/// <param name="Core">Its core, which it may share with other threads.</param>
/// <param name="Cache">Its last level of cache.</param>
/// <param name="Node">Its NUMA node.</param>
public readonly record struct PcpuPlace(int Core, int Cache, int Node);
