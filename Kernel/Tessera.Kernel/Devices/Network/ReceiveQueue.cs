using Tessera.Kernel.Events;
using Tessera.Sdk;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Devices.Network;

/// <summary>
/// One receive ring of an interface: copies frames into the pages that the guest granted for them, or keeps a bounded backlog while it has granted too few.
/// Frames come from any thread; the guest is told by the worker, once for all frames of a turn.
/// </summary>
internal sealed class ReceiveQueue : DeviceTask, INetworkReceiver, IDisposable
{
    /// <summary>
    /// Bytes that wait for the guest: what a sender on the same physical CPU puts out before the receiver has its turn. More only delays.
    /// </summary>
    private const int BacklogBytes = 1 << 20;

    private readonly Lock _gate = new();
    private readonly FrameBacklog _backlog = new(BacklogBytes);
    private readonly SharedRing _ring;
    private readonly GrantAccess _grants;
    private readonly NetworkCounters _counters;
    private readonly DeviceWorker _worker;
    private readonly NetworkCapabilities _takes;
    private readonly bool _scatters;
    private readonly FrameFinisher? _offload;
    private BackendChannel? _channel;
    private bool _closing;
    private bool _unpublished;
    private bool _toldBroken;

    /// <summary>Takes over a mapped ring; <see cref="Open"/> begins.</summary>
    /// <param name="ring">The ring.</param>
    /// <param name="grants">The guest's grants.</param>
    /// <param name="counters">Where frames are counted.</param>
    /// <param name="worker">Who publishes.</param>
    /// <param name="takes">What the frontend takes.</param>
    /// <param name="scatters">Whether it takes frames in several slots.</param>
    public ReceiveQueue(SharedRing ring, GrantAccess grants, NetworkCounters counters, DeviceWorker worker, NetworkCapabilities takes, bool scatters)
    {
        (_ring, _grants, _counters, _worker, _takes, _scatters) = (ring, grants, counters, worker, takes, scatters);
        _offload = takes == NetworkCapabilities.All ? null : new FrameFinisher();
    }

    /// <summary>Frames go to the guest from now on.</summary>
    public void Open(BackendChannel channel)
    {
        lock (_gate)
            _channel = channel;
    }

    /// <summary>The guest has granted more pages, or there is something to publish.</summary>
    public void Schedule() => _worker.Schedule(this);

    /// <summary>Takes a frame for the guest. Any thread.</summary>
    /// <returns>False when it was dropped.</returns>
    public bool Take(in NetworkFrame frame)
    {
        lock (_gate)
        {
            if (_closing || _channel is null || _ring.IsBroken)
                return false;
            return _offload is null ? Receive(frame) : _offload.Finish(frame, _takes, this);
        }
    }

    /// <summary>Takes a frame as the frontend takes it. Under the gate.</summary>
    public bool Receive(in NetworkFrame frame)
    {
        long now = _worker.Time.GetTimestamp();
        int slots = SlotsOf(frame);
        if (!_scatters && frame.Length > GrantHandle.PageBytes)
            return false;
        bool taken = _backlog.IsEmpty && _ring.Pending >= slots;
        if (taken)
            Write(frame, now);
        else
            taken = _backlog.TryAdd(frame, now);
        Schedule();
        return taken;
    }

    /// <inheritdoc/>
    public override bool Run(int budget)
    {
        lock (_gate)
        {
            if (_closing || _channel is null)
                return false;
            int wanted = 0;
            while (!_backlog.IsEmpty && budget-- > 0)
            {
                NetworkFrame frame = _backlog.Peek(out long arrivedAt);
                wanted = SlotsOf(frame);
                if (_ring.Pending < wanted)
                    break;
                Write(frame, arrivedAt);
                _backlog.Remove();
            }

            if (_ring.IsBroken)
            {
                if (!_toldBroken)
                    _counters.Broken();
                _toldBroken = true;
                return false;
            }

            if (_unpublished)
            {
                _unpublished = false;
                if (_ring.Publish())
                {
                    _counters.Notified();
                    _channel.Notify();
                }
            }

            return !_backlog.IsEmpty && _ring.FinalCheck(wanted);
        }
    }

