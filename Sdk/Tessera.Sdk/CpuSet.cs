using System.Collections.Immutable;

namespace Tessera.Sdk;

/// <summary>A set of physical CPUs, as an affinity: a vCPU runs only on its members. Immutable.</summary>
public sealed class CpuSet
{
    private readonly ImmutableArray<ulong> _words;

    private CpuSet(ImmutableArray<ulong> words, bool all)
    {
        _words = words;
        IsAll = all;
    }

    /// <summary>Every physical CPU of whatever machine it is used on.</summary>
    public static CpuSet All { get; } = new([], all: true);

    /// <summary>True for <see cref="All"/>.</summary>
    public bool IsAll { get; }

    /// <summary>The set of exactly these physical CPUs.</summary>
    /// <param name="indexes">Indexes from 0; at least one.</param>
    /// <exception cref="ArgumentException">No index, or a negative one.</exception>
    public static CpuSet Of(params ReadOnlySpan<int> indexes)
    {
        if (indexes.IsEmpty)
            throw new ArgumentException("A CPU set has at least one member.", nameof(indexes));
        int highest = 0;
        foreach (int index in indexes)
            highest = Math.Max(highest, index >= 0 ? index : throw new ArgumentException($"CPU {index} is negative.", nameof(indexes)));
        ulong[] words = new ulong[(highest / 64) + 1];
        foreach (int index in indexes)
            words[index / 64] |= 1UL << (index % 64);
        return new([.. words], all: false);
    }

    /// <summary>Whether the set has this physical CPU.</summary>
    public bool Contains(PcpuId pcpu) =>
        IsAll || (pcpu.Index / 64 < _words.Length && (_words[pcpu.Index / 64] & (1UL << (pcpu.Index % 64))) != 0);

    /// <inheritdoc/>
    public override string ToString()
    {
        if (IsAll)
            return "all";
        List<int> members = [];
        for (int index = 0; index < _words.Length * 64; index++)
        {
            if (Contains(new PcpuId(index)))
                members.Add(index);
        }

        return string.Join(',', members);
    }
}
