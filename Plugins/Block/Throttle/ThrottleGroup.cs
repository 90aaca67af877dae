using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Block.Throttle;

/// <summary>
/// The disks that share bounds. Requests wait in their disk's queue; the group lets go, of those whose own bounds allow it, the one of the
/// disk that has had the least for its weight (start-time fair queuing: Goyal, Vin and Cheng, SIGCOMM 1996), as fast as its own bounds allow.
/// </summary>
internal sealed class ThrottleGroup : IDisposable
{
    private readonly Lock _gate = new();
    private readonly List<ThrottledDisk> _disks = [];
    private readonly TokenBucket _requests;
    private readonly TokenBucket _bytes;
    private readonly double _secondsPerRequest;
    private readonly double _secondsPerByte;
    private readonly TimeProvider _time;
    private readonly long _start;
    private readonly ITimer _timer;
    private double _virtualTime;

    /// <summary>Makes a group with its bounds.</summary>
    public ThrottleGroup(ThrottleOptions options, TimeProvider time)
    {
        Bounds = (options.GroupIops, options.GroupBytesPerSecond.Bytes);
        double burst = options.Burst.Value / 1e9;
        _requests = new TokenBucket(options.GroupIops, options.GroupIops * burst);
        _bytes = new TokenBucket(options.GroupBytesPerSecond.Bytes, options.GroupBytesPerSecond.Bytes * burst);
        // What a request costs of the group: the time it takes of the bound that it strains more. Without bounds, bytes count.
        _secondsPerRequest = options.GroupIops > 0 ? 1.0 / options.GroupIops : 0;
        _secondsPerByte = options.GroupBytesPerSecond.Bytes > 0 ? 1.0 / options.GroupBytesPerSecond.Bytes : options.GroupIops > 0 ? 0 : 1e-9;
        _time = time;
        _start = time.GetTimestamp();
        _timer = time.CreateTimer(static group => ((ThrottleGroup)group!).Dispatch(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Its bounds: requests and bytes a second.</summary>
    public (long Iops, long BytesPerSecond) Bounds { get; }

    private TimeSpan Now => _time.GetElapsedTime(_start);

    public void Add(ThrottledDisk disk)
    {
        lock (_gate)
            _disks.Add(disk);
    }

    /// <summary>Takes a disk out; what still waits in it is submitted at once.</summary>
    public void Remove(ThrottledDisk disk)
    {
        BlockRequestQueue waiting;
        lock (_gate)
        {
            _ = _disks.Remove(disk);
            waiting = disk.TakeAll();
        }

        while (waiting.Take() is { } request)
            disk.Inner.Submit(request);
    }

    /// <summary>Queues a request, and lets go what may.</summary>
    public void Submit(ThrottledDisk disk, BlockRequest request)
    {
        lock (_gate)
        {
            if (disk.IsEmpty)
                disk.VirtualStart = Math.Max(_virtualTime, disk.VirtualStart);
            disk.Append(request);
        }

        Dispatch();
    }

    /// <inheritdoc/>
    public void Dispose() => _timer.Dispose();

    private void Dispatch()
    {
        // One at a time outside the lock: a backend may complete at once, and whoever hears of it may submit the next.
        while (Next(out ThrottledDisk? disk) is { } request)
            disk!.Inner.Submit(request);
    }

    private BlockRequest? Next(out ThrottledDisk? best)
    {
        lock (_gate)
        {
            TimeSpan now = Now;
            TimeSpan wait = TimeSpan.MaxValue;
            best = null;
            foreach (ThrottledDisk disk in _disks)
            {
                if (disk.IsEmpty)
                    continue;
                TimeSpan own = disk.Wait(now);
                if (own > TimeSpan.Zero)
                    wait = own < wait ? own : wait;
                else if (best is null || disk.VirtualStart < best.VirtualStart)
                    best = disk;
            }

            if (best is not null)
            {
                TimeSpan shared = Later(_requests.Wait(now), _bytes.Wait(now));
                if (shared == TimeSpan.Zero)
                    return Take(best);
                best = null;
                wait = shared < wait ? shared : wait;
            }

            if (wait < TimeSpan.MaxValue)
                _ = _timer.Change(wait, Timeout.InfiniteTimeSpan);
            return null;
        }
    }

    private BlockRequest Take(ThrottledDisk disk)
    {
        BlockRequest request = disk.Take()!;
        long bytes = request.Operation is BlockOperation.Read or BlockOperation.Write ? request.Length : 0;
        disk.Charge(bytes);
        _requests.Take(1);
        _bytes.Take(bytes);
        _virtualTime = Math.Max(_virtualTime, disk.VirtualStart);
        disk.VirtualStart += Math.Max(_secondsPerRequest, bytes * _secondsPerByte) / disk.Weight;
        return request;
    }

    private static TimeSpan Later(TimeSpan one, TimeSpan other) => one > other ? one : other;
}
