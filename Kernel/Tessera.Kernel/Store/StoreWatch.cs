using System.Diagnostics.CodeAnalysis;
using System.Threading.Channels;
using Tessera.Sdk;

namespace Tessera.Kernel.Store;

/// <summary>A watch of somebody inside the VMM; disposing of it ends it. A path that waits to be told is not told twice.</summary>
public sealed class StoreWatch : IStoreListener, IThreadPoolWorkItem, IDisposable
{
    private readonly Lock _gate = new();
    private readonly Queue<string> _changed = new();
    private readonly HashSet<string> _waiting = [];
    private readonly XenStore _store;
    private readonly DomainId _domain;
    private readonly string _path;
    private readonly string _token;
    private readonly Action<string>? _callback;
    private readonly Channel<bool> _news = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private bool _isCalling;
    private bool _disposed;

    internal StoreWatch(XenStore store, DomainId domain, string path, Action<string>? callback)
    {
        (_store, _domain, _path, _callback) = (store, domain, path, callback);
        _token = "vmm";
    }

    /// <inheritdoc/>
    void IStoreListener.OnEvent(StoreSubscription watch, string path)
    {
        lock (_gate)
        {
            if (_disposed || !_waiting.Add(path))
                return;
            _changed.Enqueue(path);
            if (_isCalling)
                return;
            _isCalling = _callback is not null;
        }

        if (_callback is null)
        {
            _ = _news.Writer.TryWrite(true);
            return;
        }

        _store.Post(this);
    }

    /// <inheritdoc/>
    void IThreadPoolWorkItem.Execute()
    {
        while (true)
        {
            string? path;
            lock (_gate)
            {
                if (!TryTake(out path))
                {
                    _isCalling = false;
                    return;
                }
            }

            _callback!(path);
        }
    }

    /// <summary>Takes the next changed path, for a watch without a callback.</summary>
    internal bool TryTake([NotNullWhen(true)] out string? path)
    {
        lock (_gate)
        {
            path = null;
            return !_disposed && _changed.TryDequeue(out path) && _waiting.Remove(path);
        }
    }

    /// <summary>Waits until there may be something to take.</summary>
    internal ValueTask<bool> WaitAsync(CancellationToken cancellation) => _news.Reader.ReadAsync(cancellation);

    /// <summary>Ends the watch. A call under way may still be running afterwards; none begins.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_disposed)
                return;
            _disposed = true;
            _changed.Clear();
            _waiting.Clear();
        }

        _ = _store.Unwatch(this, _domain, _path, _token);
    }

    internal XenErrno Set() => _store.Watch(this, _domain, _path, _token);
}
