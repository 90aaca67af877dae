using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Block.Throttle;

/// <summary>One disk's queue and own bounds; used under its group's lock.</summary>
internal sealed class ThrottledDisk
{
    private readonly TokenBucket _requests;
    private readonly TokenBucket _bytes;
    private BlockRequestQueue _queue;

    public ThrottledDisk(ThrottleOptions options, IBlockBackend inner)
    {
        (Inner, Weight) = (inner, options.Weight);
        double burst = options.Burst.Value / 1e9;
        _requests = new TokenBucket(options.Iops, options.Iops * burst);
        _bytes = new TokenBucket(options.BytesPerSecond.Bytes, options.BytesPerSecond.Bytes * burst);
    }

    public IBlockBackend Inner { get; }

    public int Weight { get; }

    /// <summary>The virtual time at which its next request begins: least goes first.</summary>
    public double VirtualStart { get; set; }

    public bool IsEmpty => _queue.IsEmpty;

    public void Append(BlockRequest request) => _queue.Add(request);

    /// <summary>The first that waits; null for none.</summary>
    public BlockRequest? Take() => _queue.Take();

    /// <summary>All that wait.</summary>
    public BlockRequestQueue TakeAll()
    {
        BlockRequestQueue all = _queue;
        _queue = default;
        return all;
    }

    /// <summary>How long its own bounds keep it.</summary>
    public TimeSpan Wait(TimeSpan now)
    {
        TimeSpan requests = _requests.Wait(now);
        TimeSpan bytes = _bytes.Wait(now);
        return requests > bytes ? requests : bytes;
    }

    public void Charge(long bytes)
    {
        _requests.Take(1);
        _bytes.Take(bytes);
    }
}