    /// <inheritdoc/>
    public override void Failed(Exception exception)
    {
        lock (_gate)
            _closing = true;
        _counters.Broken();
    }

    /// <inheritdoc/>
    public override void Hung() => Failed(new TimeoutException());

    /// <summary>Takes nothing more and lets go of the guest's pages. Not from the worker.</summary>
    public void Dispose()
    {
        lock (_gate)
            _closing = true;
        _ = _worker.Remove(this);
        lock (_gate)
            _ring.Dispose();
    }

    private static int SlotsOf(in NetworkFrame frame) =>
        ((frame.Length + GrantHandle.PageBytes - 1) / GrantHandle.PageBytes) + (frame.Offload.Segmentation == FrameSegmentation.None ? 0 : 1);

    /// <summary>Puts a frame into the ring, which has the slots for it. Under the gate.</summary>
    private void Write(in NetworkFrame frame, long arrivedAt)
    {
        FrameOffload offload = frame.Offload;
        NetRxFlags flags = offload.Checksum switch
        {
            FrameChecksum.Blank => NetRxFlags.CsumBlank | NetRxFlags.DataValidated,
            FrameChecksum.Verified => NetRxFlags.DataValidated,
            _ => NetRxFlags.None,
        };
        if (offload.Segmentation != FrameSegmentation.None)
            flags |= NetRxFlags.ExtraInfo;
        Reader reader = new(frame);
        bool whole = true;
        for (int left = frame.Length; left > 0; flags = NetRxFlags.None)
        {
            if (!_ring.TryTake(out NetRxRequest request))
                return;
            int length = Math.Min(left, GrantHandle.PageBytes);
            left -= length;
            bool copied = TryCopy(ref reader, request.Grant, length);
            whole &= copied;
            NetRxFlags more = left > 0 ? NetRxFlags.MoreData : NetRxFlags.None;
            _ring.Put(new NetRxResponse { Id = request.Id, Flags = flags | more, Status = copied ? (short)length : (short)NetStatus.Error });
            _unpublished = true;
            if ((flags & NetRxFlags.ExtraInfo) == 0)
                continue;
            if (!_ring.TryTake(out request))
                return;
            _ring.Put(new NetExtra
            {
                Type = NetExtraType.Gso,
                GsoSize = (ushort)offload.SegmentBytes,
                GsoType = offload.Segmentation == FrameSegmentation.TcpV6 ? NetGsoType.TcpV6 : NetGsoType.TcpV4,
            });
        }

        if (whole)
            _counters.Received(frame.Length, arrivedAt);
        else
            _counters.Dropped();
    }

    private bool TryCopy(ref Reader reader, uint grant, int length)
    {
        if (_grants.TryMap(new GrantRef(grant), GrantMode.Write, out GrantHandle? page) != GrantStatus.Okay)
        {
            reader.Skip(length);
            return false;
        }

        reader.CopyTo(page!.Span[..length]);
        page.Release();
        return true;
    }

    /// <summary>Goes through a frame's pieces.</summary>
    private ref struct Reader(NetworkFrame frame)
    {
        private readonly ReadOnlySpan<ReadOnlyMemory<byte>> _rest = frame.Rest;
        private ReadOnlySpan<byte> _piece = frame.Header;
        private int _next;

        public void CopyTo(Span<byte> destination)
        {
            while (!destination.IsEmpty)
            {
                int length = Advance(destination.Length);
                _piece[..length].CopyTo(destination);
                _piece = _piece[length..];
                destination = destination[length..];
            }
        }

        public void Skip(int bytes)
        {
            while (bytes > 0)
            {
                int length = Advance(bytes);
                _piece = _piece[length..];
                bytes -= length;
            }
        }

        /// <summary>Comes to a piece with bytes left; how many of those wanted.</summary>
        private int Advance(int wanted)
        {
            while (_piece.IsEmpty)
                _piece = _rest[_next++].Span;
            return Math.Min(wanted, _piece.Length);
        }
    }
}
