using Tessera.Sdk;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Kernel.Devices.Network;

/// <summary>What an interface has done so far; written by its queues. Any thread.</summary>
/// <param name="time">What latencies are measured by.</param>
internal sealed class NetworkCounters(TimeProvider time)
{
    private readonly Lock _gate = new();
    private readonly LatencyHistogram _sendLatency = new();
    private readonly LatencyHistogram _receiveLatency = new();
    private long _sentFrames;
    private long _sentBytes;
    private long _receivedFrames;
    private long _receivedBytes;
    private long _dropped;
    private long _refused;
    private long _notifications;
    private long _brokenRings;

    /// <summary>A frame of the guest's went to the backend.</summary>
    public void Sent(int bytes, long takenAt)
    {
        lock (_gate)
        {
            _sentFrames++;
            _sentBytes += bytes;
            _sendLatency.Record(Since(takenAt));
        }
    }

    /// <summary>A frame was put into the guest's ring.</summary>
    public void Received(int bytes, long arrivedAt)
    {
        lock (_gate)
        {
            _receivedFrames++;
            _receivedBytes += bytes;
            _receiveLatency.Record(Since(arrivedAt));
        }
    }

    /// <summary>A frame for the guest found no room, no driver or a grant that was none.</summary>
    public void Dropped() => Interlocked.Increment(ref _dropped);

    /// <summary>A frame of the guest's was none: forged, torn or in another's name.</summary>
    public void Refused() => Interlocked.Increment(ref _refused);

    /// <summary>The guest was notified.</summary>
    public void Notified() => Interlocked.Increment(ref _notifications);

    /// <summary>A ring was given up.</summary>
    public void Broken() => Interlocked.Increment(ref _brokenRings);

    /// <summary>Counts from now on.</summary>
    public void Restart()
    {
        lock (_gate)
        {
            (_sentFrames, _sentBytes, _receivedFrames, _receivedBytes) = (0, 0, 0, 0);
            _sendLatency.Clear();
            _receiveLatency.Clear();
            _ = Interlocked.Exchange(ref _dropped, 0);
            _ = Interlocked.Exchange(ref _refused, 0);
            _ = Interlocked.Exchange(ref _notifications, 0);
            _ = Interlocked.Exchange(ref _brokenRings, 0);
        }
    }

    /// <summary>All of it at one moment.</summary>
    public NetworkReading Read()
    {
        lock (_gate)
        {
            return new NetworkReading
            {
                SentFrames = _sentFrames,
                SentBytes = _sentBytes,
                ReceivedFrames = _receivedFrames,
                ReceivedBytes = _receivedBytes,
                Dropped = Interlocked.Read(ref _dropped),
                Refused = Interlocked.Read(ref _refused),
                Notifications = Interlocked.Read(ref _notifications),
                BrokenRings = Interlocked.Read(ref _brokenRings),
                SendLatency = _sendLatency.Summarize(),
                ReceiveLatency = _receiveLatency.Summarize(),
            };
        }
    }

    private Nanoseconds Since(long timestamp) => new(time.GetElapsedTime(timestamp).Ticks * 100);
}

/// <summary>What an interface has done since it was attached, or since a measured window began. Frames that are yet to be cut count once.</summary>
public sealed record NetworkReading
{
    /// <summary>Frames that the guest sent.</summary>
    public required long SentFrames { get; init; }

    /// <summary>Their bytes.</summary>
    public required long SentBytes { get; init; }

    /// <summary>Frames that the guest got.</summary>
    public required long ReceivedFrames { get; init; }

    /// <summary>Their bytes.</summary>
    public required long ReceivedBytes { get; init; }

    /// <summary>Frames for the guest that it had no room or no driver for.</summary>
    public required long Dropped { get; init; }

    /// <summary>Frames answered with an error: forged, torn, not what was offered, in another's name.</summary>
    public required long Refused { get; init; }

    /// <summary>Events sent to the guest.</summary>
    public required long Notifications { get; init; }

    /// <summary>Rings given up because their indices were forged.</summary>
    public required long BrokenRings { get; init; }

    /// <summary>From taking a frame off the guest's ring to the backend's return from it.</summary>
    public required LatencySummary SendLatency { get; init; }

    /// <summary>From a frame's arrival to its place in the guest's ring.</summary>
    public required LatencySummary ReceiveLatency { get; init; }

    /// <summary>Why its frontend could not connect, or what is wrong with its backend, at present; null when all is well.</summary>
    public string? Problem { get; init; }
}
