using Tessera.Plugins.Block.Nbd.Native;
using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Block.Nbd;

/// <summary>
/// The thread that owns a connection: issues commands, waits for the server and for new requests at once, completes. When the connection
/// dies, everything under way and everything later ends with an error.
/// </summary>
internal sealed unsafe class NbdConnection : IDisposable
{
    private const int NonBlocking = 0x800;
    private const int CloseOnExec = 0x80000;

    private readonly Lock _gate = new();
    private readonly NbdHandle _handle;
    private readonly bool _zeroes;
    private readonly int _wake;
    private readonly Thread _thread;
    private readonly NbdSlot[] _slots;
    private readonly Stack<NbdSlot> _idle;
    private readonly Dictionary<long, NbdSlot> _underWay;
    private BlockRequest? _first;
    private BlockRequest? _last;
    private bool _stopping;
    private bool _dead;

    /// <summary>Takes over a connected handle.</summary>
    /// <param name="handle">The connection.</param>
    /// <param name="depth">Requests under way at once.</param>
    /// <param name="zeroes">Whether the server writes zeroes itself.</param>
    public NbdConnection(NbdHandle handle, int depth, bool zeroes)
    {
        (_handle, _zeroes) = (handle, zeroes);
        _wake = LibnbdNative.EventDescriptor(0, NonBlocking | CloseOnExec);
        if (_wake < 0)
            throw new BackendException("nbd: the host has no eventfd left.", "Raise the limit of open files (ulimit -n).");
        _slots = [.. Enumerable.Range(0, depth).Select(_ => new NbdSlot())];
        _idle = new Stack<NbdSlot>(_slots);
        _underWay = new Dictionary<long, NbdSlot>(depth);
        _thread = new Thread(Work) { IsBackground = true, Name = "tessera-nbd" };
        _thread.Start();
    }

    /// <summary>Queues a request. Any thread.</summary>
    public void Submit(BlockRequest request)
    {
        request.Next = null;
        lock (_gate)
        {
            if (_last is null)
                _first = request;
            else
                _last.Next = request;
            _last = request;
        }

        Wake();
    }

    /// <summary>Carries out what is queued, and closes the connection.</summary>
    public void Dispose()
    {
        lock (_gate)
            _stopping = true;
        Wake();
        _thread.Join();
        _handle.Dispose();
        foreach (NbdSlot slot in _slots)
            slot.Dispose();
        _ = LibnbdNative.CloseDescriptor(_wake);
    }

    private void Wake()
    {
        ulong one = 1;
        // SAFETY: eight bytes of a local; a full counter (EAGAIN) wakes just as well.
        _ = LibnbdNative.Write(_wake, &one, sizeof(ulong));
    }

    private void Work()
    {
        while (true)
        {
            while (_idle.Count > 0 && Take() is { } request)
                Begin(request);
            if (IsDone())
                return;
            Wait();
            Reap();
        }
    }

    private bool IsDone()
    {
        lock (_gate)
            return _stopping && _first is null && _underWay.Count == 0;
    }

    private BlockRequest? Take()
    {
        lock (_gate)
        {
            BlockRequest? request = _first;
            if (request is null)
                return null;
            _first = request.Next;
            if (_first is null)
                _last = null;
            request.Next = null;
            return request;
        }
    }

    private void Begin(BlockRequest request)
    {
        if (_dead)
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
        long cookie = slot.Next(_handle, _zeroes);
        if (cookie > 0)
            _underWay.Add(cookie, slot);
        else
            End(slot, cookie == 0 ? BlockStatus.Ok : BlockStatus.IoError);
    }

    private void End(NbdSlot slot, BlockStatus status)
    {
        BlockRequest request = slot.End();
        _idle.Push(slot);
        request.Complete(status);
    }

    private void Wait()
    {
        PollDescriptor* descriptors = stackalloc PollDescriptor[2];
        descriptors[0] = new PollDescriptor { Descriptor = _wake, Events = LibnbdNative.PollIn };
        uint direction = _dead ? 0 : LibnbdNative.GetDirection(_handle);
        short events = (short)(((direction & LibnbdNative.DirectionRead) != 0 ? LibnbdNative.PollIn : 0) | ((direction & LibnbdNative.DirectionWrite) != 0 ? LibnbdNative.PollOut : 0));
        int descriptor = _dead ? -1 : LibnbdNative.GetDescriptor(_handle);
        // A negative descriptor is passed over.
        descriptors[1] = new PollDescriptor { Descriptor = descriptor, Events = events };
        // SAFETY: two descriptors on this stack; the event counter is a local.
        if (LibnbdNative.Poll(descriptors, 2, -1) < 0)
            return;
        if ((descriptors[0].Returned & LibnbdNative.PollIn) != 0)
        {
            ulong count;
            _ = LibnbdNative.Read(_wake, &count, sizeof(ulong));
        }

        if (_dead)
            return;
        int result = 0;
        short returned = descriptors[1].Returned;
        if ((direction & LibnbdNative.DirectionRead) != 0 && returned != 0 && (returned & LibnbdNative.PollOut) == 0)
            result = LibnbdNative.NotifyRead(_handle);
        else if ((direction & LibnbdNative.DirectionWrite) != 0 && returned != 0)
            result = LibnbdNative.NotifyWrite(_handle);
        if (result < 0 || descriptor < 0)
            Die();
    }

    private void Reap()
    {
        while (!_dead)
        {
            long cookie = LibnbdNative.PeekCompleted(_handle);
            if (cookie <= 0 || !_underWay.Remove(cookie, out NbdSlot? slot))
                return;
            if (LibnbdNative.IsCompleted(_handle, (ulong)cookie) == 1)
            {
                slot.Took();
                Go(slot);
            }
            else
            {
                End(slot, LibnbdNative.GetErrno() == 28 ? BlockStatus.NoSpace : BlockStatus.IoError);
            }
        }
    }

    private void Die()
    {
        Reap();
        _dead = true;
        foreach (NbdSlot slot in _underWay.Values)
            End(slot, BlockStatus.IoError);
        _underWay.Clear();
    }
}
