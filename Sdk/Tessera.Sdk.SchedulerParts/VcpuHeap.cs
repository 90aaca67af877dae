namespace Tessera.Sdk.SchedulerParts;

/// <summary>What can be in heaps.</summary>
internal interface IHeapMember
{
    /// <summary>Its place in each <see cref="VcpuHeap{T}"/>, -1 when it is not in it; indexed by the heap's slot.</summary>
    int[] Places { get; }
}

/// <summary>
/// A min-heap of vCPUs that finds any member's place in O(1), so that any can leave in O(log n). Equal keys leave in order of arrival. Four ways:
/// each level moved costs a look at a vCPU's record, which among thousands is in no cache, and there are half as many levels.
/// </summary>
/// <param name="slot">Which of a member's <see cref="IHeapMember.Places"/> is this heap's.</param>
internal sealed class VcpuHeap<T>(int slot)
    where T : class, IHeapMember
{
    private const int Ways = 4;

    private Node[] _nodes = new Node[4];
    private long _arrivals;

    public int Count { get; private set; }

    public T? Top => Count > 0 ? _nodes[0].Vcpu : null;

    /// <summary>A member by its place: the first at 0, the rest in no order that means much.</summary>
    public T this[int place] => _nodes[place].Vcpu;

    public Int128 TopKey => _nodes[0].Key;

    /// <summary>Makes room, so that adding does not allocate.</summary>
    public void Reserve(int count)
    {
        if (count > _nodes.Length)
            Array.Resize(ref _nodes, Math.Max(count, _nodes.Length * 2));
    }

    /// <param name="vcpu">The vCPU, not in this heap.</param>
    /// <param name="key">What it is ordered by.</param>
    /// <param name="ahead">Whether it goes before those of equal key that did not arrive ahead.</param>
    public void Add(T vcpu, Int128 key, bool ahead = false)
    {
        Reserve(Count + 1);
        long arrival = _arrivals++;
        SiftUp(Count++, new(key, ahead ? arrival + long.MinValue : arrival, vcpu));
    }

    public void Remove(T vcpu)
    {
        int place = vcpu.Places[slot];
        if (place < 0)
            return;
        vcpu.Places[slot] = -1;
        Node last = _nodes[--Count];
        _nodes[Count] = default;
        if (place == Count)
            return;
        if (place > 0 && last.Precedes(in _nodes[(place - 1) / Ways]))
            SiftUp(place, last);
        else
            SiftDown(place, last);
    }

    private void SiftUp(int place, in Node node)
    {
        while (place > 0)
        {
            int parent = (place - 1) / Ways;
            if (!node.Precedes(in _nodes[parent]))
                break;
            Put(place, _nodes[parent]);
            place = parent;
        }

        Put(place, node);
    }

    private void SiftDown(int place, in Node node)
    {
        while (true)
        {
            int child = (place * Ways) + 1;
            if (child >= Count)
                break;
            int end = Math.Min(child + Ways, Count);
            for (int other = child + 1; other < end; other++)
            {
                if (_nodes[other].Precedes(in _nodes[child]))
                    child = other;
            }

            if (!_nodes[child].Precedes(in node))
                break;
            Put(place, _nodes[child]);
            place = child;
        }

        Put(place, node);
    }

    private void Put(int place, in Node node)
    {
        _nodes[place] = node;
        node.Vcpu.Places[slot] = place;
    }

    private readonly struct Node(Int128 key, long arrival, T vcpu)
    {
        public readonly Int128 Key = key;
        public readonly T Vcpu = vcpu;
        private readonly long _arrival = arrival;

        public bool Precedes(in Node other) => Key < other.Key || (Key == other.Key && _arrival < other._arrival);
    }
}
