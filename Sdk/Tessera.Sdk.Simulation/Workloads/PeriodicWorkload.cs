using Tessera.Sdk.Scheduling.Core;


namespace Tessera.Sdk.Simulation;

/// <summary>
/// A periodic task in the sense of Liu and Layland (JACM 1973): a job is released at its start and each period after that, needs so much CPU
/// time and has a deadline. A job that is late delays the next, or costs it.
/// </summary>
public sealed class PeriodicWorkload : Workload
{
    private readonly Nanoseconds _burst;
    private readonly Nanoseconds _period;
    private readonly Nanoseconds _deadline;
    private readonly bool _skipLate;
    private Nanoseconds _released;
    private bool _pending;

    /// <summary>Makes the task.</summary>
    /// <param name="burst">CPU time of a job.</param>
    /// <param name="period">From one release to the next.</param>
    /// <param name="deadline">From a release to its deadline; null for the period.</param>
    /// <param name="phase">An instant at which a job is released; null for that at which the task starts.</param>
    /// <param name="skipLate">Whether releases that pass while a job is under way are skipped; otherwise they queue up.</param>
    public PeriodicWorkload(Nanoseconds burst, Nanoseconds period, Nanoseconds? deadline = null, Nanoseconds? phase = null, bool skipLate = false)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(burst.Value, nameof(burst));
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(period.Value, nameof(period));
        (_burst, _period, _deadline, _released) = (burst, period, deadline ?? period, phase ?? Nanoseconds.Never);
        _skipLate = skipLate;
    }

    /// <summary>Completed jobs that were late. Those that are late already and not completed are in <see cref="MissesBy"/> only.</summary>
    public long Misses { get; private set; }

    /// <summary>Releases that were skipped. Those that pass while a job is under way are in <see cref="SkippedBy"/> only.</summary>
    public long Skipped { get; private set; }

    /// <summary>From each job's release to its completion.</summary>
    public LatencyHistogram ResponseTime { get; } = new();

    /// <summary>Deadlines missed up to an instant: of completed jobs, and of those released whose deadline has passed without completion.</summary>
    /// <param name="now">The instant, no earlier than that of the last step.</param>
    public long MissesBy(Nanoseconds now)
    {
        if (!_pending || now <= _released + _deadline)
            return Misses;
        long late = (now - _released - _deadline).Value;
        return Misses + (_skipLate ? 1 : ((late - 1) / _period.Value) + 1);
    }

    /// <summary>Releases skipped up to an instant: those counted already, and those that the job under way will have cost when it completes.</summary>
    /// <param name="now">The instant, no earlier than that of the last step.</param>
    public long SkippedBy(Nanoseconds now) => Skipped + (_skipLate && _pending ? Math.Max(0, (now - _released).Value / _period.Value) : 0);

    /// <inheritdoc/>
    public override WorkloadStep Next(Nanoseconds now)
    {
        if (_pending)
        {
            _pending = false;
            Completed++;
            ResponseTime.Record(now - _released);
            if (now > _released + _deadline)
                Misses++;
            _released += _period;
            if (_skipLate && _released <= now)
            {
                long skipped = ((now - _released).Value / _period.Value) + 1;
                Skipped += skipped;
                _released += new Nanoseconds(skipped * _period.Value);
            }
        }
        else if (_released == Nanoseconds.Never)
        {
            _released = now;
        }
        else if (Completed == 0 && now - _released >= _period)
        {
            // Started late: the releases before are not its own.
            _released = new(now.Value - ((now.Value - _released.Value) % _period.Value));
        }

        if (_released > now)
            return WorkloadStep.SleepUntil(_released);
        _pending = true;
        return WorkloadStep.Run(_burst);
    }
}
