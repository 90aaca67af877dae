using Tessera.Guests;
using Tessera.Lab.Results;

namespace Tessera.Experiments.Runs;

/// <summary>What one domain got in a window.</summary>
/// <param name="CpuSeconds">pCPU time.</param>
/// <param name="Share">Of all pCPU time.</param>
/// <param name="ExpectedShare">What it was entitled to.</param>
/// <param name="Work">Units a built-in guest did; null for others.</param>
/// <param name="Wakes">Times it became runnable.</param>
/// <param name="Latency">Wake-to-run latencies a built-in guest recorded; null for others.</param>
/// <param name="Missed">Deadlines it had missed before it could wait for them; null for guests that have none.</param>
public sealed record ShareRow(double CpuSeconds, double Share, double ExpectedShare, long? Work, long Wakes, LatencySummary? Latency, long? Missed);

/// <summary>Differences of two readings as shares.</summary>
public static class ShareTable
{
    /// <summary>One row a domain, in order.</summary>
    public static ShareRow[] Between(MachineReading from, MachineReading to, double[] expected)
    {
        double seconds = (to.At - from.At).TotalSeconds;
        int pcpus = to.Pcpus.Count;
        ShareRow[] rows = new ShareRow[expected.Length];
        for (int index = 0; index < expected.Length; index++)
        {
            DomainReading before = from.Domains[index];
            DomainReading after = to.Domains[index];
            double cpu = (after.Running - before.Running).TotalSeconds;
            rows[index] = new ShareRow(
                cpu,
                seconds > 0 ? cpu / (seconds * pcpus) : 0,
                expected[index],
                after.Report is { } report ? (long)(report.Units - (before.Report?.Units ?? 0)) : null,
                after.Wakes - before.Wakes,
                Latency(before.Report?.Latency, after.Report?.Latency),
                after.Report is { Latency: not null } counted ? (long)(counted.Overruns - (before.Report?.Overruns ?? 0)) : null);
        }

        return rows;
    }

    /// <summary>Counts that grew between two readings.</summary>
    public static SortedDictionary<string, long> Difference(IReadOnlyDictionary<string, long> from, IReadOnlyDictionary<string, long> to)
    {
        SortedDictionary<string, long> difference = new(StringComparer.Ordinal);
        foreach ((string name, long count) in to)
        {
            long grown = count - from.GetValueOrDefault(name);
            if (grown > 0)
                difference[name] = grown;
        }

        return difference;
    }

    /// <summary>A distribution of the time between two readings; null when nothing was counted in it.</summary>
    public static LatencySummary? Latency(LatencyHistogram? before, LatencyHistogram? after)
    {
        if (after is null)
            return null;
        uint[] counts = new uint[LatencyHistogram.Buckets];
        int highest = 0;
        for (int bucket = 0; bucket < counts.Length; bucket++)
        {
            counts[bucket] = after[bucket] - (before?[bucket] ?? 0);
            if (counts[bucket] > 0)
                highest = bucket;
        }

        // The longest of the window is known to a bucket only, unless it is the longest of all.
        long max = Math.Min(LatencyHistogram.HighestOf(highest), after.Max);
        LatencyHistogram window = new(counts, after.Sum - (before?.Sum ?? 0), (ulong)max);
        return window.Count == 0 ? null : new LatencySummary(window.Percentile(50), window.Percentile(99), window.Max, window.Count);
    }
}
