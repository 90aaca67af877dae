using Tessera.Lab.Recording;
using Tessera.Sdk;

namespace Tessera.Lab.Metrics;

/// <summary>How far shares were from the ideal, seen through windows of one length.</summary>
/// <param name="Window">The windows' length.</param>
/// <param name="Windows">How many whole windows there were.</param>
/// <param name="Mean">Mean over windows and domains of the distance between a domain's share and its ideal one, in points of all pCPU time.</param>
/// <param name="P99">99th percentile over windows of the distance of that window's worst domain, in points.</param>
/// <param name="Max">The longest distance of any domain in any window, in points.</param>
public sealed record WindowError(Nanoseconds Window, int Windows, double Mean, double P99, double Max);

/// <summary>Shares over time, for drawing: one value a step and domain, each a part of all pCPU time in that step.</summary>
/// <param name="Step">Length of a step; the last may be shorter.</param>
/// <param name="Real">By domain, by step: what it had.</param>
/// <param name="Ideal">By domain, by step: what generalised processor sharing would have given it.</param>
public sealed record ShareSeries(Nanoseconds Step, IReadOnlyList<double[]> Real, IReadOnlyList<double[]> Ideal);

/// <summary>Real and ideal service of every domain at each 10 ms of a recording, and what follows from them.</summary>
public sealed class ShareTrace
{
    /// <summary>The finest window; all others are multiples.</summary>
    public static readonly Nanoseconds Grid = Nanoseconds.FromMilliseconds(10);

    private const int MaxPoints = 2_000_000;

    /// <summary>Steps of a sweep: nearly three hours at 10 ms. Longer recordings are swept ten, a hundred … times as coarsely, without the windows that get lost.</summary>
    private const int MaxSteps = 1_000_000;

    private static readonly int[] Multiples = [1, 10, 100, 1000];

    private readonly double[] _realAtStep;
    private readonly double[] _idealAtStep;
    private readonly double[][] _realSeries;
    private readonly double[][] _idealSeries;
    private readonly WindowMeter[] _meters;
    private readonly int _seriesMultiple;
    private readonly Nanoseconds _step;
    private readonly int _steps;
    private readonly int _pcpus;

    private ShareTrace(ScheduleRecording recording, ScheduleReplay replay, int seriesPoints)
    {
        int domains = recording.Domains.Count;
        Nanoseconds length = recording.Covered;
        _pcpus = recording.PcpuCount;
        int coarseness = 1;
        while (length.Value / ((double)Grid.Value * coarseness) > MaxSteps)
            coarseness *= 10;
        _step = new Nanoseconds(Grid.Value * coarseness);
        _steps = (int)Math.Round(length.Value / (double)_step.Value);
        int points = Math.Clamp(MaxPoints / Math.Max(1, domains), 1, seriesPoints);
        _seriesMultiple = Math.Max(1, (_steps + points - 1) / points);
        int seriesSteps = (_steps + _seriesMultiple - 1) / _seriesMultiple;
        _realSeries = [.. Enumerable.Range(0, domains).Select(_ => new double[seriesSteps])];
        _idealSeries = [.. Enumerable.Range(0, domains).Select(_ => new double[seriesSteps])];
        _realAtStep = new double[domains];
        _idealAtStep = new double[domains];
        _meters = [.. Multiples.Where(multiple => multiple % coarseness == 0).Select(multiple => new WindowMeter(multiple / coarseness, _step, domains))];
        Real = new double[domains];
        Ideal = new double[domains];
        Sweep(recording, replay, length);
    }

    /// <summary>Service that each domain had, in ns.</summary>
    public double[] Real { get; }

    /// <summary>Service that generalised processor sharing would have given each domain, in ns.</summary>
    public double[] Ideal { get; }

    /// <summary>Distances from the ideal at 10 ms, 100 ms, 1 s and 10 s; those with no whole window are left out.</summary>
    public IReadOnlyList<WindowError> Errors => [.. _meters.Select(meter => meter.Result()).OfType<WindowError>()];

    /// <summary>Shares over time.</summary>
    public ShareSeries Series => new(new Nanoseconds(_step.Value * _seriesMultiple), _realSeries, _idealSeries);

