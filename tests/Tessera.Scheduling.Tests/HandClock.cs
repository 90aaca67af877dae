using Tessera.Sdk;

namespace Tessera.Scheduling.Tests;

/// <summary>A host clock that stands still unless moved.</summary>
internal sealed class HandClock : TimeProvider
{
    private long _now;

    public override long TimestampFrequency => 1_000_000_000;

    public override long GetTimestamp() => Volatile.Read(ref _now);

    public void Move(Nanoseconds length) => Interlocked.Add(ref _now, length.Value);
}
