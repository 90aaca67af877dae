namespace Tessera.Sdk.Simulation;

/// <summary>
/// The events to come, earliest first and those of one instant in the order they were added, so that a run never depends on
/// anything but its input. A four-way heap of plain structures: adding and taking allocate nothing once it has grown.
/// </summary>
internal sealed class EventQueue
{
    private const int Ways = 4;

    private SimulationEvent[] _heap = new SimulationEvent[64];
    private int _count;
    private long _order;

    /// <summary>When the next event is due; only while <see cref="IsEmpty"/> is false.</summary>
    public long NextAt => _heap[0].At;

    public bool IsEmpty => _count == 0;

    public void Add(long at, object target, long generation)
    {
        if (_count == _heap.Length)
            Array.Resize(ref _heap, _count * 2);
        SimulationEvent added = new(at, _order++, target, generation);
        int place = _count++;
        while (place > 0)
        {
            int parent = (place - 1) / Ways;
            if (!added.Precedes(in _heap[parent]))
                break;
            _heap[place] = _heap[parent];
            place = parent;
        }

        _heap[place] = added;
    }

    public SimulationEvent Take()
    {
        SimulationEvent first = _heap[0];
        SimulationEvent last = _heap[--_count];
        _heap[_count] = default;
        int place = 0;
        while (true)
        {
            int child = (place * Ways) + 1;
            if (child >= _count)
                break;
            int end = Math.Min(child + Ways, _count);
            int least = child;
            for (int other = child + 1; other < end; other++)
            {
                if (_heap[other].Precedes(in _heap[least]))
                    least = other;
            }

            if (!_heap[least].Precedes(in last))
                break;
            _heap[place] = _heap[least];
            place = least;
        }

        if (_count > 0)
            _heap[place] = last;
        return first;
    }
}

/// <summary>One event.</summary>
/// <param name="at">When, ns.</param>
/// <param name="order">Its number among all events of the run.</param>
/// <param name="target">The physical CPU that decides, the vCPU whose timer it is, or an <see cref="Action"/>.</param>
/// <param name="generation">Void when its target has moved on to another generation.</param>
internal readonly struct SimulationEvent(long at, long order, object target, long generation)
{
    public readonly long At = at;
    public readonly object Target = target;
    public readonly long Generation = generation;
    private readonly long _order = order;

    public bool Precedes(in SimulationEvent other) => At < other.At || (At == other.At && _order < other._order);
}
