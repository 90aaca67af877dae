using System.Collections.Concurrent;
using Tessera.Sdk.Devices;

namespace Tessera.Kernel.Tests.Devices.Block;

/// <summary>A backend that notes what comes and completes it when the test says, or at once.</summary>
internal sealed class HeldBackend : IBlockBackend, IGrowingStorage
{
    public ConcurrentQueue<BlockRequest> Held { get; } = new();

    public ConcurrentQueue<string> Seen { get; } = new();

    public bool Holds { get; set; }

    /// <summary>Requests at which it breaks its contract.</summary>
    public Func<BlockRequest, bool> Throws { get; set; } = _ => false;

    /// <summary>Bytes of its storage.</summary>
    public long Size { get; set; } = 1 << 20;

    public bool IsDisposed { get; private set; }

    public BlockGeometry Open(BlockAccess access) => new() { Size = Size, DiscardGranularity = 4096, ReadOnly = access == BlockAccess.ReadOnly };

    public void Submit(BlockRequest request)
    {
        Seen.Enqueue($"{request.Operation} {request.Offset}+{request.Length}");
        if (Throws(request))
        {
            Held.Enqueue(request);
            throw new TimeoutException("the disk is out");
        }

        if (Holds)
            Held.Enqueue(request);
        else
            request.Complete(BlockStatus.Ok);
    }

    public long Grow() => Size;

    public void WaitForHeld(int count) =>
        Assert.That(SpinWait.SpinUntil(() => Held.Count >= count, Hang.Limit), Is.True, () => $"{Held.Count} requests of {count} came");

    public void CompleteHeld(BlockStatus status = BlockStatus.Ok)
    {
        while (Held.TryDequeue(out BlockRequest? request))
            request.Complete(status);
    }

    public void Dispose() => IsDisposed = true;
}
