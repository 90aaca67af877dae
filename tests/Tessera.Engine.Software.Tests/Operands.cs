using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Engine.Software.Tests;

/// <summary>What a program of the oracle's wants its operands to be, beside random.</summary>
[Flags]
internal enum Wishes
{
    None = 0,

    /// <summary>Registers of 32 bits.</summary>
    Narrow = 1,

    /// <summary>RSI and RDI point into the window, mostly, and RCX is small.</summary>
    Strings = 2,

    /// <summary>RSI and RDI always do.</summary>
    Near = 32,

    /// <summary>RBP points into the window, mostly.</summary>
    Frame = 4,

    /// <summary>The even vector registers have small numbers.</summary>
    Indices = 8,

    /// <summary>The memory has numbers that arithmetic has trouble with.</summary>
    Numbers = 16,
}

/// <summary>
/// Random registers, flags and memory, each set by its own number and so to be had again alone. Four xoshiro256+ side by side, in vectors: a set is to cost no more than a fraction of a
/// microsecond.
/// </summary>
internal sealed class Operands
{
    /// <summary>Carry, parity, adjust, zero, sign, direction, overflow.</summary>
    public const ulong Flags = 0xcd5;

    private const ulong AlwaysSet = 0x202;
    private const int WordsAtOnce = 64;
    private const int Rax = 0;
    private const int Rcx = 2;
    private const int Rdx = 3;
    private const int Rsi = 4;
    private const int Rdi = 5;
    private const int Rbp = 7;

    /// <summary>Pairs of words: doubles, floats, integers of all sizes at their ends.</summary>
    private static readonly ulong[] Troubles =
    [
        .. new double[] { 0, -0.0, 1, -1, 0.5, double.MaxValue, double.MinValue, double.Epsilon, double.PositiveInfinity, double.NegativeInfinity, double.NaN, 2147483647.5, -2147483648.5, 9.3e18, 1e-310, 3 }
            .Select(BitConverter.DoubleToUInt64Bits),
        .. new float[] { 0, -0f, 1, -1.5f, float.MaxValue, float.MinValue, float.Epsilon, float.PositiveInfinity, float.NaN, 2147483648f, -2147483904f, 1e-40f, 7, 65504, 65520, 1e-8f }
            .Select(value => BitConverter.SingleToUInt32Bits(value) * 0x1_0000_0001UL),
        0x7ff0_0000_0000_0001, 0x7f80_0001_ff80_0001, 0x7fff_ffff_ffff_ffff, 0x8000_0000_0000_0000, 0x7fff_ffff_8000_0000, 0x8000_7fff_ffff_0001, 0x807f_ff01_0080_7f80, ulong.MaxValue,
    ];

    private readonly ulong[] _words = new ulong[WordsAtOnce];
    private Vector256<ulong> _s0;
    private Vector256<ulong> _s1;
    private Vector256<ulong> _s2;
    private Vector256<ulong> _s3;
    private int _next;

    /// <summary>The operands of one set.</summary>
    /// <param name="seed">Its program's.</param>
    /// <param name="set">Its number.</param>
    /// <param name="wishes">What they are to be.</param>
    /// <param name="state">The registers, as <see cref="GuestCpuState"/> has them.</param>
    /// <param name="window">The memory.</param>
    public void Make(long seed, int set, Wishes wishes, Span<ulong> state, Span<byte> window)
    {
        Begin(((ulong)seed << 32) ^ (uint)set);
        Fill(window);
        ulong choices = Next();
        int bits = wishes.HasFlag(Wishes.Narrow) ? 32 : 64;
        ulong mask = ulong.MaxValue >> (64 - bits);
        for (int register = 0; register < 16; register++, choices >>= 2)
            state[register] = Value(choices & 3, Next(), bits) & mask;
        (state[1], state[6]) = (OracleMemory.Border, unchecked(OracleMemory.Border + (ulong)OracleMemory.Stack));
        if (bits == 32)
            state[8..16].Clear();
        choices = Next();
        if (wishes.HasFlag(Wishes.Strings) && ((choices & 15) != 0 || wishes.HasFlag(Wishes.Near)))
        {
            state[Rsi] = Near(Next());
            state[Rdi] = Near(Next());
            if ((choices & 0xf0) != 0)
                state[Rcx] &= 31;
        }

        if (wishes.HasFlag(Wishes.Frame) && (choices & 0xf00) != 0)
            state[Rbp] = Near(Next());
        state[16] = Sdk.Conformance.Cpu.EngineGuest.Code;
        state[17] = (Next() & Flags) | AlwaysSet;
        Shape(wishes, (int)(choices >> 12), state, window);
    }

