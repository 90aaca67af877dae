using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Block;

/// <summary>
/// Threads that carry out requests with calls that block. Any number of requests may be submitted, and nothing is allocated.
/// </summary>
internal sealed class BlockWorkers : IDisposable
{
    private readonly Lock _gate = new();
    private readonly SemaphoreSlim _work = new(0);
    private readonly Func<BlockRequest, int, BlockStatus> _execute;
    private readonly IThreadDuties? _duties;
    private readonly Thread[] _threads;
    private BlockRequestQueue _queue;
    private bool _stopping;

    /// <summary>Starts the threads.</summary>
    /// <param name="name">Their name.</param>
    /// <param name="count">How many.</param>
    /// <param name="execute">Carries out a request on the worker of this number.</param>
    /// <param name="duties">Takes from the threads what they do not need.</param>
    public BlockWorkers(string name, int count, Func<BlockRequest, int, BlockStatus> execute, IThreadDuties? duties)
    {
        (_execute, _duties) = (execute, duties);
        _threads = new Thread[count];
        for (int index = 0; index < count; index++)
        {
            int worker = index;
            _threads[index] = new Thread(() => Work(worker), 256 << 10) { IsBackground = true, Name = name };
            _threads[index].Start();
        }
    }

    /// <summary>Queues a request.</summary>
    public void Submit(BlockRequest request)
    {
        lock (_gate)
            _queue.Add(request);
        _work.Release();
    }

    /// <summary>Carries out what is queued, and ends the threads.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_stopping)
                return;
            _stopping = true;
        }

        _work.Release(_threads.Length);
        foreach (Thread thread in _threads)
            thread.Join();
        _work.Dispose();
    }

    private BlockRequest? Take()
    {
        lock (_gate)
            return _queue.Take();
    }

    private void Work(int worker)
    {
        _duties?.Enter(ThreadDuty.Device);
        for (; ; )
        {
            _work.Wait();
            if (Take() is not { } request)
                return;
            BlockStatus status;
            try
            {
                status = _execute(request, worker);
            }
            catch (Exception)
            {
                // Whatever went wrong, the guest must learn that its data is not there.
                status = BlockStatus.IoError;
            }

            request.Complete(status);
        }
    }
}
