using System.Numerics;

namespace Tessera.Sdk.Scheduling.Core;

/// <summary>
/// A histogram of lengths of time with a fixed size and a bounded relative error: log-linear buckets as in HdrHistogram, 32 for
/// each power of two, so a percentile is at most 1/32 too high and never too low. Recording allocates nothing. Not thread-safe.
/// </summary>
public sealed class LatencyHistogram
{
    private const int SubBucketBits = 5;
    private const int SubBuckets = 1 << SubBucketBits;

    /// <summary>Lengths from 2^42 ns (73 minutes) on share the last bucket; <see cref="Max"/> stays exact.</summary>
    private const int HighestBit = 42;

    private readonly uint[] _counts = new uint[(HighestBit - SubBucketBits + 1) * SubBuckets];

    /// <summary>How many lengths were recorded.</summary>
    public long Count { get; private set; }

    /// <summary>The sum of all, ns.</summary>
    public long Sum { get; private set; }

    /// <summary>The count of each bucket: one for each value below 32 ns, then 32 for each power of two; the last counts all that is longer.</summary>
    public ReadOnlySpan<uint> Counts => _counts;

    /// <summary>The longest one, exact; zero when there is none.</summary>
    public Nanoseconds Max { get; private set; }

    /// <summary>Records one length; a negative one counts as zero.</summary>
    public void Record(Nanoseconds length)
    {
        long value = Math.Max(0, length.Value);
        ref uint count = ref _counts[IndexOf(value)];
        if (count != uint.MaxValue)
            count++;
        Count++;
        Sum += value;
        if (value > Max.Value)
            Max = new(value);
    }

    /// <summary>The least length that at least this part of the records does not exceed, to within a bucket; zero when there is none.</summary>
    /// <param name="percent">From 0 (exclusive) to 100.</param>
    public Nanoseconds Percentile(double percent)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(percent);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(percent, 100);
        if (Count == 0)
            return Nanoseconds.Zero;
        long rank = Math.Max(1, (long)Math.Ceiling(Count * (percent / 100)));
        long seen = 0;
        for (int index = 0; index < _counts.Length - 1; index++)
        {
            seen += _counts[index];
            if (seen >= rank)
                return Nanoseconds.Min(new(UpperBound(index)), Max);
        }

        return Max;
    }

    /// <summary>Adds all records of another histogram.</summary>
    public void Merge(LatencyHistogram other)
    {
        for (int index = 0; index < _counts.Length; index++)
            _counts[index] = (uint)Math.Min(uint.MaxValue, (ulong)_counts[index] + other._counts[index]);
        Count += other.Count;
        Sum += other.Sum;
        Max = Nanoseconds.Max(Max, other.Max);
    }

    /// <summary>Forgets every record.</summary>
    public void Clear()
    {
        Array.Clear(_counts);
        Count = 0;
        Sum = 0;
        Max = Nanoseconds.Zero;
    }

    /// <summary>Count, median, 99th percentile and maximum.</summary>
    public LatencySummary Summarize() => Count == 0 ? default : new(Count, Percentile(50), Percentile(99), Max);

    private static int IndexOf(long value)
    {
        if (value < SubBuckets)
            return (int)value;
        int bit = BitOperations.Log2((ulong)value);
        if (bit >= HighestBit)
            return ((HighestBit - SubBucketBits + 1) * SubBuckets) - 1;
        int shift = bit - SubBucketBits;
        return (shift * SubBuckets) + (int)(value >> shift);
    }

    private static long UpperBound(int index)
    {
        if (index < SubBuckets)
            return index;
        int shift = (index / SubBuckets) - 1;
        return ((long)((index % SubBuckets) + SubBuckets + 1) << shift) - 1;
    }
}

/// <summary>What a <see cref="LatencyHistogram"/> comes to.</summary>
/// <param name="Count">How many records.</param>
/// <param name="P50">The median.</param>
/// <param name="P99">The 99th percentile.</param>
/// <param name="Max">The longest, exact.</param>
public readonly record struct LatencySummary(long Count, Nanoseconds P50, Nanoseconds P99, Nanoseconds Max);