    /// <summary>Any word.</summary>
    public ulong Next()
    {
        if (_next == WordsAtOnce)
        {
            Fill(MemoryMarshal.AsBytes(_words.AsSpan()));
            _next = 0;
        }

        return _words[_next++];
    }

    private static ulong Value(ulong choice, ulong word, int bits) => choice switch
    {
        0 => word & 15,
        1 => 0 - (1 + (word & 15)),
        2 => 1UL << (int)(word & (ulong)(bits - 1)),
        _ => word,
    };

    private static ulong Near(ulong word) => OracleMemory.Border - RandomInstructions.Reach + (word & ((2 * RandomInstructions.Reach) - 1) & ((word & (1UL << 40)) != 0 ? ulong.MaxValue : ~7UL));

    /// <summary>Makes of random memory what seldom comes by itself.</summary>
    private void Shape(Wishes wishes, int choice, ReadOnlySpan<ulong> state, Span<byte> window)
    {
        Span<ulong> operands = MemoryMarshal.Cast<byte, ulong>(window[(OracleMemory.Middle - RandomInstructions.Reach)..(OracleMemory.Middle + OracleMemory.VectorsIn + 0x100)]);
        Span<ulong> vectors = operands[^32..];
        if (wishes.HasFlag(Wishes.Indices))
        {
            // The others are their masks, and stay random.
            for (int word = 0; word < vectors.Length; word++)
            {
                if ((word & 4) == 0)
                    vectors[word] &= 0x0000_001f_0000_001f;
            }
        }

        switch (choice & 7)
        {
            case 0:
                // Equal to what a compare and exchange compares with: one of 16 bytes, or several of fewer.
                ulong pair = (uint)state[Rax] | (state[Rdx] << 32);
                (ulong low, ulong high) = (choice & 8) != 0 ? (pair, pair) : (state[Rax], state[Rdx]);
                for (int word = 0; word < 2 * RandomInstructions.Reach / 8; word += 2)
                    (operands[word], operands[word + 1]) = (low, high);
                break;
            case 1 or 2:
                Trouble(operands);
                break;
            default:
                if (wishes.HasFlag(Wishes.Numbers))
                    Trouble(operands);
                break;
        }
    }

    private void Trouble(Span<ulong> operands)
    {
        for (int word = 0; word < operands.Length; word += 2)
        {
            ulong random = Next();
            switch (random & 3)
            {
                case 0:
                    operands[word] = Troubles[(int)((random >> 8) % (ulong)Troubles.Length)];
                    operands[word + 1] = Troubles[(int)((random >> 24) % (ulong)Troubles.Length)];
                    break;
                case 1:
                    // An x87 number: the integer bit, and an exponent near the middle.
                    operands[word] |= 1UL << 63;
                    operands[word + 1] = (operands[word + 1] & ~0xffffUL) | (0x3fb0 + ((random >> 8) & 0x9f));
                    break;
                default:
                    break;
            }
        }
    }

    private void Begin(ulong seed)
    {
        // SplitMix64, so that seeds that differ little begin far from each other.
        Span<ulong> state = stackalloc ulong[16];
        for (int word = 0; word < state.Length; word++)
        {
            seed += 0x9e37_79b9_7f4a_7c15;
            ulong mixed = (seed ^ (seed >> 30)) * 0xbf58_476d_1ce4_e5b9;
            mixed = (mixed ^ (mixed >> 27)) * 0x94d0_49bb_1331_11eb;
            state[word] = mixed ^ (mixed >> 31);
        }

        (_s0, _s1, _s2, _s3) = (Vector256.Create(state), Vector256.Create(state[4..]), Vector256.Create(state[8..]), Vector256.Create(state[12..]));
        _next = WordsAtOnce;
    }

    /// <summary>Fills memory, a multiple of 32 bytes.</summary>
    private void Fill(Span<byte> memory)
    {
        (Vector256<ulong> s0, Vector256<ulong> s1, Vector256<ulong> s2, Vector256<ulong> s3) = (_s0, _s1, _s2, _s3);
        foreach (ref Vector256<ulong> place in MemoryMarshal.Cast<byte, Vector256<ulong>>(memory))
        {
            place = s0 + s3;
            Vector256<ulong> shifted = s1 << 17;
            s2 ^= s0;
            s3 ^= s1;
            s1 ^= s2;
            s0 ^= s3;
            s2 ^= shifted;
            s3 = (s3 << 45) | (s3 >>> 19);
        }

        (_s0, _s1, _s2, _s3) = (s0, s1, s2, s3);
    }
}
