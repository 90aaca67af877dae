using Tessera.Sdk;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Kernel.Devices.Block;

/// <summary>What a disk has done so far; written by its rings. Any thread.</summary>
internal sealed class BlockCounters
{
    private const int Operations = (int)BlockOperation.WriteZeroes + 1;

    private readonly Lock _gate = new();
    private readonly LatencyHistogram _readLatency = new();
    private readonly LatencyHistogram _writeLatency = new();
    private readonly LatencyHistogram _flushLatency = new();
    private readonly long[] _requests = new long[Operations];
    private readonly long[] _bytes = new long[Operations];
    private long _failed;
    private long _refused;
    private long _notifications;
    private long _brokenRings;

    /// <summary>A request came back from the backend.</summary>
    public void Completed(BlockOperation operation, long bytes, Nanoseconds latency, bool failed)
    {
        lock (_gate)
        {
            _requests[(int)operation]++;
            if (failed)
                _failed++;
            else
                _bytes[(int)operation] += bytes;
            switch (operation)
            {
                case BlockOperation.Read:
                    _readLatency.Record(latency);
                    break;
                case BlockOperation.Flush:
                    _flushLatency.Record(latency);
                    break;
                default:
                    _writeLatency.Record(latency);
                    break;
            }
        }
    }

    /// <summary>A request was not one: forged, torn or not for this disk.</summary>
    public void Refused() => Interlocked.Increment(ref _refused);

    /// <summary>The guest was notified.</summary>
    public void Notified() => Interlocked.Increment(ref _notifications);

    /// <summary>A ring's indices were forged.</summary>
    public void Broken() => Interlocked.Increment(ref _brokenRings);

    /// <summary>Counts from now on.</summary>
    public void Restart()
    {
        lock (_gate)
        {
            Array.Clear(_requests);
            Array.Clear(_bytes);
            _failed = 0;
            _readLatency.Clear();
            _writeLatency.Clear();
            _flushLatency.Clear();
            _ = Interlocked.Exchange(ref _refused, 0);
            _ = Interlocked.Exchange(ref _notifications, 0);
            _ = Interlocked.Exchange(ref _brokenRings, 0);
        }
    }

    /// <summary>All of it at one moment.</summary>
    public BlockReading Read()
    {
        lock (_gate)
        {
            return new BlockReading
            {
                Reads = _requests[(int)BlockOperation.Read],
                Writes = _requests[(int)BlockOperation.Write],
                Flushes = _requests[(int)BlockOperation.Flush],
                Discards = _requests[(int)BlockOperation.Discard],
                ReadBytes = _bytes[(int)BlockOperation.Read],
                WrittenBytes = _bytes[(int)BlockOperation.Write],
                DiscardedBytes = _bytes[(int)BlockOperation.Discard],
                Failed = _failed,
                Refused = Interlocked.Read(ref _refused),
                Notifications = Interlocked.Read(ref _notifications),
                BrokenRings = Interlocked.Read(ref _brokenRings),
                ReadLatency = BlockLatency.Of(_readLatency),
                WriteLatency = BlockLatency.Of(_writeLatency),
                FlushLatency = BlockLatency.Of(_flushLatency),
            };
        }
    }
}

/// <summary>What a disk has done since it was attached, or since a measured window began.</summary>
public sealed record BlockReading
{
    /// <summary>What is wrong with the disk, as in <see cref="SplitDevice.Error"/>; null when all is well.</summary>
    public string? Problem { get; init; }

    /// <summary>Reads that the backend completed.</summary>
    public required long Reads { get; init; }

    /// <summary>Writes.</summary>
    public required long Writes { get; init; }

    /// <summary>Flushes.</summary>
    public required long Flushes { get; init; }

    /// <summary>Discards.</summary>
    public required long Discards { get; init; }

    /// <summary>Bytes read.</summary>
    public required long ReadBytes { get; init; }

    /// <summary>Bytes written.</summary>
    public required long WrittenBytes { get; init; }

    /// <summary>Bytes given back.</summary>
    public required long DiscardedBytes { get; init; }

    /// <summary>Requests that the backend completed with an error.</summary>
    public required long Failed { get; init; }

    /// <summary>Requests answered with an error without asking the backend: forged, torn, outside the disk.</summary>
    public required long Refused { get; init; }

    /// <summary>Events sent to the guest.</summary>
    public required long Notifications { get; init; }

    /// <summary>Rings given up because their indices were forged.</summary>
    public required long BrokenRings { get; init; }

    /// <summary>From taking a read off the ring to its response.</summary>
    public required BlockLatency ReadLatency { get; init; }

    /// <summary>The same of writes and discards.</summary>
    public required BlockLatency WriteLatency { get; init; }

    /// <summary>The same of flushes.</summary>
    public required BlockLatency FlushLatency { get; init; }
}

/// <summary>Percentiles of a latency; zeroes when there was none.</summary>
/// <param name="Count">How many.</param>
/// <param name="Mean">The mean.</param>
/// <param name="P50">Half were at most this long.</param>
/// <param name="P99">99 of 100 were.</param>
/// <param name="P999">999 of 1000 were.</param>
/// <param name="Max">The longest.</param>
public readonly record struct BlockLatency(long Count, Nanoseconds Mean, Nanoseconds P50, Nanoseconds P99, Nanoseconds P999, Nanoseconds Max)
{
    internal static BlockLatency Of(LatencyHistogram histogram) => new(
        histogram.Count,
        new(histogram.Count == 0 ? 0 : histogram.Sum / histogram.Count),
        histogram.Percentile(50),
        histogram.Percentile(99),
        histogram.Percentile(99.9),
        histogram.Max);
}
