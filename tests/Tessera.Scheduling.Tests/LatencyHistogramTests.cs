using Tessera.Sdk;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Scheduling.Tests;

public sealed class LatencyHistogramTests
{
    [Test]
    public void Percentiles_are_never_too_low_and_at_most_a_thirty_second_too_high()
    {
        Random random = new(20260101);
        for (int round = 0; round < 50; round++)
        {
            LatencyHistogram histogram = new();
            long[] values = [.. Enumerable.Range(0, 1 + random.Next(500)).Select(_ => random.NextInt64(1L << random.Next(1, 42)))];
            foreach (long value in values)
                histogram.Record(new(value));
            Array.Sort(values);
            foreach (double percent in new[] { 0.1, 50, 90, 99, 99.9, 100 })
            {
                long exact = values[Math.Max(1, (int)Math.Ceiling(values.Length * (percent / 100))) - 1];
                long got = histogram.Percentile(percent).Value;
                Assert.That(got, Is.InRange(exact, exact + (exact / 32)), $"p{percent} of {values.Length}");
            }

            Assert.That((histogram.Count, histogram.Max.Value), Is.EqualTo(((long)values.Length, values[^1])));
        }
    }

    [Test]
    public void Extremes_are_recorded_and_merging_adds()
    {
        LatencyHistogram histogram = new();
        Assert.That(histogram.Summarize(), Is.EqualTo(default(LatencySummary)));
        histogram.Record(new(-5));
        histogram.Record(Nanoseconds.Never);
        Assert.That(histogram.Percentile(50), Is.EqualTo(Nanoseconds.Zero));
        Assert.That(histogram.Percentile(100), Is.EqualTo(Nanoseconds.Never));
        LatencyHistogram other = new();
        other.Record(new(7));
        other.Merge(histogram);
        Assert.That(other.Summarize(), Is.EqualTo(new LatencySummary(3, new(7), Nanoseconds.Never, Nanoseconds.Never)));
        other.Clear();
        Assert.That(other.Count, Is.Zero);
    }
}
