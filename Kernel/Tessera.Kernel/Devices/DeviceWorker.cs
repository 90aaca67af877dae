using Tessera.Kernel.Time;
using Tessera.Sdk.Plugins;

namespace Tessera.Kernel.Devices;

/// <summary>One device's work, done by a <see cref="DeviceWorker"/> a piece at a time. To be derived by backends.</summary>
internal abstract class DeviceTask
{
    internal DeviceTask? Next { get; set; }

    internal bool IsQueued { get; set; }

    /// <summary>Does at most so many requests. On the worker's thread; one task is never run twice at once by one worker.</summary>
    /// <returns>True when there is more to do: the task comes again after the others have had their turn.</returns>
    public abstract bool Run(int budget);

    /// <summary>Run threw: the device is broken. On the worker's thread; the task is not run again until it is scheduled.</summary>
    public abstract void Failed(Exception exception);

    /// <summary>Run does not come back: the task is not run again, and what the backend may still be using must stay. On another thread, while Run goes on.</summary>
    public abstract void Hung();
}

/// <summary>
/// A thread that serves devices in turn, each with a budget of requests, so that one domain's flood costs the others no more than one budget of waiting (paper,
/// section 3.4). Scheduling a task allocates nothing and never blocks on a task: it is what a vCPU does when its guest notifies a backend.
/// A turn that does not end is left behind with its thread, and another thread serves the others.
/// </summary>
internal sealed class DeviceWorker : IDisposable
{
    /// <summary>A turn takes microseconds; one that two looks in succession find going on does not end.</summary>
    private static readonly TimeSpan LookEvery = TimeSpan.FromSeconds(20);

    private readonly Lock _gate = new();
    private readonly AutoResetEvent _news = new(initialState: false);
    private readonly string _name;
    private readonly int _budget;
    private readonly IThreadDuties? _duties;
    private readonly VirtualTime? _virtual;
    private readonly Action _takeTurn;
    private readonly Timer? _watch;
    private readonly HashSet<DeviceTask> _hung = [];
    private Thread? _thread;
    private bool _isPlanned;
    private int _generation;
    private long _lookedAt = -1;
    private DeviceTask? _first;
    private DeviceTask? _last;
    private DeviceTask? _running;
    private bool _stopping;

    /// <summary>Starts the thread.</summary>
    /// <param name="name">Its name, for debuggers.</param>
    /// <param name="budget">Requests of one device in one turn.</param>
    /// <param name="virtualTime">In virtual time there is no thread: turns are planned, and come when whoever drives the machine is there.</param>
    /// <param name="duties">Takes from the thread what it does not need.</param>
    public DeviceWorker(string name, int budget = 32, VirtualTime? virtualTime = null, IThreadDuties? duties = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(budget, 1);
        (_name, _budget, _virtual, _duties, _takeTurn) = (name, budget, virtualTime, duties, TakeTurn);
        if (virtualTime is not null)
            return;
        _thread = Start();
        _watch = new Timer(static worker => ((DeviceWorker)worker!).Look(), this, LookEvery, LookEvery);
    }

    /// <summary>Whether it has no thread, and turns come in virtual time.</summary>
    public bool IsVirtual => _virtual is not null;

    /// <summary>The time of devices.</summary>
    public TimeProvider Time => _virtual ?? TimeProvider.System;

    /// <summary>In virtual time: does something when a device's answer is due.</summary>
    /// <returns>False in the host's time, in which answers take what they take.</returns>
    public bool TryDelay(Action answer)
    {
        _virtual?.After(_virtual.Options.DeviceDelay, answer);
        return _virtual is not null;
    }

    /// <summary>Turns given so far.</summary>
    public long Turns { get; private set; }

    /// <summary>Lets a task run soon; once, however often it is said before it does. Any thread.</summary>
    public void Schedule(DeviceTask task)
    {
        lock (_gate)
        {
            if (_stopping || task.IsQueued || (_hung.Count > 0 && _hung.Contains(task)))
                return;
            bool wasIdle = _first is null;
            Append(task);
            if (_virtual is not null)
            {
                Plan();
                return;
            }

            // The worker looks at the queue before it sleeps, under the lock; and the event is there as long as nobody stops it.
            if (wasIdle && _running is null)
                _ = _news.Set();
        }
    }

