using System.Runtime.ExceptionServices;

namespace Tessera.Common;

/// <summary>How the wait for a piece of work ended.</summary>
internal enum WorkEnd
{
    /// <summary>It was done, or threw.</summary>
    Done,

    /// <summary>The queue is closed: it was not done.</summary>
    Closed,

    /// <summary>The thread did not come to it in time: it was not done.</summary>
    Late,

    /// <summary>The thread was given up in it.</summary>
    Abandoned,
}

/// <summary>What a thread is to do for others, one piece after the other, while they wait for it.</summary>
/// <param name="news">Called when there is something to do, for a thread that waits for other things as well.</param>
internal sealed class WorkQueue(Action? news = null)
{
    private readonly object _gate = new();
    private readonly Queue<Work> _waiting = new();
    private Work? _current;
    private bool _isClosed;

    /// <summary>Whether it takes nothing more.</summary>
    public bool IsClosed
    {
        get
        {
            lock (_gate)
                return _isClosed;
        }
    }

    /// <summary>Has the thread do something, and waits for it. Any other thread.</summary>
    /// <param name="action">What.</param>
    /// <param name="patience">How long until the thread must have begun it; null for as long as it takes.</param>
    /// <exception cref="Exception">What the work threw.</exception>
    public WorkEnd Do(Action action, TimeSpan? patience = null)
    {
        Work work = new(action);
        lock (_gate)
        {
            if (_isClosed)
                return WorkEnd.Closed;
            _waiting.Enqueue(work);
            Monitor.PulseAll(_gate);
        }

        news?.Invoke();
        lock (_gate)
        {
            long began = Environment.TickCount64;
            while (work.End is null)
            {
                // What was begun is waited for, however long it takes.
                if (patience is not { } limit || work == _current)
                {
                    _ = Monitor.Wait(_gate);
                    continue;
                }

                TimeSpan left = limit - TimeSpan.FromMilliseconds(Environment.TickCount64 - began);
                if (left <= TimeSpan.Zero)
                    work.End = WorkEnd.Late;
                else
                    _ = Monitor.Wait(_gate, left);
            }
        }

        work.Failure?.Throw();
        return work.End.Value;
    }

    /// <summary>Takes the next piece, to be done by <see cref="Finish"/>; the thread that works.</summary>
    /// <param name="waits">Whether to wait for one.</param>
    /// <returns>Null when there is none, and, after a wait, when the queue is closed.</returns>
    public Work? Take(bool waits)
    {
        lock (_gate)
        {
            while (true)
            {
                if (_waiting.TryDequeue(out Work? work))
                {
                    if (work.End is not null)
                        continue;
                    _current = work;
                    return work;
                }

                if (!waits || _isClosed)
                    return null;
                _ = Monitor.Wait(_gate);
            }
        }
    }

    /// <summary>Does what was taken.</summary>
    /// <returns>False when the thread was given up in it.</returns>
    public bool Finish(Work work)
    {
        work.Do();
        lock (_gate)
        {
            if (_current != work)
                return false;
            _current = null;
            work.End = WorkEnd.Done;
            Monitor.PulseAll(_gate);
            return true;
        }
    }

    /// <summary>The thread does not come back from what it does: whoever waits for that goes on.</summary>
    /// <returns>False when it does nothing.</returns>
    public bool TryAbandon()
    {
        lock (_gate)
        {
            if (_current is not { } stuck)
                return false;
            (stuck.End, _current) = (WorkEnd.Abandoned, null);
            Monitor.PulseAll(_gate);
            return true;
        }
    }

    /// <summary>Takes nothing more.</summary>
    /// <param name="drops">Whether what waits is not done either.</param>
    public void Close(bool drops = false)
    {
        lock (_gate)
        {
            _isClosed = true;
            while (drops && _waiting.TryDequeue(out Work? work))
                work.End ??= WorkEnd.Closed;
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>One piece.</summary>
    /// <param name="action">What is to be done.</param>
    internal sealed class Work(Action action)
    {
        /// <summary>How it ended; null while it waits or is being done. Under the queue's gate.</summary>
        public WorkEnd? End { get; set; }

        /// <summary>What it threw.</summary>
        public ExceptionDispatchInfo? Failure { get; private set; }

        /// <summary>Does it.</summary>
        public void Do()
        {
            try
            {
                action();
            }
            catch (Exception exception)
            {
                Failure = ExceptionDispatchInfo.Capture(exception);
            }
        }
    }
}
