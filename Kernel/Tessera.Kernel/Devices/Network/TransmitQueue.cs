using Tessera.Kernel.Events;
using Tessera.Sdk;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Devices.Network;

/// <summary>
/// One transmit ring of an interface: takes frames off it, at most a budget in a turn, and hands them to the backend. The frame's header is copied, the rest
/// stays in the guest's pages, which are pinned while the backend has the frame. On the worker's thread only.
/// </summary>
internal sealed class TransmitQueue : DeviceTask, IDisposable
{
    /// <summary>Pieces of one frame; frontends know this number from the protocol.</summary>
    private const int MaxPieces = Netif.MinSlots;

    /// <summary>Pieces of a frame cost as much of the budget as one small frame.</summary>
    private const int PiecesPerBudget = 4;

    /// <summary>
    /// What a frame may be cut into: each segment costs whoever cuts it a set of headers, so that segments of one byte would make of a frame's work that of
    /// tens of thousands. With the least segment that every IPv4 host takes, 536 bytes, the largest frame has 122.
    /// </summary>
    private const int MaxSegments = 1024;

    /// <summary>Segments cost as much of the budget as one small frame.</summary>
    private const int SegmentsPerBudget = 16;

    private readonly SharedRing _ring;
    private readonly GrantAccess _grants;
    private readonly NetworkDevice _device;
    private readonly DeviceWorker _worker;
    private readonly ITimer _credit;
    private readonly byte[] _header = new byte[NetworkFrame.HeaderBytes];
    private readonly ReadOnlyMemory<byte>[] _rest = new ReadOnlyMemory<byte>[MaxPieces];
    private readonly NetTxRequest[] _pieces = new NetTxRequest[MaxPieces];
    private readonly GrantHandle?[] _pages = new GrantHandle?[MaxPieces];
    private readonly NetTxResponse[] _responses;
    private BackendChannel? _channel;
    private volatile bool _closing;
    private bool _toldBroken;
    private int _slots;
    private int _count;
    private int _segments;

