using System.Runtime.InteropServices;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Devices.Block;

/// <summary>
/// One request of a frontend under way: its pinned pages, and the request that the backend has. A ring has as many as it has slots; each
/// is used again and again.
/// </summary>
internal sealed class BlockJob
{
    private readonly BlockRing _ring;
    private readonly GrantHandle?[] _temporary = new GrantHandle?[BlockRing.MaxSegments];
    private readonly Memory<byte>[] _memory = new Memory<byte>[BlockRing.MaxSegments];
    private readonly BlockRequest _request;
    private int _segments;
    private int _handles;
    private Stage _stage;
    private long _offset;

    public BlockJob(BlockRing ring)
    {
        _ring = ring;
        _request = new BlockRequest(BlockRing.MaxSegments, static request => ((BlockJob)request.Tag!).Completed()) { Tag = this };
    }

    /// <summary>Where a write with a flush stands: what was written before must be stable before it, and it before its response.</summary>
    private enum Stage
    {
        Only,
        FlushBefore,
        Write,
        FlushAfter,
    }

    /// <summary>The guest's own number of the request.</summary>
    public ulong Id { get; private set; }

    /// <summary>As the guest asked, for the response; of an indirect request what is inside.</summary>
    public BlkifOp Operation { get; private set; }

    /// <summary>What it counts as.</summary>
    public BlockOperation Counted { get; private set; }

    /// <summary>When it was taken off the ring: a time stamp of the worker's.</summary>
    public long TakenAt { get; private set; }

    /// <summary>Bytes moved, or given back.</summary>
    public long Bytes { get; private set; }

    /// <summary>Begins a new request.</summary>
    public void Begin(ulong id, BlkifOp operation, long takenAt)
    {
        (Id, Operation, TakenAt, Bytes) = (id, operation, takenAt, 0);
        (_segments, _handles) = (0, 0);
    }

    /// <summary>Adds a piece of a page.</summary>
    /// <param name="handle">The page.</param>
    /// <param name="isTemporary">Whether the page is to be released with the job.</param>
    /// <param name="start">First byte.</param>
    /// <param name="length">Bytes.</param>
    public void Add(GrantHandle handle, bool isTemporary, int start, int length)
    {
        if (isTemporary)
            _temporary[_handles++] = handle;
        // The backend gets memory it can write only where the grant allows it; for a write it has no reason to.
        _memory[_segments++] = MemoryMarshal.AsMemory(handle.ReadOnlyMemory).Slice(start, length);
        Bytes += length;
    }

    /// <summary>Hands it to the backend.</summary>
    /// <param name="operation">What to do.</param>
    /// <param name="offset">Where, bytes.</param>
    /// <param name="length">How much, for a discard.</param>
    /// <param name="withFlush">A write that is to be stable, and everything before it.</param>
    public void Submit(BlockOperation operation, long offset, long length = 0, bool withFlush = false)
    {
        (Counted, _offset) = (operation, offset);
        _stage = withFlush ? Stage.FlushBefore : Stage.Only;
        if (length > 0)
            Bytes = length;
        if (withFlush)
            _request.Prepare(BlockOperation.Flush);
        else
            Fill(operation, length);
        _ring.Backend.Submit(_request);
    }

    /// <summary>Lets go of the guest's pages.</summary>
    public void Release()
    {
        for (int index = 0; index < _handles; index++)
        {
            _temporary[index]!.Release();
            _temporary[index] = null;
        }

        _handles = 0;
        Array.Clear(_memory, 0, _segments);
        _segments = 0;
    }

    private void Fill(BlockOperation operation, long length)
    {
        _request.Prepare(operation, _offset, length);
        for (int index = 0; index < _segments; index++)
            _request.Append(_memory[index]);
    }

    private void Completed()
    {
        try
        {
            GoOn();
        }
        catch (Exception exception)
        {
            // On a backend's own thread, where an exception would end the process.
            _ring.Failed(exception);
        }
    }

    private void GoOn()
    {
        BlockStatus status = _request.Status;
        if (status == BlockStatus.Ok && _stage == Stage.FlushBefore)
        {
            _stage = Stage.Write;
            Fill(BlockOperation.Write, 0);
            SubmitNext();
        }
        else if (status == BlockStatus.Ok && _stage == Stage.Write)
        {
            _stage = Stage.FlushAfter;
            _request.Prepare(BlockOperation.Flush);
            SubmitNext();
        }
        else
        {
            _ring.Finish(this, status);
        }
    }

    /// <summary>On the backend's own thread, which what it throws must not end.</summary>
    private void SubmitNext()
    {
        try
        {
            _ring.Backend.Submit(_request);
        }
        catch (Exception exception)
        {
            _ring.Failed(exception);
        }
    }
}
