using Tessera.Sdk.Devices;

namespace Tessera.Sdk.Conformance.Block;

/// <summary>Drives a backend as the kernel would, for tests: submits and waits.</summary>
/// <param name="backend">The backend, opened.</param>
public sealed class BlockDriver(IBlockBackend backend)
{
    /// <summary>The most segments of one request here.</summary>
    public const int MaxSegments = 256;

    /// <summary>After how long a request counts as lost.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>Reads a range.</summary>
    /// <exception cref="InvalidOperationException">It ended badly, or not at all.</exception>
    public byte[] Read(long offset, int length)
    {
        byte[] bytes = new byte[length];
        Expect(Run(BlockOperation.Read, offset, 0, bytes), BlockOperation.Read, offset, length);
        return bytes;
    }

    /// <summary>Writes a range.</summary>
    /// <exception cref="InvalidOperationException">It ended badly, or not at all.</exception>
    public void Write(long offset, byte[] bytes) => Expect(Run(BlockOperation.Write, offset, 0, bytes), BlockOperation.Write, offset, bytes.Length);

    /// <summary>Flushes.</summary>
    /// <exception cref="InvalidOperationException">It ended badly, or not at all.</exception>
    public void Flush() => Expect(Run(BlockOperation.Flush, 0, 0), BlockOperation.Flush, 0, 0);

    /// <summary>Carries out one request.</summary>
    /// <param name="operation">What.</param>
    /// <param name="offset">Where.</param>
    /// <param name="length">How much, when there are no segments.</param>
    /// <param name="segments">The memory.</param>
    /// <exception cref="InvalidOperationException">It did not complete in time.</exception>
    public BlockStatus Run(BlockOperation operation, long offset, long length, params Memory<byte>[] segments)
    {
        BlockPending pending = Begin(operation, offset, length, segments);
        return pending.Wait(Patience);
    }

    /// <summary>Begins a request; parameters as of <see cref="Run"/>.</summary>
    public BlockPending Begin(BlockOperation operation, long offset, long length, params Memory<byte>[] segments)
    {
        BlockPending pending = new(Math.Max(1, segments.Length));
        pending.Request.Prepare(operation, offset, length);
        foreach (Memory<byte> segment in segments)
            pending.Request.Append(segment);
        backend.Submit(pending.Request);
        return pending;
    }

    private static void Expect(BlockStatus status, BlockOperation operation, long offset, long length)
    {
        if (status != BlockStatus.Ok)
            throw new InvalidOperationException($"{operation} of {length} bytes at {offset} ended with {status}.");
    }
}

/// <summary>A request under way.</summary>
public sealed class BlockPending
{
    private readonly TaskCompletionSource<BlockStatus> _done = new(TaskCreationOptions.RunContinuationsAsynchronously);

    internal BlockPending(int segments) => Request = new BlockRequest(segments, request => _done.TrySetResult(request.Status));

    /// <summary>The request.</summary>
    public BlockRequest Request { get; }

    /// <summary>Waits for its end.</summary>
    /// <param name="patience">How long.</param>
    /// <exception cref="InvalidOperationException">It did not complete in time.</exception>
    public BlockStatus Wait(TimeSpan patience) =>
        _done.Task.Wait(patience) ? _done.Task.Result : throw new InvalidOperationException($"{Request.Operation} at {Request.Offset} was not completed within {patience.TotalSeconds:0} s.");
}
