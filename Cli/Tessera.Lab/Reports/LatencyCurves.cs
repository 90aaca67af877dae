using Tessera.Lab.Metrics;

namespace Tessera.Lab.Reports;

/// <summary>The distribution of one domain's wake latencies.</summary>
/// <param name="Domain">The domain's index.</param>
/// <param name="Count">How many wakes.</param>
/// <param name="AtOrBelow">For each instant of <see cref="LatencyCurves.At"/>, how many waited no longer.</param>
internal sealed record LatencyCurve(int Domain, int Count, int[] AtOrBelow);

/// <summary>Distributions of wake latencies over a common logarithmic grid, so that a hundred domains cost no more than their wakes.</summary>
/// <param name="At">The grid, in ns, ascending.</param>
/// <param name="Curves">Each domain that woke.</param>
internal sealed record LatencyCurves(long[] At, IReadOnlyList<LatencyCurve> Curves)
{
    /// <summary>Steps of 3.7 %.</summary>
    private const int StepsPerDecade = 64;

    /// <summary>The distributions; null when nobody woke, or nobody waited at all.</summary>
    public static LatencyCurves? Of(ScheduleReplay replay)
    {
        long most = replay.Wakes.Count == 0 ? 0 : replay.Wakes.Max(wake => wake.Latency.Value);
        if (most <= 0)
            return null;

        // A wake that found its physical CPU at once took no time, which has no place on a logarithmic axis: it counts below the axis' beginning.
        long least = replay.Wakes.Min(wake => wake.Latency.Value <= 0 ? most : wake.Latency.Value);

        // Whole decades, so that the axis begins and ends with a label.
        int first = (int)Math.Floor(Math.Log10(least)) * StepsPerDecade;
        int last = Math.Max((int)Math.Ceiling(Math.Log10(most)) * StepsPerDecade, first + StepsPerDecade);
        long[] at = [.. Enumerable.Range(first, last - first + 1).Select(step => (long)Math.Round(Math.Pow(10, (double)step / StepsPerDecade))).Where(value => value > 0).Distinct()];
        List<LatencyCurve> curves = [];
        foreach (IGrouping<int, WakeToRun> domain in replay.Wakes.GroupBy(wake => wake.Domain).OrderBy(group => group.Key))
        {
            long[] sorted = [.. domain.Select(wake => wake.Latency.Value).Order()];
            int[] below = new int[at.Length];
            int count = 0;
            for (int step = 0; step < at.Length; step++)
            {
                while (count < sorted.Length && sorted[count] <= at[step])
                    count++;
                below[step] = count;
            }

            curves.Add(new LatencyCurve(domain.Key, sorted.Length, below));
        }

        return new LatencyCurves(at, curves);
    }
}
