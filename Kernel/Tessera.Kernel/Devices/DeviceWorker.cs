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
}

/// <summary>
/// A thread that serves devices in turn, each with a budget of requests, so that one domain's flood costs the others no more than one budget of waiting (paper,
/// section 3.4). Scheduling a task allocates nothing and never blocks on a task: it is what a vCPU does when its guest notifies a backend.
/// </summary>
internal sealed class DeviceWorker : IDisposable
{
    private readonly Lock _gate = new();
    private readonly AutoResetEvent _news = new(initialState: false);
    private readonly Thread _thread;
    private readonly int _budget;
    private DeviceTask? _first;
    private DeviceTask? _last;
    private DeviceTask? _running;
    private bool _stopping;

    /// <summary>Starts the thread.</summary>
    /// <param name="name">Its name, for debuggers.</param>
    /// <param name="budget">Requests of one device in one turn.</param>
    public DeviceWorker(string name, int budget = 32)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(budget, 1);
        _budget = budget;
        _thread = new Thread(Work) { Name = name, IsBackground = true };
        _thread.Start();
    }

    /// <summary>Turns given so far.</summary>
    public long Turns { get; private set; }

    /// <summary>Lets a task run soon; once, however often it is said before it does. Any thread.</summary>
    public void Schedule(DeviceTask task)
    {
        lock (_gate)
        {
            if (_stopping || task.IsQueued)
                return;
            bool wasIdle = _first is null;
            Append(task);
            // The worker looks at the queue before it sleeps, under the lock; and the event is there as long as nobody stops it.
            if (wasIdle && _running is null)
                _ = _news.Set();
        }
    }

    /// <summary>Takes a task out and waits until it does not run any more. Not from the task itself.</summary>
    public void Remove(DeviceTask task)
    {
        SpinWait wait = default;
        while (true)
        {
            lock (_gate)
            {
                Unlink(task);
                if (!ReferenceEquals(_running, task))
                    return;
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

        _thread.Join();
        _news.Dispose();
    }

    private void Work()
    {
        Native.TimeSlice.Shorten();
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
