using System.Diagnostics;
using Tessera.Kernel.Native;
using Tessera.Sdk;

namespace Tessera.Kernel.Time;

/// <summary>
/// The machine's time: nanoseconds since its start, a pure function of the time-stamp counter, so that guests compute the same
/// number from the same counter (pvclock) without asking. The rate is measured against CLOCK_MONOTONIC once, at start-up.
/// </summary>
internal sealed class MachineClock : IDisposable
{
    private const long CalibrationNs = 20_000_000;

    private readonly TimestampCounter _counter = new();
    private readonly ulong _startTsc;
    private readonly long _startMonotonic;
    private bool _calibrated;

    /// <summary>Starts the clock; the rate is fixed by <see cref="Calibrate"/>.</summary>
    public MachineClock()
    {
        (_startTsc, _startMonotonic) = Pair();
        WallAtStart = DateTimeOffset.UtcNow;
    }

    /// <summary>The wall clock at the machine's start.</summary>
    public DateTimeOffset WallAtStart { get; }

    /// <summary>The counter at the machine's start.</summary>
    public ulong StartTsc => _startTsc;

    /// <summary>The counter now.</summary>
    public ulong Counter => _counter.Read();

    /// <summary>pvclock: nanoseconds = ((ticks &lt;&lt; shift) × mul) >> 32, with a negative shift meaning right.</summary>
    public uint Multiplier { get; private set; }

    /// <summary>pvclock's shift.</summary>
    public sbyte Shift { get; private set; }

    /// <summary>Ticks of the counter in a second.</summary>
    public double TicksPerSecond { get; private set; }

    /// <summary>The machine's time now.</summary>
    public Nanoseconds Now => new(ToNanoseconds(Counter - _startTsc));

    /// <summary>Measures the counter's rate, once; waits until enough time has passed since the start to do it well.</summary>
    public void Calibrate()
    {
        if (_calibrated)
            return;
        while (MonotonicNow() - _startMonotonic < CalibrationNs)
            Thread.SpinWait(64);
        (ulong tsc, long monotonic) = Pair();
        double nsPerTick = (monotonic - _startMonotonic) / (double)(tsc - _startTsc);
        TicksPerSecond = 1e9 / nsPerTick;
        int shift = 0;
        double scaled = nsPerTick;
        while (scaled >= 1)
        {
            scaled /= 2;
            shift++;
        }

        while (scaled < 0.5)
        {
            scaled *= 2;
            shift--;
        }

        Shift = (sbyte)shift;
        Multiplier = (uint)Math.Min(uint.MaxValue, scaled * 4294967296.0);
        _calibrated = true;
    }

    /// <summary>The CLOCK_MONOTONIC instant of a machine instant, for the host's timers.</summary>
    public Nanoseconds ToMonotonic(Nanoseconds instant) =>
        instant == Nanoseconds.Never ? Nanoseconds.Never : new(MonotonicNow() + instant.Value - Now.Value);

    /// <inheritdoc/>
    public void Dispose() => _counter.Dispose();

    private static long MonotonicNow() => Stopwatch.GetTimestamp() * (1_000_000_000 / Stopwatch.Frequency);

    private long ToNanoseconds(ulong ticks)
    {
        ulong shifted = Shift >= 0 ? ticks << Shift : ticks >> -Shift;
        return (long)Math.BigMul(shifted, Multiplier, out ulong low) << 32 | (long)(low >> 32);
    }

    /// <summary>A counter value and the monotonic time of the same moment: the tightest of a few tries.</summary>
    private (ulong Tsc, long Monotonic) Pair()
    {
        (ulong Tsc, long Monotonic) best = default;
        ulong tightest = ulong.MaxValue;
        for (int attempt = 0; attempt < 16; attempt++)
        {
            ulong before = _counter.Read();
            long monotonic = MonotonicNow();
            ulong after = _counter.Read();
            if (after - before < tightest)
            {
                tightest = after - before;
                best = (before + ((after - before) / 2), monotonic);
            }
        }

        return best;
    }
}
