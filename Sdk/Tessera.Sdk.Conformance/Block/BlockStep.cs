using Tessera.Sdk.Simulation;

namespace Tessera.Sdk.Conformance.Block;

/// <summary>What a step of a random case does.</summary>
internal enum BlockStepKind
{
    Read,
    Write,
    Zero,
    Discard,
    Flush,

    /// <summary>Several operations on neighbouring ranges at once.</summary>
    Burst,

    /// <summary>Close, make another backend, open.</summary>
    Reopen,

    /// <summary>The machine stops.</summary>
    Crash,

    /// <summary>A request outside the disk, or not in whole sectors.</summary>
    Stray,
}

/// <summary>One step; what it does in detail follows from its number.</summary>
internal readonly record struct BlockStep(BlockStepKind Kind, int Number)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Kind} {Number}";

    /// <summary>Chance for the details: the same number gives the same.</summary>
    public SimulationRandom Random() => new((ulong)Number);
}
