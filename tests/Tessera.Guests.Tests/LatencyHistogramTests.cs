using FsCheck;
using FsCheck.Fluent;

namespace Tessera.Guests.Tests;

public sealed class LatencyHistogramTests
{
    [Test]
    public void Every_value_lies_in_its_bucket() =>
        Prop.ForAll<long, byte>((value, bits) =>
        {
            long latency = (value & long.MaxValue) >> (bits % 63);
            int bucket = LatencyHistogram.BucketOf(latency);
            long counted = Math.Min(latency, LatencyHistogram.MaxValue);
            return LatencyHistogram.LowestOf(bucket) <= counted && counted <= LatencyHistogram.HighestOf(bucket);
        }).QuickCheckThrowOnFailure();

    [Test]
    public void Buckets_follow_each_other_without_gap_and_are_narrow()
    {
        Assert.That(LatencyHistogram.LowestOf(0), Is.Zero);
        for (int bucket = 1; bucket < LatencyHistogram.Buckets; bucket++)
        {
            long low = LatencyHistogram.LowestOf(bucket), high = LatencyHistogram.HighestOf(bucket);
            Assert.That(low, Is.EqualTo(LatencyHistogram.HighestOf(bucket - 1) + 1));
            Assert.That(high - low, Is.LessThanOrEqualTo(low / 32));
        }

        Assert.That(LatencyHistogram.HighestOf(LatencyHistogram.Buckets - 1), Is.EqualTo(LatencyHistogram.MaxValue));
    }

    [Test]
    public void A_percentile_is_never_below_the_true_one_and_at_most_a_bucket_above() =>
        Prop.ForAll<NonEmptyArray<NonNegativeInt>, byte>((values, share) =>
        {
            double percent = 100.0 * (share + 1) / 256;
            long[] sorted = [.. values.Get.Select(value => (long)value.Get * 37).Order()];
            uint[] counts = new uint[LatencyHistogram.Buckets];
            foreach (long value in sorted)
                counts[LatencyHistogram.BucketOf(value)]++;
            LatencyHistogram histogram = new(counts, (ulong)sorted.Sum(), (ulong)sorted[^1]);
            long exact = sorted[(int)Math.Ceiling(percent / 100 * sorted.Length) - 1];
            long found = histogram.Percentile(percent);
            return histogram.Count == sorted.Length && found >= exact && found <= LatencyHistogram.HighestOf(LatencyHistogram.BucketOf(exact)) && found <= histogram.Max;
        }).QuickCheckThrowOnFailure();

    [Test]
    public void Without_values_there_are_no_latencies()
    {
        LatencyHistogram none = new(new uint[LatencyHistogram.Buckets], 0, 0);
        Assert.That((none.Count, none.Mean, none.Percentile(99), none.Max), Is.EqualTo((0L, 0.0, 0L, 0L)));
    }

    [Test]
    public void Longer_than_the_last_bucket_counts_there_and_the_maximum_says_how_long()
    {
        uint[] counts = new uint[LatencyHistogram.Buckets];
        counts[LatencyHistogram.BucketOf(long.MaxValue)]++;
        LatencyHistogram histogram = new(counts, 1UL << 40, 1UL << 40);
        Assert.That(histogram.Percentile(50), Is.EqualTo(1L << 40));
    }
}
