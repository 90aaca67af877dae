using System.Text;

namespace Tessera.Kernel.Store;

/// <summary>
/// What a connection has to say and its guest has not taken: answers and watch events in order. It is bounded whatever the guest does: no
/// request is read while too many answers wait, an event that waits already is not said twice, and beyond so many events a watch's become
/// one of the watched path itself.
/// </summary>
internal sealed partial class StoreOutbox(StoreQuota quota, Action news) : IStoreListener
{
    private readonly Lock _gate = new();
    private readonly Queue<Entry> _entries = new();
    private readonly HashSet<(StoreSubscription Watch, string Path)> _waiting = [];
    private byte[] _current = [];
    private int _sent;
    private int _answers;

    /// <summary>Whether another request may be read.</summary>
    public bool HasRoom
    {
        get
        {
            lock (_gate)
                return _answers < quota.Outstanding;
        }
    }

    /// <summary>Whether there is something to take.</summary>
    public bool IsEmpty
    {
        get
        {
            lock (_gate)
                return _sent == _current.Length && _entries.Count == 0;
        }
    }

    /// <summary>Queues an answer.</summary>
    public void Answer(StoreMessage type, uint request, uint transaction, ReadOnlySpan<byte> payload)
    {
        byte[] message = StoreHeader.Message(type, request, transaction, payload);
        lock (_gate)
        {
            _entries.Enqueue(new Entry(message, null, ""));
            _answers++;
        }
    }

    /// <inheritdoc/>
    public void OnEvent(StoreSubscription watch, string path)
    {
        lock (_gate)
        {
            if (_waiting.Count >= quota.Events || path.Length + watch.Token.Length + 2 > StoreHeader.MaxPayload)
                path = watch.Given;
            if (!_waiting.Add((watch, path)))
                return;
            _entries.Enqueue(new Entry(null, watch, path));
        }

        news();
    }

    /// <summary>Copies what comes next.</summary>
    /// <returns>How many bytes; less than the destination holds when there is no more.</returns>
    public int Take(Span<byte> destination)
    {
        lock (_gate)
        {
            int taken = 0;
            while (taken < destination.Length)
            {
                if (_sent == _current.Length && !TryNext())
                    break;
                int count = Math.Min(destination.Length - taken, _current.Length - _sent);
                _current.AsSpan(_sent, count).CopyTo(destination[taken..]);
                (_sent, taken) = (_sent + count, taken + count);
            }

            return taken;
        }
    }

    /// <summary>Forgets everything.</summary>
    public void Clear()
    {
        lock (_gate)
        {
            _entries.Clear();
            _waiting.Clear();
            (_current, _sent, _answers) = ([], 0, 0);
        }
    }

    private bool TryNext()
    {
        while (_entries.TryDequeue(out Entry entry))
        {
            if (entry.Watch is null)
                _answers--;
            else
                _ = _waiting.Remove((entry.Watch, entry.Path));
            if (entry.Bytes() is not { } message)
                continue;
            (_current, _sent) = (message, 0);
            return true;
        }

        return false;
    }

    private readonly record struct Entry(byte[]? Message, StoreSubscription? Watch, string Path)
    {
        /// <summary>What the guest gets; null when the watch was taken away meanwhile.</summary>
        public byte[]? Bytes()
        {
            if (Watch is null)
                return Message;
            // Latin-1 both ways: a token's bytes come back as they were.
            return Watch.IsRemoved ? null : StoreHeader.Message(StoreMessage.WatchEvent, 0, 0, Encoding.Latin1.GetBytes($"{Path}\0{Watch.Token}\0"));
        }
    }
}