    /// <summary>Computes both services.</summary>
    /// <param name="recording">The recording.</param>
    /// <param name="replay">The same, read.</param>
    /// <param name="seriesPoints">At most so many points in <see cref="Series"/>.</param>
    public static ShareTrace Of(ScheduleRecording recording, ScheduleReplay replay, int seriesPoints = 600) => new(recording, replay, seriesPoints);

    private void Sweep(ScheduleRecording recording, ScheduleReplay replay, Nanoseconds length)
    {
        (int Domain, int Vcpu)[] claimants = [.. replay.BusyPeriods.Select(period => (period.Domain, period.Vcpu)).Distinct()];
        FluidGps fluid = new(_pcpus, [.. recording.Domains.Select(domain => domain.Owed)], claimants, replay.BusyPeriods);
        RunSpan[][] runs = [.. Enumerable.Range(0, _pcpus).Select(pcpu => replay.Runs.Where(run => run.Pcpu == pcpu).ToArray())];
        int[] at = new int[_pcpus];
        Nanoseconds from = Nanoseconds.Zero;
        for (int step = 1; step <= _steps; step++)
        {
            Nanoseconds to = step == _steps ? length : new Nanoseconds(step * _step.Value);
            for (int pcpu = 0; pcpu < _pcpus; pcpu++)
                Serve(runs[pcpu], ref at[pcpu], from, to);
            fluid.AdvanceTo(to);
            Array.Clear(Ideal);
            for (int claimant = 0; claimant < claimants.Length; claimant++)
                Ideal[claimants[claimant].Domain] += fluid.ServiceOf(claimant);
            foreach (WindowMeter meter in _meters)
                meter.Step(step, to, Real, Ideal, _pcpus);
            if (step % _seriesMultiple == 0 || step == _steps)
                EndSeriesStep((step - 1) / _seriesMultiple, to);
            from = to;
        }
    }

    private void Serve(RunSpan[] runs, ref int at, Nanoseconds from, Nanoseconds to)
    {
        for (; at < runs.Length && runs[at].From < to; at++)
        {
            RunSpan run = runs[at];
            Real[run.Domain] += (Nanoseconds.Min(run.To, to) - Nanoseconds.Max(run.From, from)).Value;
            if (run.To > to)
                return;
        }
    }

    private void EndSeriesStep(int point, Nanoseconds to)
    {
        double capacity = (to.Value - ((long)point * _seriesMultiple * _step.Value)) * (double)_pcpus;
        for (int domain = 0; domain < Real.Length; domain++)
        {
            _realSeries[domain][point] = (Real[domain] - _realAtStep[domain]) / capacity;
            _idealSeries[domain][point] = (Ideal[domain] - _idealAtStep[domain]) / capacity;
            (_realAtStep[domain], _idealAtStep[domain]) = (Real[domain], Ideal[domain]);
        }
    }

    /// <summary>Windows of one length.</summary>
    private sealed class WindowMeter(int multiple, Nanoseconds grid, int domains)
    {
        private readonly double[] _real = new double[domains];
        private readonly double[] _ideal = new double[domains];
        private readonly List<double> _worst = [];
        private Nanoseconds _from;
        private double _sum;
        private long _count;

        public void Step(int step, Nanoseconds now, double[] real, double[] ideal, int pcpus)
        {
            if (step % multiple != 0)
                return;
            double capacity = (now - _from).Value * (double)pcpus;
            double worst = 0;
            for (int domain = 0; domain < real.Length; domain++)
            {
                double had = real[domain] - _real[domain];
                double due = ideal[domain] - _ideal[domain];
                (_real[domain], _ideal[domain]) = (real[domain], ideal[domain]);
                if (had <= 0 && due <= 0)
                    continue;
                double points = Math.Abs(had - due) / capacity * 100;
                _sum += points;
                _count++;
                worst = Math.Max(worst, points);
            }

            _worst.Add(worst);
            _from = now;
        }

        public WindowError? Result()
        {
            if (_worst.Count == 0)
                return null;
            double[] sorted = [.. _worst.Order()];
            double p99 = sorted[Math.Clamp((int)Math.Ceiling(sorted.Length * 0.99) - 1, 0, sorted.Length - 1)];
            return new WindowError(new Nanoseconds(grid.Value * multiple), sorted.Length, _count == 0 ? 0 : _sum / _count, p99, sorted[^1]);
        }
    }
}
