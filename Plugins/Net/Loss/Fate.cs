using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Net.Loss;

/// <summary>What becomes of a frame.</summary>
/// <param name="IsLost">It does not arrive.</param>
/// <param name="IsRepeated">It arrives twice.</param>
/// <param name="Jitter">How much of the jitter it gets, 0 to 1.</param>
/// <param name="SecondJitter">The same of its second copy.</param>
internal readonly record struct Fate(bool IsLost, bool IsRepeated, double Jitter, double SecondJitter);

/// <summary>
/// Fates by number: a hash of the seed, the interface's address, the direction and the frame's number, so that a frame's fate depends on how many
/// came before it and on nothing else, neither on time nor on other options.
/// </summary>
internal sealed class FateSource
{
    private const ulong Step = 0x9E37_79B9_7F4A_7C15;
    private const int Draws = 4;

    private readonly double _loss;
    private readonly double _duplication;
    private readonly ulong _key;

    /// <summary>Makes the fates of one direction of an interface.</summary>
    public FateSource(LossOptions options, MacAddress address, LossDirection direction)
    {
        (_loss, _duplication) = (options.Loss / 100, options.Duplication / 100);
        _key = Mix(Mix((ulong)options.Seed) ^ Mix((address.Value << 2) | (ulong)direction));
    }

    /// <summary>The fate of a frame.</summary>
    /// <param name="number">How many came before it.</param>
    public Fate Of(ulong number) => new(Draw(number, 0) < _loss, Draw(number, 1) < _duplication, Draw(number, 2), Draw(number, 3));

    private double Draw(ulong number, ulong which) => (Mix(_key + (((number * Draws) + which) * Step)) >> 11) * (1.0 / (1UL << 53));

    /// <summary>SplitMix64's finalizer (Steele, Lea and Flood, OOPSLA 2014).</summary>
    private static ulong Mix(ulong value)
    {
        value += Step;
        value = (value ^ (value >> 30)) * 0xBF58_476D_1CE4_E5B9;
        value = (value ^ (value >> 27)) * 0x94D0_49BB_1331_11EB;
        return value ^ (value >> 31);
    }
}
