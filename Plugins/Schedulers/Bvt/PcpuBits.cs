using System.Numerics;

namespace Tessera.Plugins.Schedulers.Bvt;

/// <summary>A set of physical CPUs, as bits.</summary>
internal sealed class PcpuBits
{
    private readonly ulong[] _bits;

    /// <summary>Makes the set.</summary>
    /// <param name="pcpuCount">How many physical CPUs the machine has.</param>
    /// <param name="members">The first members.</param>
    public PcpuBits(int pcpuCount, params IEnumerable<int> members)
    {
        _bits = new ulong[(pcpuCount + 63) / 64];
        foreach (int pcpu in members)
            Add(pcpu);
    }

    public int Count { get; private set; }

    public void Add(int pcpu)
    {
        if (Contains(pcpu))
            return;
        _bits[pcpu / 64] |= 1UL << (pcpu % 64);
        Count++;
    }

    public void Remove(int pcpu)
    {
        if (!Contains(pcpu))
            return;
        _bits[pcpu / 64] &= ~(1UL << (pcpu % 64));
        Count--;
    }

    public bool Contains(int pcpu) => (_bits[pcpu / 64] & (1UL << (pcpu % 64))) != 0;

    /// <summary>The first that is also in another set and is not the one left out, or -1.</summary>
    /// <param name="among">The other set.</param>
    /// <param name="except">The one left out, or -1.</param>
    public int FirstOf(PcpuBits among, int except)
    {
        if (Count == 0)
            return -1;
        for (int word = 0; word < _bits.Length; word++)
        {
            ulong bits = _bits[word] & among._bits[word];
            if (except >= 0 && except / 64 == word)
                bits &= ~(1UL << (except % 64));
            if (bits != 0)
                return (word * 64) + BitOperations.TrailingZeroCount(bits);
        }

        return -1;
    }
}
