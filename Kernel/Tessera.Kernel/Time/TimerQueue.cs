using Tessera.Sdk;

namespace Tessera.Kernel.Time;

/// <summary>One alarm, armed at most once: in one queue, at one place. Its owner makes it once and arms it as often as it likes.</summary>
internal sealed class Alarm(Action expired)
{
    /// <summary>When it goes off; meaningful while <see cref="Queue"/> is set.</summary>
    public Nanoseconds Deadline;

    /// <summary>The queue it is armed in.</summary>
    public TimerQueue? Queue;

    /// <summary>Its place in the queue's heap.</summary>
    public int Index;

    /// <summary>Held while it is armed.</summary>
    public Lock Gate { get; } = new();

    /// <summary>Called on the queue's physical CPU, outside the queue's lock.</summary>
    public Action Expired { get; } = expired;
}

/// <summary>The alarms of one physical CPU, a binary heap by deadline. Arming allocates only when the heap grows past its record.</summary>
internal sealed class TimerQueue
{
    private readonly Lock _gate = new();
    private Alarm[] _heap = new Alarm[16];
    private int _count;
    private long _next = long.MaxValue;

    /// <summary>The earliest deadline, or <see cref="Nanoseconds.Never"/>.</summary>
    public Nanoseconds Next => new(Volatile.Read(ref _next));

    /// <summary>Arms an alarm here, wherever it was armed before.</summary>
    public void Arm(Alarm alarm, Nanoseconds deadline)
    {
        // The alarm's own lock, before the queue's: a vCPU and its period may arm it at once on two physical CPUs.
        lock (alarm.Gate)
        {
            Disarm(alarm);
            Insert(alarm, deadline);
        }
    }

    private void Insert(Alarm alarm, Nanoseconds deadline)
    {
        lock (_gate)
        {
            if (_count == _heap.Length)
                Array.Resize(ref _heap, _count * 2);
            alarm.Queue = this;
            alarm.Deadline = deadline;
            Place(alarm, _count++);
            Up(alarm.Index);
            Publish();
        }
    }

    /// <summary>Disarms an alarm in whichever queue it is.</summary>
    public static void Disarm(Alarm alarm)
    {
        TimerQueue? queue = alarm.Queue;
        if (queue is null)
            return;
        lock (queue._gate)
        {
            if (ReferenceEquals(alarm.Queue, queue))
                queue.Remove(alarm);
        }
    }

    /// <summary>Sets off every alarm that is due.</summary>
    public void Expire(Nanoseconds now)
    {
        while (Next <= now)
        {
            Alarm alarm;
            lock (_gate)
            {
                if (_count == 0 || _heap[0].Deadline > now)
                    return;
                alarm = _heap[0];
                Remove(alarm);
            }

            alarm.Expired();
        }
    }

    private void Remove(Alarm alarm)
    {
        int hole = alarm.Index;
        alarm.Queue = null;
        Alarm last = _heap[--_count];
        _heap[_count] = null!;
        if (!ReferenceEquals(last, alarm))
        {
            Place(last, hole);
            Up(hole);
            Down(last.Index);
        }

        Publish();
    }

    private void Up(int index)
    {
        Alarm alarm = _heap[index];
        while (index > 0 && _heap[(index - 1) / 2].Deadline > alarm.Deadline)
        {
            Place(_heap[(index - 1) / 2], index);
            index = (index - 1) / 2;
        }

        Place(alarm, index);
    }

    private void Down(int index)
    {
        Alarm alarm = _heap[index];
        while ((2 * index) + 1 < _count)
        {
            int child = (2 * index) + 1;
            if (child + 1 < _count && _heap[child + 1].Deadline < _heap[child].Deadline)
                child++;
            if (_heap[child].Deadline >= alarm.Deadline)
                break;
            Place(_heap[child], index);
            index = child;
        }

        Place(alarm, index);
    }

    private void Place(Alarm alarm, int index)
    {
        _heap[index] = alarm;
        alarm.Index = index;
    }

    private void Publish() => Volatile.Write(ref _next, _count == 0 ? long.MaxValue : _heap[0].Deadline.Value);
}
