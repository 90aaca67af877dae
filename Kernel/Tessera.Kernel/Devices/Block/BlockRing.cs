using System.Runtime.InteropServices;
using Tessera.Kernel.Events;
using Tessera.Sdk;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Devices.Block;

/// <summary>
/// One ring of a disk: takes requests, checks them, pins their pages and hands them to the backend; puts responses as the backend completes
/// them. A request that is not one is answered with an error. Runs on a device worker; completions come on any thread.
/// </summary>
internal sealed class BlockRing : DeviceTask, IDisposable
{
    /// <summary>The most segments of an indirect request: 1 MiB.</summary>
    public const int MaxSegments = 256;

    /// <summary>Grants kept mapped for a frontend that uses the same ones again: those of 32 requests of the plain size, and of 22 of the largest.</summary>
    private const int MaxPersistent = 5632;

    /// <summary>Segments that count as one more request against the budget: a flood of large requests gets no more than one of small ones.</summary>
    private const int SegmentsPerBudget = 16;

    /// <summary>Responses that wait for the others of a turn before the guest sees them.</summary>
    private const int ResponsesPerPublish = 8;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private readonly Lock _gate = new();
    private readonly SharedRing _ring;
    private readonly GrantAccess _grants;
    private volatile BlockGeometry _geometry;
    private readonly BlockCounters _counters;
    private readonly DeviceWorker _worker;
    private readonly BlockJob[] _idle;
    private readonly Dictionary<uint, GrantHandle>? _persistent;
    private readonly byte[] _indirect = new byte[MaxSegments * 8];
    private readonly ManualResetEventSlim _drained = new(initialState: true);

    /// <summary>In virtual time: what the backend has done and the guest is not told yet, in order.</summary>
    private readonly Queue<(BlockJob Job, BlockStatus Status)> _done = new();
    private readonly Action _answerFirst;
    private BackendChannel? _channel;
    private int _idleCount;
    private int _unpublished;
    private bool _running;
    private bool _closing;
    private bool _gone;
    private bool _toldBroken;

    /// <summary>Takes over a mapped ring; <see cref="Open"/> begins.</summary>
    public BlockRing(SharedRing ring, GrantAccess grants, IBlockBackend backend, BlockGeometry geometry, BlockCounters counters, DeviceWorker worker, bool persistent)
    {
        (_ring, _grants, Backend, _geometry, _counters, _worker) = (ring, grants, backend, geometry, counters, worker);
        _answerFirst = AnswerFirst;
        _idle = new BlockJob[ring.Entries];
        for (int index = 0; index < _idle.Length; index++)
            _idle[index] = new BlockJob(this);
        _idleCount = _idle.Length;
        _persistent = persistent ? new Dictionary<uint, GrantHandle>(MaxPersistent) : null;
    }

    /// <summary>Where the disk's data are.</summary>
    public IBlockBackend Backend { get; }

    /// <summary>Told when the backend throws.</summary>
    public Action<Exception>? Threw { get; init; }

    /// <summary>Told when the backend does not come back.</summary>
    public Action? Hangs { get; init; }

    /// <summary>Requests may reach as far as this from now on.</summary>
    public void Resize(BlockGeometry geometry) => _geometry = geometry;

    /// <summary>Requests come from now on.</summary>
    public void Open(BackendChannel channel)
    {
        lock (_gate)
            _channel = channel;
        Schedule();
    }

    /// <summary>The guest has put requests, or may have.</summary>
    public void Schedule() => _worker.Schedule(this);

    /// <inheritdoc/>
    public override bool Run(int budget)
    {
        lock (_gate)
        {
            if (_closing || _channel is null)
                return false;
            _running = true;
        }

        bool more = true;
        while (budget > 0 && more)
        {
            more = TryTake(out BlkifRequest request, out BlockJob? job);
            if (more)
                budget -= 1 + (Handle(request, job!) / SegmentsPerBudget);
        }

        lock (_gate)
        {
            _running = false;
            if (_closing)
                return false;
            Publish();
            bool again = _ring.FinalCheck();
            if (!_ring.IsBroken)
                return again;
            if (!_toldBroken)
                _counters.Broken();
            _toldBroken = true;
            return false;
        }
    }

    /// <inheritdoc/>
    public override void Failed(Exception exception)
    {
        // A backend that throws breaks its promise: this ring takes nothing more, the others go on.
        lock (_gate)
        {
            _running = false;
            _closing = true;
        }

        _counters.Broken();
        Threw?.Invoke(exception);
    }

    /// <inheritdoc/>
    public override void Hung()
    {
        lock (_gate)
        {
            _running = false;
            _closing = true;
        }

        _counters.Broken();
        Hangs?.Invoke();
    }

