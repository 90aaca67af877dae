using Tessera.Plugins.Block.Nbd.Native;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;
using Tmds.Linux;

namespace Tessera.Plugins.Block.Nbd;

/// <summary>
/// The thread that owns a connection: issues commands, waits for the server and for new requests at once, completes. When the connection dies
/// it makes another: first everything is written again that the dead server had acknowledged and not made stable, then what was under way is
/// issued again, which is harmless because every command may be carried out twice. When that does not come about in time, everything ends with an error.
/// </summary>
internal sealed unsafe class NbdConnection : IDisposable
{
    private const int NoSpace = 28;
    private const int NotConnected = 107;
    private const int ShuttingDown = 108;

    private readonly Lock _gate = new();
    private readonly NbdRecovery _recovery;
    private readonly UnstableWrites _unstable;
    private readonly int _wake;
    private readonly Thread _thread;
    private readonly IThreadDuties? _duties;
    private readonly NbdSlot[] _slots;
    private readonly Stack<NbdSlot> _idle;
    private readonly Dictionary<long, NbdSlot> _underWay;
    private readonly Queue<NbdSlot> _waiting = new();
    private NbdHandle _handle;
    private NbdLimits _limits;
    private BlockRequestQueue _queue;
    private long _ownFlush;
    private long _ownFlushEnd;
    private bool _isLost;
    private bool _isDead;
    private bool _stopping;

    /// <summary>Takes over a connected handle.</summary>
    /// <param name="dialer">Makes the next ones.</param>
    /// <param name="handle">The connection.</param>
    /// <param name="limits">What its commands may ask for.</param>
    /// <param name="geometry">What the disk is like, and must stay.</param>
    /// <param name="patience">How long a server may be away; zero when its first absence is the end.</param>
    /// <param name="duties">Takes from the thread what it does not need.</param>
    public NbdConnection(NbdDialer dialer, NbdHandle handle, NbdLimits limits, BlockGeometry geometry, TimeSpan patience, IThreadDuties? duties)
    {
        (_handle, _limits, _duties) = (handle, limits, duties);
        _wake = LibC.eventfd(0, LibC.EFD_NONBLOCK | LibC.EFD_CLOEXEC);
        if (_wake < 0)
            throw new BackendException("nbd: the host has no eventfd left.", "Raise the limit of open files (ulimit -n).");
        _recovery = new NbdRecovery(dialer, geometry, patience, _wake, IsStopping);
        _unstable = new UnstableWrites(isKept: geometry.VolatileCache && patience > TimeSpan.Zero);
        _slots = [.. Enumerable.Range(0, geometry.QueueDepth).Select(_ => new NbdSlot())];
        _idle = new Stack<NbdSlot>(_slots);
        _underWay = new Dictionary<long, NbdSlot>(_slots.Length);
        _thread = new Thread(Work) { IsBackground = true, Name = "tessera-nbd" };
        _thread.Start();
    }

    /// <summary>Why requests wait or end with errors; null when they need not.</summary>
    public string? Problem => _recovery.Problem;

    /// <summary>Queues a request. Any thread.</summary>
    public void Submit(BlockRequest request)
    {
        lock (_gate)
            _queue.Add(request);
        Wake();
    }

    /// <summary>Carries out what is queued, unless the server is away, and closes the connection.</summary>
    public void Dispose()
    {
        lock (_gate)
            _stopping = true;
        Wake();
        _thread.Join();
        _handle.Dispose();
        foreach (NbdSlot slot in _slots)
            slot.Dispose();
        _unstable.Dispose();
        _ = LibC.close(_wake);
    }

    private void Wake()
    {
        ulong one = 1;
        // SAFETY: eight bytes of a local; a full counter (EAGAIN) wakes just as well.
        _ = LibC.write(_wake, &one, sizeof(ulong));
    }

    private void Work()
    {
        _duties?.Enter(ThreadDuty.Client);
        while (true)
        {
            if (_isLost)
                Recover();
            do
            {
                IssueWaiting();
                while (!_isLost && _waiting.Count == 0 && _idle.Count > 0 && Take() is { } request)
                    Begin(request);
            }
            while (NeedsOwnFlush);
            if (_isLost)
                continue;
            if (IsDone())
                break;
            Wait();
            Reap();
        }

        // A server that dies later should not take with it what a closed disk held.
        if (!_isDead && !_unstable.IsEmpty)
            _ = LibnbdNative.FlushNow(_handle, 0);
    }

    private bool NeedsOwnFlush => !_isLost && _waiting.Count > 0 && _ownFlush == 0 && !_unstable.IsEmpty;

    private bool IsStopping()
    {
        lock (_gate)
            return _stopping;
    }

    private bool IsDone()
    {
        lock (_gate)
            return _stopping && _queue.IsEmpty && _underWay.Count == 0 && _waiting.Count == 0;
    }

    private BlockRequest? Take()
    {
        lock (_gate)
            return _queue.Take();
    }

    private void Begin(BlockRequest request)
    {
        if (_isDead)
        {
            request.Complete(BlockStatus.IoError);
            return;
        }

        NbdSlot slot = _idle.Pop();
        slot.Begin(request);
        Go(slot);
    }

    private void Go(NbdSlot slot)
    {
        if (slot.Advance(_limits))
            Issue(slot);
        else
            End(slot, BlockStatus.Ok);
    }

