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

    /// <summary>Periods that began while it was still busy with an earlier one. Those of the one under way are in <see cref="SkippedBy"/> only.</summary>
    public long Skipped { get; private set; }

    /// <summary>Periods up to an instant that began while it was still busy with an earlier one.</summary>
    /// <param name="now">The instant, no earlier than that of the last step.</param>
    public long SkippedBy(Nanoseconds now) => Skipped + (_running ? Math.Max(0, (now - _start).Value / _period.Value) : 0);

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