    /// <summary>Takes a task out and waits until it does not run any more, or is found to be hanging. Not from the task itself.</summary>
    /// <returns>False when it hangs: what it uses must be left to it.</returns>
    public bool Remove(DeviceTask task)
    {
        SpinWait wait = default;
        while (true)
        {
            lock (_gate)
            {
                Unlink(task);
                if (_hung.Contains(task))
                    return false;
                if (!ReferenceEquals(_running, task))
                    return true;
            }

            wait.SpinOnce();
        }
    }

    /// <summary>Stops after the turn that goes on; tasks still queued are not run.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_stopping)
                return;
            _stopping = true;
            _ = _news.Set();
        }

        while (_thread is not null)
        {
            Thread thread;
            lock (_gate)
                thread = _thread;
            // Found hanging meanwhile, it has a successor, which sees that all is over.
            if (thread.Join(TimeSpan.FromMilliseconds(100)))
                break;
        }

        _watch?.Dispose();
        _news.Dispose();
    }

    /// <summary>Looks whether a turn goes on that went on at the last look; called in turn by a timer.</summary>
    internal void Look()
    {
        DeviceTask? task;
        lock (_gate)
        {
            bool isSame = _lookedAt == Turns && _running is not null;
            _lookedAt = _running is null ? -1 : Turns;
            if (!isSame)
                return;
            task = _running!;
            _ = _hung.Add(task);
            _running = null;
            _lookedAt = -1;
            _generation++;
            _thread = Start();
        }

        task.Hung();
    }

    private void Plan()
    {
        if (_isPlanned)
            return;
        _isPlanned = true;
        _virtual!.After(_virtual.Options.DeviceDelay, _takeTurn);
    }

    /// <summary>One task's turn in virtual time; the next one's, if there is one, is planned.</summary>
    private void TakeTurn()
    {
        DeviceTask? task;
        lock (_gate)
        {
            _isPlanned = false;
            task = _first;
            if (task is null || _stopping)
                return;
            Unlink(task);
            _running = task;
        }

        bool more = RunOne(task);
        lock (_gate)
        {
            Turns++;
            _running = null;
            if (more && !task.IsQueued)
                Append(task);
            if (_first is not null)
                Plan();
        }
    }

    private Thread Start()
    {
        int generation = _generation;
        Thread thread = new(() => Work(generation)) { Name = _name, IsBackground = true };
        thread.Start();
        return thread;
    }

    private void Work(int generation)
    {
        Native.TimeSlice.Shorten();
        _duties?.Enter(ThreadDuty.Device);
        while (true)
        {
            DeviceTask? task;
            lock (_gate)
            {
                if (_stopping)
                    return;
                task = _first;
                if (task is not null)
                    Unlink(task);
                _running = task;
            }

            if (task is null)
            {
                _ = _news.WaitOne();
                continue;
            }

            bool more = RunOne(task);
            lock (_gate)
            {
                // Left behind, and back after all: somebody else has the others.
                if (_generation != generation)
                    return;
                Turns++;
                _running = null;
                if (more && !task.IsQueued && !_stopping)
                    Append(task);
            }
        }
    }

    private bool RunOne(DeviceTask task)
    {
        try
        {
            return task.Run(_budget);
        }
        catch (Exception exception)
        {
            task.Failed(exception);
            return false;
        }
    }

    private void Append(DeviceTask task)
    {
        task.IsQueued = true;
        task.Next = null;
        if (_last is null)
            _first = task;
        else
            _last.Next = task;
        _last = task;
    }

    private void Unlink(DeviceTask task)
    {
        if (!task.IsQueued)
            return;
        DeviceTask? before = null;
        for (DeviceTask? at = _first; !ReferenceEquals(at, task); at = at!.Next)
            before = at;
        if (before is null)
            _first = task.Next;
        else
            before.Next = task.Next;
        if (ReferenceEquals(_last, task))
            _last = before;
        (task.IsQueued, task.Next) = (false, null);
    }
}