    /// <summary>Takes over a mapped ring; <see cref="Open"/> begins.</summary>
    public TransmitQueue(SharedRing ring, GrantAccess grants, NetworkDevice device, DeviceWorker worker)
    {
        (_ring, _grants, _device, _worker) = (ring, grants, device, worker);
        _responses = new NetTxResponse[ring.Entries];
        _credit = worker.Time.CreateTimer(static queue => ((TransmitQueue)queue!).Schedule(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Frames come from now on.</summary>
    public void Open(BackendChannel channel)
    {
        _channel = channel;
        Schedule();
    }

    /// <summary>The guest has sent something, or may send again.</summary>
    public void Schedule() => _worker.Schedule(this);

    /// <inheritdoc/>
    public override bool Run(int budget)
    {
        if (_closing || _channel is null)
            return false;
        bool waits = false;
        bool took = false;
        while (budget > 0)
        {
            long now = _worker.Time.GetTimestamp();
            if (!_device.Rate.MaySend(now, out TimeSpan wait))
            {
                waits = _credit.Change(wait, Timeout.InfiniteTimeSpan);
                break;
            }

            if (!_ring.TryTake(out NetTxRequest first))
                break;
            took = true;
            Handle(first, now);
            budget -= 1 + Math.Max(_count / PiecesPerBudget, _segments / SegmentsPerBudget);
        }

        if (_ring.IsBroken)
        {
            if (!_toldBroken)
                _device.Counters.Broken();
            _toldBroken = true;
            return false;
        }

        if (took && _ring.Publish())
        {
            _device.Counters.Notified();
            _channel.Notify();
        }

        return !waits && _ring.FinalCheck();
    }

    /// <inheritdoc/>
    public override void Failed(Exception exception)
    {
        // Something of this queue's own: it takes nothing more, the others go on.
        _closing = true;
        Release();
        _device.Counters.Broken();
    }

    /// <inheritdoc/>
    public override void Hung()
    {
        _closing = true;
        _device.Hang();
        _device.Counters.Broken();
    }

    /// <summary>Whether a backend that hangs still has the guest's pages, and the ring with it.</summary>
    public bool IsLeftBehind { get; private set; }

    /// <summary>Takes nothing more and lets go of the guest's pages, unless a backend that hangs has them. Not from the worker.</summary>
    public void Dispose()
    {
        _closing = true;
        IsLeftBehind = !_worker.Remove(this);
        _credit.Dispose();
        if (IsLeftBehind)
            return;
        Release();
        _ring.Dispose();
    }

    private void Handle(in NetTxRequest first, long takenAt)
    {
        (_slots, _count, _segments) = (0, 0, 0);
        bool whole = TryGather(first, out int length, out FrameOffload offload) && TryMap(length, out int inHeader, out int pieces)
            && _device.Guard?.Allows(_header.AsSpan(0, inHeader)) != false && Send(new NetworkFrame(_header.AsSpan(0, inHeader), _rest.AsSpan(0, pieces), length, offload));
        Release();
        if (whole)
            _device.Counters.Sent(length, takenAt);
        else
            _device.Counters.Refused();
        // What was taken is answered, whatever it was; a slot of extra information says so, as frontends expect.
        for (int slot = 0; slot < _slots && !_ring.IsBroken; slot++)
        {
            if (!whole && _responses[slot].Status == NetStatus.Okay)
                _responses[slot].Status = NetStatus.Error;
            _ring.Put(in _responses[slot]);
        }
    }

    private bool Send(in NetworkFrame frame)
    {
        _device.Rate.Spend(frame.Length);
        return _device.Send(frame);
    }

    /// <summary>Takes a frame's slots off the ring and checks what they say.</summary>
    private bool TryGather(in NetTxRequest first, out int length, out FrameOffload offload)
    {
        length = first.Size;
        NetTxFlags flags = first.Flags;
        FrameChecksum checksum = (flags & NetTxFlags.CsumBlank) != 0 ? FrameChecksum.Blank : (flags & NetTxFlags.DataValidated) != 0 ? FrameChecksum.Verified : FrameChecksum.Complete;
        offload = new(checksum);
        Answer(first.Id, NetStatus.Okay);
        bool good = (flags & NetTxFlags.ExtraInfo) == 0 || TryTakeExtras(ref offload);
        _pieces[_count++] = first;
        int others = 0;
        while ((flags & NetTxFlags.MoreData) != 0)
        {
            if (!_ring.TryTake(out NetTxRequest piece))
                return false;
            Answer(piece.Id, NetStatus.Okay);
            (flags, others) = (piece.Flags, others + piece.Size);
            good &= _count < MaxPieces;
            if (good)
                _pieces[_count++] = piece;
        }

        int inFirst = length - others;
        if (!good || inFirst <= 0 || length < NetworkFrame.LeastBytes)
            return false;
        if (offload.Segmentation != FrameSegmentation.None)
        {
            _segments = length / offload.SegmentBytes;
            if (_segments > MaxSegments)
                return false;
        }

        _pieces[0].Size = (ushort)inFirst;
        for (int piece = 0; piece < _count; piece++)
        {
            if (_pieces[piece].Size == 0 || _pieces[piece].Offset + _pieces[piece].Size > GrantHandle.PageBytes)
                return false;
        }

        return true;
    }

    private bool TryTakeExtras(ref FrameOffload offload)
    {
        bool good = true;
        NetExtra extra;
        do
        {
            if (!_ring.TryTake(out NetTxRequest slot))
                return false;
            Answer(0, NetStatus.Null);
            extra = slot.Extra;
            // Cutting includes filling in checksums: a frame that has its own is not one to be cut.
            good &= extra.Type == NetExtraType.Gso && extra.GsoSize > 0 && extra.GsoType is NetGsoType.TcpV4 or NetGsoType.TcpV6
                && offload.Checksum == FrameChecksum.Blank && _device.Capabilities.Segmentation;
            offload = new(offload.Checksum, extra.GsoType == NetGsoType.TcpV6 ? FrameSegmentation.TcpV6 : FrameSegmentation.TcpV4, extra.GsoSize);
        }
        while ((extra.Flags & Netif.ExtraMore) != 0);
        return good;
    }

    private void Answer(ushort id, NetStatus status) => _responses[_slots++] = new NetTxResponse { Id = id, Status = status };

    /// <summary>Pins the frame's pages, and copies its header.</summary>
    private bool TryMap(int length, out int inHeader, out int pieces)
    {
        (inHeader, pieces) = (0, 0);
        int wanted = Math.Min(length, NetworkFrame.HeaderBytes);
        for (int index = 0; index < _count; index++)
        {
            if (_grants.TryMap(new GrantRef(_pieces[index].Grant), GrantMode.Read, out _pages[index]) != GrantStatus.Okay)
                return false;
            ReadOnlyMemory<byte> bytes = _pages[index]!.ReadOnlyMemory.Slice(_pieces[index].Offset, _pieces[index].Size);
            int copied = Math.Min(wanted - inHeader, bytes.Length);
            if (copied > 0)
                bytes.Span[..copied].CopyTo(_header.AsSpan(inHeader));
            inHeader += copied;
            if (copied < bytes.Length)
                _rest[pieces++] = bytes[copied..];
        }

        return true;
    }

    private void Release()
    {
        for (int index = 0; index < _count; index++)
        {
            _pages[index]?.Release();
            _pages[index] = null;
        }
    }
}
