using System.Diagnostics;
using System.Runtime.InteropServices;
using Tessera.Kernel.Native;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Time;

/// <summary>
/// The machine's time: nanoseconds since its start, a pure function of the time-stamp counter, so that guests compute the same
/// number from the same counter (pvclock) without asking.
/// </summary>
internal abstract class MachineClock : IDisposable
{
    private const byte StableFlag = 1;

    /// <summary>The wall clock at the machine's start.</summary>
    public abstract DateTimeOffset WallAtStart { get; }

    /// <summary>The counter at the machine's start.</summary>
    public abstract ulong StartTsc { get; }

    /// <summary>The counter now.</summary>
    public abstract ulong Counter { get; }

    /// <summary>pvclock: nanoseconds = ((ticks &lt;&lt; shift) × mul) >> 32, with a negative shift meaning right.</summary>
    public abstract uint Multiplier { get; }

    /// <summary>pvclock's shift.</summary>
    public abstract sbyte Shift { get; }

    /// <summary>Ticks of the counter in a second.</summary>
    public abstract double TicksPerSecond { get; }

    /// <summary>The machine's time now.</summary>
    public abstract Nanoseconds Now { get; }

    /// <summary>
    /// Fills a vcpu_time_info (pvclock, public/xen.h), by which a guest computes the time without asking. It is one function of the counter for
    /// the machine's whole life, so that the structure is written once for each and marked stable.
    /// </summary>
    /// <param name="area">The structure: vcpu_info's, or one in the guest's memory for its user space. Its version goes up: a restored guest may be in the middle of reading it.</param>
    /// <param name="counterShift">What the guest's time-stamp counter gives beyond the host's, in ticks.</param>
    /// <param name="ahead">What the guest's time is beyond the machine's.</param>
    public void FillTimeInfo(Span<byte> area, long counterShift, Nanoseconds ahead)
    {
        uint version = (MemoryMarshal.Read<uint>(area[VcpuTimeInfo.Version..]) | 1) + 1; // even: not being changed
        area.Clear();
        _ = MemoryMarshal.TryWrite(area[VcpuTimeInfo.Version..], version);
        _ = MemoryMarshal.TryWrite(area[VcpuTimeInfo.TscTimestamp..], StartTsc + (ulong)counterShift);
        _ = MemoryMarshal.TryWrite(area[VcpuTimeInfo.SystemTime..], ahead.Value);
        _ = MemoryMarshal.TryWrite(area[VcpuTimeInfo.TscToSystemMul..], Multiplier);
        area[VcpuTimeInfo.TscShift] = (byte)Shift;
        area[VcpuTimeInfo.Flags] = StableFlag;
    }

    /// <summary>Makes sure that the counter's rate is known.</summary>
    public abstract void Calibrate();

    /// <summary>The CLOCK_MONOTONIC instant of a machine instant, for the host's timers.</summary>
    public abstract Nanoseconds ToMonotonic(Nanoseconds instant);

    /// <inheritdoc/>
    public abstract void Dispose();
}

/// <summary>The host's time. The rate is measured against CLOCK_MONOTONIC once, at start-up.</summary>
internal sealed class HostClock : MachineClock
{
    private const long CalibrationNs = 20_000_000;

    private readonly TimestampCounter _counter = new();
    private readonly ulong _startTsc;
    private readonly long _startMonotonic;
    private bool _calibrated;
    private uint _multiplier;
    private sbyte _shift;
    private double _ticksPerSecond;

    /// <summary>Starts the clock; the rate is fixed by <see cref="Calibrate"/>.</summary>
    public HostClock()
    {
        (_startTsc, _startMonotonic) = Pair();
        WallAtStart = DateTimeOffset.UtcNow;
    }

    /// <inheritdoc/>
    public override DateTimeOffset WallAtStart { get; }

    /// <inheritdoc/>
    public override ulong StartTsc => _startTsc;

    /// <inheritdoc/>
    public override ulong Counter => _counter.Read();

    /// <inheritdoc/>
    public override uint Multiplier => _multiplier;

    /// <inheritdoc/>
    public override sbyte Shift => _shift;

    /// <inheritdoc/>
    public override double TicksPerSecond => _ticksPerSecond;

    /// <inheritdoc/>
    public override Nanoseconds Now => new(ToNanoseconds(Counter - _startTsc));

    /// <inheritdoc/>
    public override void Calibrate()
    {
        if (_calibrated)
            return;
        while (MonotonicNow() - _startMonotonic < CalibrationNs)
            Thread.SpinWait(64);
        (ulong tsc, long monotonic) = Pair();
        double nsPerTick = (monotonic - _startMonotonic) / (double)(tsc - _startTsc);
        _ticksPerSecond = 1e9 / nsPerTick;
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

        _shift = (sbyte)shift;
        _multiplier = (uint)Math.Min(uint.MaxValue, scaled * 4294967296.0);
        _calibrated = true;
    }

    /// <inheritdoc/>
    public override Nanoseconds ToMonotonic(Nanoseconds instant) =>
        instant == Nanoseconds.Never ? Nanoseconds.Never : new(MonotonicNow() + instant.Value - Now.Value);

    /// <inheritdoc/>
    public override void Dispose() => _counter.Dispose();

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