    /// <summary>The backend has completed a job. Any thread.</summary>
    public void Finish(BlockJob job, BlockStatus status)
    {
        if (_worker.TryDelay(_answerFirst))
            _done.Enqueue((job, status));
        else
            Answer(job, status);
    }

    private void AnswerFirst()
    {
        if (_done.TryDequeue(out (BlockJob Job, BlockStatus Status) first))
            Answer(first.Job, first.Status);
    }

    private void Answer(BlockJob job, BlockStatus status)
    {
        _counters.Completed(job.Counted, job.Bytes, new(_worker.Time.GetElapsedTime(job.TakenAt).Ticks * 100), status != BlockStatus.Ok);
        job.Release();
        Respond(job, status switch
        {
            BlockStatus.Ok => BlkifStatus.Okay,
            BlockStatus.NotSupported => BlkifStatus.NotSupported,
            _ => BlkifStatus.Error,
        });
    }

    /// <summary>Whether a backend that hangs still has the guest's pages.</summary>
    public bool IsLeftBehind { get; private set; }

    /// <summary>
    /// Takes nothing more, waits for what is under way, and lets go of the guest's pages. A backend that does not come back in 10 s is left
    /// behind: its pages stay pinned, so what it still does harms nobody, and are let go when it does come back.
    /// </summary>
    public void Dispose()
    {
        BackendChannel? channel;
        lock (_gate)
        {
            _closing = true;
            channel = _channel;
            _channel = null;
        }

        channel?.Dispose();
        IsLeftBehind = !_worker.Remove(this);
        while (_done.Count > 0)
            AnswerFirst();
        // In virtual time nobody works on while this thread waits.
        if (_drained.Wait(_worker.IsVirtual ? TimeSpan.Zero : Patience))
            LetGo();
        else
            _ = Task.Run(WaitAndLetGo);
    }

    private void WaitAndLetGo()
    {
        _drained.Wait();
        LetGo();
    }

    private void LetGo()
    {
        lock (_gate)
        {
            if (_gone)
                return;
            _gone = true;
            if (_persistent is not null)
            {
                foreach (GrantHandle handle in _persistent.Values)
                    handle.Release();
                _persistent.Clear();
            }

            _ring.Dispose();
        }

        _drained.Dispose();
    }

    private bool TryTake(out BlkifRequest request, out BlockJob? job)
    {
        lock (_gate)
        {
            job = null;
            request = default;
            if (_closing || _idleCount == 0 || !_ring.TryTake(out request))
                return false;
            job = _idle[--_idleCount];
            _drained.Reset();
            return true;
        }
    }

    /// <summary>Begins a request or refuses it.</summary>
    /// <returns>Its segments.</returns>
    private int Handle(in BlkifRequest request, BlockJob job)
    {
        // Frontends expect the operation inside an indirect request in its response, as Linux's blkback sends it.
        job.Begin(request.Id, request.Operation == BlkifOp.Indirect ? request.IndirectOperation : request.Operation, _worker.Time.GetTimestamp());
        switch (request.Operation)
        {
            case BlkifOp.Read or BlkifOp.Write or BlkifOp.WriteBarrier or BlkifOp.FlushDiskcache:
                int count = request.SegmentCount;
                if (count > Blkif.MaxSegments)
                    return Refuse(job);
                ReadOnlySpan<BlkifSegment> segments = ((ReadOnlySpan<BlkifSegment>)request.Segments)[..count];
                if (request.Operation is BlkifOp.WriteBarrier or BlkifOp.FlushDiskcache)
                    return count == 0 ? Flush(job) : Transfer(job, request.Sector, segments, isRead: false, withFlush: true);
                return Transfer(job, request.Sector, segments, request.Operation == BlkifOp.Read, withFlush: false);
            case BlkifOp.Indirect:
                return Indirect(request, job);
            case BlkifOp.Discard:
                return Discard(request, job);
            default:
                return Refuse(job, BlkifStatus.NotSupported);
        }
    }

    private static int Flush(BlockJob job)
    {
        job.Submit(BlockOperation.Flush, 0);
        return 0;
    }

    private int Discard(in BlkifRequest request, BlockJob job)
    {
        if (_geometry.DiscardGranularity == 0 || (request.DiscardFlag & Blkif.DiscardSecure) != 0)
            return Refuse(job, BlkifStatus.NotSupported);
        if (!InDisk(request.Sector, request.DiscardSectors) || _geometry.ReadOnly)
            return Refuse(job);
        job.Submit(BlockOperation.Discard, (long)request.Sector * Blkif.SectorBytes, (long)request.DiscardSectors * Blkif.SectorBytes);
        return 0;
    }

