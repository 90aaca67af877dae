namespace Tessera.Plugins.Block.Throttle;

/// <summary>
/// A bound on a rate: tokens come evenly up to a burst, and whoever takes may leave a debt that must be paid off before the next. So a
/// request larger than the burst passes, and the mean rate is kept exactly. Time is an argument. Not thread-safe.
/// </summary>
/// <param name="perSecond">Tokens a second; 0 for no bound.</param>
/// <param name="burst">The most it saves up, in tokens.</param>
internal sealed class TokenBucket(double perSecond, double burst)
{
    private readonly double _burst = burst;
    private double _spent;
    private TimeSpan _at;

    /// <summary>Whether the next may take.</summary>
    public bool IsReady(TimeSpan now)
    {
        if (perSecond <= 0)
            return true;
        if (now > _at)
        {
            _spent = Math.Max(0, _spent - ((now - _at).TotalSeconds * perSecond));
            _at = now;
        }

        return _spent <= _burst;
    }

    /// <summary>Takes tokens; to be called when it is ready.</summary>
    public void Take(double tokens)
    {
        if (perSecond > 0)
            _spent += tokens;
    }

    /// <summary>How long until it is ready, rounded up to a tick.</summary>
    public TimeSpan Wait(TimeSpan now) => IsReady(now) ? TimeSpan.Zero : TimeSpan.FromTicks((long)((_spent - _burst) / perSecond * TimeSpan.TicksPerSecond) + 1);
}
