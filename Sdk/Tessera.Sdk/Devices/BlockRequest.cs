namespace Tessera.Sdk.Devices;

/// <summary>What a request asks for.</summary>
public enum BlockOperation
{
    /// <summary>Fill the segments from the disk.</summary>
    Read,

    /// <summary>Put the segments on the disk.</summary>
    Write,

    /// <summary>Make stable what has completed before; no range.</summary>
    Flush,

    /// <summary>The range is no longer needed: each of its sectors reads as before or as zeroes from now on.</summary>
    Discard,

    /// <summary>The range reads as zeroes from now on.</summary>
    WriteZeroes,
}

/// <summary>
/// One operation on a disk and the memory it works on. Made once by whoever submits it (the kernel, a decorating backend) and used again
/// after each completion, so that no request costs an allocation.
/// </summary>
/// <remarks>Its owner fills it, submits it, and may touch it again when its callback is called. Not thread-safe in itself: it is handed on.</remarks>
/// <param name="maxSegments">The most segments it will have.</param>
/// <param name="completed">Called when it has completed, on the thread that completes it; must be quick and must not throw.</param>
public sealed class BlockRequest(int maxSegments, Action<BlockRequest> completed)
{
    private const int Idle = 0;
    private const int InFlight = 1;
    private const int Completing = 2;

    private readonly Memory<byte>[] _segments = new Memory<byte>[maxSegments];
    private int _count;
    private int _state;

    /// <summary>What to do.</summary>
    public BlockOperation Operation { get; private set; }

    /// <summary>Where on the disk, bytes.</summary>
    public long Offset { get; private set; }

    /// <summary>How much, bytes; for reads and writes the segments' sum.</summary>
    public long Length { get; private set; }

    /// <summary>How it ended; valid from completion to the next <see cref="Prepare"/>.</summary>
    public BlockStatus Status { get; private set; }

    /// <summary>The memory to read into or write from, in the disk's order; empty for other operations. Pieces of any length, any alignment.</summary>
    public ReadOnlySpan<Memory<byte>> Segments => _segments.AsSpan(0, _count);

    /// <summary>Its owner's.</summary>
    public object? Tag { get; set; }

    /// <summary>A link for whoever holds it at the moment, for queues that allocate nothing; meaningless after it has been handed on.</summary>
    public BlockRequest? Next { get; set; }

    /// <summary>Makes it ready for an operation; for reads and writes <see cref="Append"/> follows.</summary>
    /// <param name="operation">What to do.</param>
    /// <param name="offset">Where, bytes.</param>
    /// <param name="length">How much, bytes; 0 for reads and writes, whose segments say.</param>
    /// <exception cref="InvalidOperationException">It is in flight.</exception>
    public void Prepare(BlockOperation operation, long offset = 0, long length = 0)
    {
        if (Interlocked.CompareExchange(ref _state, InFlight, Idle) != Idle)
            throw new InvalidOperationException("The request is in flight: it can be used again when it has completed.");
        (Operation, Offset, Length, Next) = (operation, offset, length, null);
        _count = 0;
    }

    /// <summary>Adds memory at the end, before submission.</summary>
    /// <param name="memory">The memory; must stay until completion.</param>
    /// <exception cref="IndexOutOfRangeException">It has its most segments already.</exception>
    public void Append(Memory<byte> memory)
    {
        _segments[_count] = memory;
        _count++;
        Length += memory.Length;
    }

    /// <summary>Ends it. Called by the backend, once.</summary>
    /// <param name="status">How it ended.</param>
    /// <exception cref="InvalidOperationException">It has completed already.</exception>
    public void Complete(BlockStatus status)
    {
        if (Interlocked.CompareExchange(ref _state, Completing, InFlight) != InFlight)
            throw new InvalidOperationException("The request has completed already: a backend completes each request once.");
        Status = status;
        Volatile.Write(ref _state, Idle);
        completed(this);
    }
}
