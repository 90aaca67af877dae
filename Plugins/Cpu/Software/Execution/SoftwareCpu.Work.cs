using System.Diagnostics;
using Iced.Intel;
using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Software;

// Time that follows from work: what was carried out, when to come back, and what guests see of it.
internal sealed unsafe partial class SoftwareCpu
{
    // SAFETY: reads and writes the state block only.
    private const ulong RandomStep = 0x9E37_79B9_7F4A_7C15;

    /// <summary>Instructions that may be carried out until the budget is looked at again, counted from the last settling.</summary>
    private long _granted;

    /// <summary>The machine's clock at the last settling, in instructions.</summary>
    private long _time;

    /// <summary>When to come back by that clock.</summary>
    private long _until;
    private ulong _random;

    private const long FarNanoseconds = 500_000;
    private const int MostUnasked = 3;

    /// <summary>The deadline that the clock was asked for at an entry, and how many entries may do without asking again.</summary>
    private long _askedFor = long.MinValue;
    private int _unasked;

    private bool IsCounted => _machine.Time is not null;

    /// <inheritdoc/>
    public Trap Run(IEngineThread thread, ref long time, long until)
    {
        if (!IsCounted)
            throw new InvalidOperationException("The machine was made for the host's time.");
        (_time, _until) = (time, until);
        Trap trap = Run(thread, Sdk.Nanoseconds.Never);
        time = _time;
        return trap;
    }

    /// <summary>Whether the time to come back is here: by the machine's clock, or by the host's.</summary>
    private bool IsLate(long deadline)
    {
        if (IsCounted)
            return _time >= _until;
        long now = Stopwatch.GetTimestamp();
        _unasked = deadline - now > FarNanoseconds ? MostUnasked : 0;
        return now >= deadline;
    }

    /// <summary>
    /// Whether the clock is to be asked at an entry. It costs as much as a tenth of a system call, and traps come by the million: while a deadline is far, a few entries do
    /// without; translated code comes back to ask within microseconds anyway.
    /// </summary>
    private bool MayBeLate(long deadline)
    {
        if (!IsCounted && deadline == _askedFor && --_unasked >= 0)
            return false;
        _askedFor = deadline;
        return true;
    }

    /// <summary>Moves the clock on by what has been carried out.</summary>
    private void Settle()
    {
        _time += _granted - (long)_context[StateBlock.Budget];
        _granted = (long)_context[StateBlock.Budget];
    }

    /// <summary>
    /// Says how much may be carried out before the next look. Translated code comes back when it has done more than that: with the time to come back less one, at the first place that
    /// looks from there on, however large the quantum.
    /// </summary>
    private void Grant()
    {
        _granted = IsCounted ? Math.Max(0, Math.Min(_machine.Quantum, _until - _time - 1)) : _machine.Quantum;
        _context[StateBlock.Budget] = (ulong)_granted;
    }

    /// <summary>Counts what translated code does not count itself.</summary>
    private void Charge(long instructions) => _context[StateBlock.Budget] -= (ulong)instructions;

    private Step CarryOutReadCounter(in Instruction instruction)
    {
        ulong counter = (ulong)_machine.Time!.ToNanoseconds(_time + _granted - (long)_context[StateBlock.Budget]);
        _context.Register(0) = (uint)counter;
        _context.Register(2) = counter >> 32;
        if (instruction.Mnemonic == Mnemonic.Rdtscp)
            _context.Register(Rcx) = 0;
        return Done(instruction);
    }

    private Step CarryOutRandom(in Instruction instruction)
    {
        // SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
        ulong value = _random += RandomStep;
        value = (value ^ (value >> 30)) * 0xBF58_476D_1CE4_E5B9;
        value = (value ^ (value >> 27)) * 0x94D0_49BB_1331_11EB;
        SetRegister(instruction.Op0Register, value ^ (value >> 31));
        _context[StateBlock.Flags] = (_context[StateBlock.Flags] & ~ArithmeticFlags) | CarryFlag;
        return Done(instruction);
    }
}
