using System.Numerics;

namespace Tessera.Guests;

/// <summary>
/// A log-linear histogram of latencies in ns, as HdrHistogram's: exact to 63 ns, then 32 buckets an octave (at most 3.2 % wide), up to
/// 2^34 ns (17 s); longer ones count in the last bucket.
/// </summary>
/// <remarks>Built-in guests count with <see cref="BucketOf"/> in machine code; this is the reading side.</remarks>
public sealed class LatencyHistogram
{
    /// <summary>Buckets in all.</summary>
    public const int Buckets = 960;

    /// <summary>The greatest value with a bucket of its own.</summary>
    public const long MaxValue = (1L << 34) - 1;

    private const int SubBucketBits = 5;
    private const int SubBuckets = 1 << SubBucketBits;
    private readonly uint[] _counts;

    /// <summary>Takes over the counts of a report page.</summary>
    /// <param name="counts">One count a bucket.</param>
    /// <param name="sum">Sum of the values, ns.</param>
    /// <param name="max">The longest, ns.</param>
    public LatencyHistogram(ReadOnlySpan<uint> counts, ulong sum, ulong max)
    {
        if (counts.Length != Buckets)
            throw new ArgumentException($"A latency histogram has {Buckets} buckets, not {counts.Length}.", nameof(counts));
        _counts = counts.ToArray();
        foreach (uint count in _counts)
            Count += count;
        Sum = sum;
        Max = (long)Math.Min(max, long.MaxValue);
    }

    /// <summary>Values counted.</summary>
    public long Count { get; }

    /// <summary>Sum of the values, ns.</summary>
    public ulong Sum { get; }

    /// <summary>The longest, ns.</summary>
    public long Max { get; }

    /// <summary>Arithmetic mean in ns; 0 without values.</summary>
    public double Mean => Count == 0 ? 0 : (double)Sum / Count;

    /// <summary>The bucket that counts a value.</summary>
    /// <param name="nanoseconds">Not negative.</param>
    public static int BucketOf(long nanoseconds)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(nanoseconds);
        ulong value = (ulong)Math.Min(nanoseconds, MaxValue);
        if (value < SubBuckets)
            return (int)value;
        int shift = BitOperations.Log2(value) - SubBucketBits;
        return (shift * SubBuckets) + (int)(value >> shift);
    }

    /// <summary>The least value a bucket counts, ns.</summary>
    /// <param name="bucket">0 to <see cref="Buckets"/> − 1.</param>
    public static long LowestOf(int bucket)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bucket);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(bucket, Buckets);
        if (bucket < 2 * SubBuckets)
            return bucket;
        int shift = (bucket / SubBuckets) - 1;
        return (long)(bucket - (shift * SubBuckets)) << shift;
    }

    /// <summary>The greatest value a bucket counts, ns.</summary>
    /// <param name="bucket">0 to <see cref="Buckets"/> − 1.</param>
    public static long HighestOf(int bucket) => bucket == Buckets - 1 ? MaxValue : LowestOf(bucket + 1) - 1;

    /// <summary>The count of one bucket.</summary>
    public uint this[int bucket] => _counts[bucket];

    /// <summary>
    /// The least bucket bound that at least this share of the values do not exceed, ns: never below the true percentile, at most one bucket
    /// above it, never above <see cref="Max"/>. 0 without values.
    /// </summary>
    /// <param name="percent">Above 0 to 100.</param>
    public long Percentile(double percent)
    {
        if (!(percent is > 0 and <= 100))
            throw new ArgumentOutOfRangeException(nameof(percent), percent, "A percentile lies above 0 and up to 100.");
        if (Count == 0)
            return 0;
        long wanted = Math.Clamp((long)Math.Ceiling(percent / 100 * Count), 1, Count);
        long seen = 0;
        for (int bucket = 0; bucket < Buckets - 1; bucket++)
        {
            seen += _counts[bucket];
            if (seen >= wanted)
                return Math.Min(HighestOf(bucket), Max);
        }

        return Max;
    }
}
