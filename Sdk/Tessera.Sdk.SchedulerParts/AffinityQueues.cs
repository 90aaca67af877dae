using Tessera.Sdk;

namespace Tessera.Sdk.SchedulerParts;

/// <summary>The vCPUs of one affinity, in a heap for each queue of the policy.</summary>
internal sealed class AffinityGroup<T>(int[] pcpus, int slots)
    where T : VcpuRecord<T>
{
    /// <summary>The physical CPUs they may run on, ascending.</summary>
    public int[] Pcpus { get; } = pcpus;

    public int Members { get; set; }

    public VcpuHeap<T>[] Heaps { get; } = [.. Enumerable.Range(0, slots).Select(static slot => new VcpuHeap<T>(slot))];
}

/// <summary>
/// Queues shared by all physical CPUs. vCPUs of equal affinity are in one heap, and a physical CPU looks at the heads of the heaps
/// that include it: a decision costs O(groups there + log n) however affinities overlap. Nothing allocates but Join.
/// </summary>
/// <param name="pcpuCount">The machine's physical CPUs.</param>
/// <param name="slots">How many queues the policy has; they are slots 0 to this less one of its records.</param>
internal sealed class AffinityQueues<T>(int pcpuCount, int slots)
    where T : VcpuRecord<T>
{
    private readonly List<AffinityGroup<T>> _groups = [];
    private readonly List<AffinityGroup<T>>[] _groupsOf = [.. Enumerable.Range(0, pcpuCount).Select(static _ => new List<AffinityGroup<T>>())];
    private readonly int[] _counts = new int[slots];

    /// <summary>How many are in a queue.</summary>
    public int CountIn(int slot) => _counts[slot];

    /// <summary>Finds or makes the group of its affinity. Sets that differ only beyond the machine are one group.</summary>
    public void Join(T record)
    {
        int[] pcpus = [.. Enumerable.Range(0, pcpuCount).Where(index => record.Vcpu.Affinity.Contains(new PcpuId(index)))];
        AffinityGroup<T>? group = _groups.Find(candidate => candidate.Pcpus.AsSpan().SequenceEqual(pcpus));
        if (group is null)
        {
            group = new(pcpus, slots);
            _groups.Add(group);
            foreach (int pcpu in pcpus)
                _groupsOf[pcpu].Add(group);
        }

        record.Group = group;
        group.Members++;
        foreach (VcpuHeap<T> heap in group.Heaps)
            heap.Reserve(group.Members);
    }

    /// <summary>It is in no queue.</summary>
    public void Leave(T record)
    {
        AffinityGroup<T> group = record.Group;
        if (--group.Members > 0)
            return;
        _groups.Remove(group);
        foreach (int pcpu in group.Pcpus)
            _groupsOf[pcpu].Remove(group);
    }

    /// <param name="record">In this queue not yet.</param>
    /// <param name="slot">Which queue.</param>
    /// <param name="key">The least goes first.</param>
    /// <param name="ahead">Before those of equal key.</param>
    public void Enqueue(T record, int slot, Int128 key, bool ahead = false)
    {
        record.Group.Heaps[slot].Add(record, key, ahead);
        _counts[slot]++;
    }

    /// <summary>Does nothing when it is not in the queue.</summary>
    public void Dequeue(T record, int slot)
    {
        if (record.Places[slot] < 0)
            return;
        record.Group.Heaps[slot].Remove(record);
        _counts[slot]--;
    }

    /// <summary>The first that may run on a physical CPU, or null.</summary>
    public T? Head(int pcpu, int slot) => Head(pcpu, slot, out _);

    /// <inheritdoc cref="Head(int, int)"/>
    public T? Head(int pcpu, int slot, out Int128 key)
    {
        T? head = null;
        key = Int128.MaxValue;
        foreach (AffinityGroup<T> group in _groupsOf[pcpu])
        {
            VcpuHeap<T> heap = group.Heaps[slot];
            if (heap.Count > 0 && (head is null || heap.TopKey < key))
                (head, key) = (heap.Top, heap.TopKey);
        }

        return head;
    }
}
