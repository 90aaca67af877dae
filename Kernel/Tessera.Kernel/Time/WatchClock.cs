namespace Tessera.Kernel.Time;

/// <summary>
/// A clock that goes on by the looks of a watchdog: it stands still while the process is stopped or the host sleeps, and reading it costs next to nothing. A time measured by it is at most one
/// interval longer than it was.
/// </summary>
/// <param name="interval">How far a look moves it.</param>
internal sealed class WatchClock(TimeSpan interval) : TimeProvider
{
    private long _now;

    /// <inheritdoc/>
    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    /// <inheritdoc/>
    public override long GetTimestamp() => Volatile.Read(ref _now);

    /// <summary>The watchdog looks.</summary>
    public void Look() => Interlocked.Add(ref _now, interval.Ticks);
}
