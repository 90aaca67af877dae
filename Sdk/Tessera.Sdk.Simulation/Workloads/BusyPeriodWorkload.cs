namespace Tessera.Sdk.Simulation;

/// <summary>
/// Busy from each period's start for a part of it by the clock, however little CPU time it gets, then asleep until the next period
/// that lies ahead.
/// </summary>
public sealed class BusyPeriodWorkload : Workload
{
    private readonly Nanoseconds _busy;
    private readonly Nanoseconds _period;
    private Nanoseconds _start;
    private bool _begun;
    private bool _running;

    /// <summary>Makes the workload.</summary>
    /// <param name="busy">How long it is busy in each period; shorter than the period.</param>
    /// <param name="period">From one start to the next.</param>
    public BusyPeriodWorkload(Nanoseconds busy, Nanoseconds period)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(busy.Value, nameof(busy));
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(busy.Value, period.Value, nameof(busy));
        (_busy, _period) = (busy, period);
    }

    /// <summary>Periods that began while it was still busy with an earlier one.</summary>
    public long Skipped { get; private set; }

    /// <inheritdoc/>
    public override WorkloadStep Next(Nanoseconds now)
    {
        if (!_begun)
        {
            _begun = true;
            _start = now;
        }
        else if (_running)
        {
            _running = false;
            Completed++;
            long skipped = (now - _start).Value / _period.Value;
            Skipped += skipped;
            _start += new Nanoseconds((skipped + 1) * _period.Value);
        }

        if (_start > now)
            return WorkloadStep.SleepUntil(_start);
        _running = true;
        return WorkloadStep.RunUntil(_start + _busy);
    }
}
