using Tessera.Sdk;
using Tessera.Sdk.Cpu;

namespace Tessera.Kernel.Time;

/// <summary>
/// Virtual time: what the machine has done, in guest instructions. Each physical CPU has its own place in time; this clock says that of whatever happens at present, and its counter
/// counts nanoseconds.
/// </summary>
/// <param name="time">How work becomes time.</param>
/// <param name="wallAtStart">The wall clock at the machine's start.</param>
internal sealed class WorkClock(GuestTime time, DateTimeOffset wallAtStart) : MachineClock
{
    private long _work;

    /// <summary>Now, in instructions since the machine's start.</summary>
    public long Work
    {
        get => Volatile.Read(ref _work);
        set => Volatile.Write(ref _work, value);
    }

    /// <inheritdoc/>
    public override DateTimeOffset WallAtStart { get; } = wallAtStart;

    /// <inheritdoc/>
    public override ulong StartTsc => 0;

    /// <inheritdoc/>
    public override ulong Counter => (ulong)Now.Value;

    /// <inheritdoc/>
    public override uint Multiplier => 1u << 31;

    /// <inheritdoc/>
    public override sbyte Shift => 1;

    /// <inheritdoc/>
    public override double TicksPerSecond => 1e9;

    /// <inheritdoc/>
    public override Nanoseconds Now => new(time.ToNanoseconds(Work));

    /// <summary>An instant in instructions.</summary>
    public long WorkAt(Nanoseconds instant) => instant == Nanoseconds.Never ? long.MaxValue : time.ToInstructions(instant.Value);

    /// <summary>Time passes.</summary>
    public void Spend(Nanoseconds length) => Work += time.ToInstructions(length.Value);

    /// <inheritdoc/>
    public override void Calibrate()
    {
    }

    /// <inheritdoc/>
    public override Nanoseconds ToMonotonic(Nanoseconds instant) => throw new InvalidOperationException("Virtual time has no instants of the host.");

    /// <inheritdoc/>
    public override void Dispose()
    {
    }
}