    private int Indirect(in BlkifRequest request, BlockJob job)
    {
        int count = request.IndirectSegmentCount;
        if (request.IndirectOperation is not (BlkifOp.Read or BlkifOp.Write) || count > MaxSegments)
            return Refuse(job);
        // A private copy: what is checked is what is used.
        Span<byte> bytes = _indirect.AsSpan(0, count * 8);
        for (int page = 0; page * Blkif.SegmentsPerPage < count; page++)
        {
            Span<byte> part = bytes[(page * GrantHandle.PageBytes)..];
            if (_grants.TryRead(new(request.IndirectGrants[page]), 0, part[..Math.Min(part.Length, GrantHandle.PageBytes)]) != GrantStatus.Okay)
                return Refuse(job);
        }

        return Transfer(job, request.Sector, MemoryMarshal.Cast<byte, BlkifSegment>(bytes), request.IndirectOperation == BlkifOp.Read, withFlush: false);
    }

    private int Transfer(BlockJob job, ulong sector, ReadOnlySpan<BlkifSegment> segments, bool isRead, bool withFlush)
    {
        ulong sectors = 0;
        foreach (ref readonly BlkifSegment segment in segments)
        {
            if (segment.FirstSector > segment.LastSector || segment.LastSector >= GrantHandle.PageBytes / Blkif.SectorBytes)
                return Refuse(job);
            sectors += (ulong)(segment.LastSector - segment.FirstSector + 1);
        }

        if (sectors == 0 || !InDisk(sector, sectors) || (!isRead && _geometry.ReadOnly))
            return Refuse(job);
        foreach (ref readonly BlkifSegment segment in segments)
        {
            if (Map(new(segment.Grant), isRead, out bool isTemporary) is not { } handle)
            {
                job.Release();
                return Refuse(job);
            }

            job.Add(handle, isTemporary, segment.FirstSector * Blkif.SectorBytes, (segment.LastSector - segment.FirstSector + 1) * Blkif.SectorBytes);
        }

        job.Submit(isRead ? BlockOperation.Read : BlockOperation.Write, (long)sector * Blkif.SectorBytes, withFlush: withFlush);
        return segments.Length;
    }

    private GrantHandle? Map(GrantRef reference, bool isRead, out bool isTemporary)
    {
        isTemporary = true;
        GrantHandle? handle;
        if (_persistent is null)
            return _grants.TryMap(reference, isRead ? GrantMode.Write : GrantMode.Read, out handle) == GrantStatus.Okay ? handle : null;
        if (_persistent.TryGetValue(reference.Value, out handle))
        {
            isTemporary = false;
            return isRead && handle.IsReadOnly ? null : handle;
        }

        // Kept ones serve reads and writes; a frontend that grants a page for reading only gets it mapped for this once.
        if (_grants.TryMap(reference, GrantMode.Write, out handle) != GrantStatus.Okay)
            return !isRead && _grants.TryMap(reference, GrantMode.Read, out handle) == GrantStatus.Okay ? handle : null;
        if (_persistent.Count < MaxPersistent)
        {
            _persistent.Add(reference.Value, handle!);
            isTemporary = false;
        }

        return handle;
    }

    private bool InDisk(ulong sector, ulong sectors)
    {
        ulong size = (ulong)_geometry.Size / Blkif.SectorBytes;
        return sector <= size && sectors <= size - sector && ((sector | sectors) & ((ulong)(_geometry.SectorSize / Blkif.SectorBytes) - 1)) == 0;
    }

    private int Refuse(BlockJob job, BlkifStatus status = BlkifStatus.Error)
    {
        _counters.Refused();
        Respond(job, status);
        return 0;
    }

    private void Respond(BlockJob job, BlkifStatus status)
    {
        lock (_gate)
        {
            if (!_ring.IsBroken)
            {
                _ring.Put(new BlkifResponse { Id = job.Id, Operation = job.Operation, Status = status });
                _unpublished++;
            }

            _idle[_idleCount++] = job;
            if (!_running || _unpublished >= ResponsesPerPublish)
                Publish();
            if (_idleCount == _idle.Length)
                _drained.Set();
        }
    }

    /// <summary>Shows the guest the responses put so far. Under the gate.</summary>
    private void Publish()
    {
        if (_unpublished == 0 || _ring.IsBroken)
            return;
        _unpublished = 0;
        if (!_ring.Publish() || _channel is null)
            return;
        _counters.Notified();
        _channel.Notify();
    }
}
