using System.Numerics;

namespace Tessera.Sdk.Simulation;

/// <summary>
/// Random numbers that are the same for the same seed on every machine and in every version of .NET: SplitMix64 (Steele, Lea and
/// Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014) and nothing but IEEE basic arithmetic on top.
/// </summary>
/// <param name="seed">Where to start; near seeds give unrelated numbers.</param>
public sealed class SimulationRandom(ulong seed)
{
    private const double Ln2 = 0.693147180559945309417232121458;

    private ulong _state = seed;

    /// <summary>The next 64 random bits.</summary>
    public ulong NextBits()
    {
        ulong mixed = _state += 0x9E3779B97F4A7C15UL;
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9UL;
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBUL;
        return mixed ^ (mixed >> 31);
    }

    /// <summary>A whole number from 0 to below a limit, all equally likely.</summary>
    /// <param name="limit">At least 1.</param>
    public long Below(long limit)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        return (long)Math.BigMul(NextBits(), (ulong)limit, out _);
    }

    /// <summary>A number from 0 to below 1 with 53 random bits.</summary>
    public double NextUnit() => (NextBits() >> 11) * (1.0 / (1UL << 53));

    /// <summary>A length of time with the exponential distribution: the gaps of a Poisson process.</summary>
    /// <param name="mean">Its mean.</param>
    /// <returns>At least a nanosecond.</returns>
    public Nanoseconds Exponential(Nanoseconds mean) => new(Math.Max(1, (long)(-NaturalLogarithm(1.0 - NextUnit()) * mean.Value)));

    /// <summary>A generator of its own for one vCPU, so that adding another vCPU changes no other's numbers.</summary>
    /// <param name="seed">The run's seed.</param>
    /// <param name="stream">Which one.</param>
    public static SimulationRandom Stream(ulong seed, ulong stream)
    {
        SimulationRandom mixer = new(seed ^ BitOperations.RotateLeft(stream * 0xD1342543DE82EF95UL, 32));
        return new(mixer.NextBits() ^ stream);
    }

    /// <summary>ln x for 0 &lt; x ≤ 1 by halving and the series of artanh: the C library's is not the same everywhere.</summary>
    private static double NaturalLogarithm(double x)
    {
        int exponent = 0;
        while (x < 0.70710678118654752)
        {
            x *= 2;
            exponent--;
        }

        double t = (x - 1) / (x + 1);
        double square = t * t;
        double sum = 0;
        for (int term = 21; term >= 1; term -= 2)
            sum = (sum * square) + (1.0 / term);
        return (2 * t * sum) + (exponent * Ln2);
    }
}
