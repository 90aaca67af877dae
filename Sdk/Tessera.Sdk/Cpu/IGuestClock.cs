namespace Tessera.Sdk.Cpu;

/// <summary>
/// Optional power of an <see cref="IGuestCpu"/> of a machine with a <see cref="GuestMachineLayout.Time"/>: it runs by the work it does instead of the host's clock. Work is
/// counted in guest instructions, each once and at the same place in every run: nothing of the count depends on the host, on how code was run before, or on how often Run was called.
/// </summary>
/// <remarks>
/// An instruction that traps does not count, and counts when it is carried out later; one that repeats (`rep`) counts by how much it did. The time-stamp counter, RDRAND and
/// RDSEED follow from work and seed.
/// </remarks>
public interface IGuestClock
{
    /// <summary>As <see cref="IGuestCpu.Run"/>, by the machine's clock: until it traps, is kicked, or reaches a time.</summary>
    /// <param name="thread">The calling thread's own engine thread.</param>
    /// <param name="time">What the machine's clock says, in instructions; on return the same and the instructions carried out.</param>
    /// <param name="until">When to come back with <see cref="TrapKind.Preempted"/>: at the first backward jump, call, return or indirect jump from there on.</param>
    Trap Run(IEngineThread thread, ref long time, long until);
}

/// <summary>Time that follows from the work of guests.</summary>
public sealed record GuestTime
{
    /// <summary>How many guest instructions make a microsecond, at least 1.</summary>
    public required int InstructionsPerMicrosecond { get; init; }

    /// <summary>What RDRAND and RDSEED give follows from this.</summary>
    public ulong Seed { get; init; }

    /// <summary>An amount of work as time; the time-stamp counter counts these nanoseconds.</summary>
    public long ToNanoseconds(long instructions)
    {
        (long microseconds, long rest) = Math.DivRem(instructions, InstructionsPerMicrosecond);
        return (microseconds * 1000) + (rest * 1000 / InstructionsPerMicrosecond);
    }

    /// <summary>The least amount of work that takes so long.</summary>
    public long ToInstructions(long nanoseconds)
    {
        (long microseconds, long rest) = Math.DivRem(nanoseconds, 1000);
        if (microseconds >= long.MaxValue / InstructionsPerMicrosecond)
            return long.MaxValue;
        return (microseconds * InstructionsPerMicrosecond) + (((rest * InstructionsPerMicrosecond) + 999) / 1000);
    }
}