    /// <summary>Issues a slot's command; it waits when there is no room to remember it.</summary>
    private void Issue(NbdSlot slot)
    {
        slot.Fit(_limits);
        if (!_unstable.TryReserve(slot.DataBytes))
        {
            _waiting.Enqueue(slot);
            return;
        }

        slot.Mark = _unstable.End;
        long cookie = slot.Issue(_handle, _limits);
        if (cookie > 0)
            _underWay.Add(cookie, slot);
        else
            Fail(slot, 0);
    }

    /// <summary>Issues what waits for room, and sees to it that there will be some.</summary>
    private void IssueWaiting()
    {
        for (int count = _waiting.Count; count > 0 && !_isLost; count--)
            Issue(_waiting.Dequeue());
        if (!NeedsOwnFlush)
            return;
        _ownFlushEnd = _unstable.End;
        _ownFlush = LibnbdNative.Flush(_handle, default, 0);
        if (_ownFlush < 0)
            EndOwnFlush(isStable: false);
    }

    private void EndOwnFlush(bool isStable)
    {
        _ownFlush = 0;
        if (isStable)
        {
            _unstable.DropBefore(_ownFlushEnd);
            return;
        }

        _isLost |= IsGone();
        // A server that cannot flush has no room for more.
        while (!_isLost && _waiting.TryDequeue(out NbdSlot? slot))
            End(slot, BlockStatus.IoError);
    }

    private bool IsGone() => LibnbdNative.IsDead(_handle) == 1 || LibnbdNative.IsClosed(_handle) == 1;

    private void Fail(NbdSlot slot, int errno)
    {
        _unstable.Release(slot.DataBytes);
        if (errno is NotConnected or ShuttingDown || IsGone())
        {
            // Not acknowledged: it is issued again.
            _isLost = true;
            _waiting.Enqueue(slot);
        }
        else
        {
            End(slot, errno == NoSpace ? BlockStatus.NoSpace : BlockStatus.IoError);
        }
    }

    private void End(NbdSlot slot, BlockStatus status)
    {
        BlockRequest request = slot.End();
        _idle.Push(slot);
        request.Complete(status);
    }

    private void Wait()
    {
        pollfd* descriptors = stackalloc pollfd[2];
        descriptors[0] = new pollfd { fd = _wake, events = LibC.POLLIN };
        uint direction = _isDead ? 0 : LibnbdNative.GetDirection(_handle);
        short events = (short)(((direction & LibnbdNative.DirectionRead) != 0 ? LibC.POLLIN : 0) | ((direction & LibnbdNative.DirectionWrite) != 0 ? LibC.POLLOUT : 0));
        int descriptor = _isDead ? -1 : LibnbdNative.GetDescriptor(_handle);
        // A negative descriptor is passed over.
        descriptors[1] = new pollfd { fd = descriptor, events = events };
        // SAFETY: two descriptors on this stack; the event counter is a local.
        if (LibC.poll(descriptors, 2, descriptor < 0 && !_isDead ? 0 : -1) < 0)
            return;
        if ((descriptors[0].revents & LibC.POLLIN) != 0)
        {
            ulong count;
            _ = LibC.read(_wake, &count, sizeof(ulong));
        }

        if (_isDead)
            return;
        int result = 0;
        short returned = descriptors[1].revents;
        if ((direction & LibnbdNative.DirectionRead) != 0 && returned != 0 && (returned & LibC.POLLOUT) == 0)
            result = LibnbdNative.NotifyRead(_handle);
        else if ((direction & LibnbdNative.DirectionWrite) != 0 && returned != 0)
            result = LibnbdNative.NotifyWrite(_handle);
        _isLost |= result < 0 || descriptor < 0 || IsGone();
    }

    private void Reap()
    {
        while (!_isDead)
        {
            long cookie = LibnbdNative.PeekCompleted(_handle);
            if (cookie <= 0)
                return;
            bool isWell = LibnbdNative.IsCompleted(_handle, (ulong)cookie) == 1;
            int errno = isWell ? 0 : LibnbdNative.GetErrno();
            if (cookie == _ownFlush)
                EndOwnFlush(isWell);
            else if (!_underWay.Remove(cookie, out NbdSlot? slot))
                return;
            else if (isWell)
                Took(slot);
            else
                Fail(slot, errno);
        }
    }

    private void Took(NbdSlot slot)
    {
        slot.Took();
        if (slot.Operation == BlockOperation.Flush)
            _unstable.DropBefore(slot.Mark);
        else if (slot.ChangesDisk)
            _unstable.Append(slot.CommandOffset, slot.CommandLength, slot.Data);
        // The next command of a lost connection waits for the next one.
        Go(slot);
    }

    private void Recover()
    {
        foreach (NbdSlot slot in _underWay.Values)
        {
            _unstable.Release(slot.DataBytes);
            _waiting.Enqueue(slot);
        }

        _underWay.Clear();
        _ownFlush = 0;
        _handle.Dispose();
        _isLost = false;
        if (_recovery.Connect(_unstable, out NbdLimits limits) is { } handle)
        {
            (_handle, _limits) = (handle, limits);
            return;
        }

        _isDead = true;
        while (_waiting.TryDequeue(out NbdSlot? slot))
            End(slot, BlockStatus.IoError);
    }
}
