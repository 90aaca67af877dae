namespace Tessera.Kernel.Devices.Network;

/// <summary>
/// The most bytes a second that an interface sends, as a token bucket: a frame goes when there is credit left, and is paid off afterwards, so that a
/// bound below one frame's size works too. One thread at a time.
/// </summary>
/// <param name="bytesPerSecond">The bound; 0 for none.</param>
/// <param name="time">What seconds are measured by.</param>
internal sealed class RateLimit(long bytesPerSecond, TimeProvider time)
{
    /// <summary>What an idle interface saves up, as time at the full rate.</summary>
    private const double BurstSeconds = 0.05;

    private double _credit = bytesPerSecond * BurstSeconds;
    private long _at = time.GetTimestamp();

    /// <summary>Whether a frame may go now.</summary>
    /// <param name="now">A time stamp.</param>
    /// <param name="wait">Else how long until one may.</param>
    public bool MaySend(long now, out TimeSpan wait)
    {
        wait = TimeSpan.Zero;
        if (bytesPerSecond == 0)
            return true;
        _credit = Math.Min(bytesPerSecond * BurstSeconds, _credit + (time.GetElapsedTime(_at, now).TotalSeconds * bytesPerSecond));
        _at = now;
        if (_credit > 0)
            return true;
        wait = TimeSpan.FromSeconds((1 - _credit) / bytesPerSecond) + TimeSpan.FromMilliseconds(1);
        return false;
    }

    /// <summary>A frame went.</summary>
    public void Spend(int bytes)
    {
        if (bytesPerSecond != 0)
            _credit -= bytes;
    }
}
