namespace Tessera.Plugins.Schedulers.Bvt;

/// <summary>
/// The arithmetic of virtual time. A virtual nanosecond is what a vCPU of weight 256 is charged for a nanosecond of CPU; the unit
/// kept is 1/256 of it, in 128 bits.
/// </summary>
/// <remarks>
/// No overflow, and so no rebasing: machine time is below 2^63 ns, so CPU time charged to one vCPU is too. Weights are kept
/// times 256 (<c>weight8</c>, from 2^8 to below 2^39), so its virtual time is at most 2^63 · 2^24 / 2^8 = 2^79 units; a wake only
/// copies another's, and a warp is below 2^40 ns = 2^48 units. All sums stay below 2^80, of 2^127.
/// Rounding: a charge is cut to a unit, so it loses less than 1/256 virtual ns: under 4 ms in a thousand million charges, which are
/// 28 hours of nothing but single charging units of 100 µs, and all of it far below one context-switch allowance.
/// </remarks>
internal static class VirtualTime
{
    /// <summary>The weight at which virtual time passes as fast as CPU time; Xen's customary default.</summary>
    public const int ReferenceWeight = 256;

    /// <summary>Fraction bits of weights: a cap on weights need not be a whole number.</summary>
    public const int WeightBits = 8;

    /// <summary>Fraction bits of a virtual nanosecond.</summary>
    public const int TimeBits = 8;

    /// <summary>Reference weight (2^8), weight fraction and time fraction together.</summary>
    public const int ScaleBits = 24;

    /// <summary>Below this many nanoseconds (9 minutes) a charge fits 64-bit arithmetic: 2^39 · 2^24 = 2^63.</summary>
    private const long Narrow = 1L << 39;

    /// <summary>Differences from here on (52 days at the reference weight) are as good as endless.</summary>
    private static readonly Int128 Endless = (Int128)1 << 60;

    /// <summary>Virtual nanoseconds as units.</summary>
    public static Int128 FromNanoseconds(long value) => (Int128)value << TimeBits;

    /// <summary>How far CPU time moves virtual time on at a weight.</summary>
    public static Int128 Advance(long cpuTime, long weight8) =>
        cpuTime < Narrow ? (Int128)((ulong)(cpuTime << ScaleBits) / (ulong)weight8) : ((Int128)cpuTime << ScaleBits) / weight8;

    /// <summary>The CPU time in which a vCPU of this weight moves on by so much, rounded down; negative for a negative difference; cut at about 2^62 ns.</summary>
    public static long CpuTime(Int128 difference, long weight8)
    {
        if (difference >= Endless)
            return 1L << 62;
        if (difference <= -Endless)
            return -(1L << 62);
        Int128 time = (difference * weight8) >> ScaleBits;
        return (long)Int128.Clamp(time, -(1L << 62), 1L << 62);
    }
}
