namespace Tessera.Kernel.Machines;

/// <summary>
/// The way to the thread pool for threads that have given up what they do not need (<see cref="Sdk.Plugins.IThreadDuties"/>): the pool starts a worker on whichever thread
/// queues, and one that these started could do no more than they can. Queuing allocates nothing once the queue has its size.
/// </summary>
internal sealed class PoolDoor : IDisposable
{
    private readonly object _gate = new();
    private readonly Queue<IThreadPoolWorkItem> _items = new();
    private readonly Thread _thread;
    private bool _isOver;

    public PoolDoor()
    {
        _thread = new Thread(Loop) { Name = "tessera pool", IsBackground = true };
        _thread.Start();
    }

    /// <summary>Has the pool do it. Any thread; after the end nothing is done.</summary>
    public void Queue(IThreadPoolWorkItem item)
    {
        lock (_gate)
        {
            if (_isOver)
                return;
            _items.Enqueue(item);
            Monitor.Pulse(_gate);
        }
    }

    /// <summary>Hands over what is queued, and ends the thread.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _isOver = true;
            Monitor.Pulse(_gate);
        }

        _thread.Join();
    }

    private void Loop()
    {
        while (true)
        {
            IThreadPoolWorkItem? item;
            lock (_gate)
            {
                while (!_items.TryDequeue(out item))
                {
                    if (_isOver)
                        return;
                    _ = Monitor.Wait(_gate);
                }
            }

            _ = ThreadPool.UnsafeQueueUserWorkItem(item, preferLocal: false);
        }
    }
}
