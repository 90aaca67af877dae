using Tessera.Experiments.Configuration;
using Tessera.Experiments.Machines;
using Tessera.Experiments.Planning;
using Tessera.Lab.Comparisons;
using Tessera.Lab.Metrics;
using Tessera.Lab.Results;
using Tessera.Lab.Statistics;

namespace Tessera.Experiments.Comparisons;

/// <summary>A run as numbers: what its recording and its result come to.</summary>
internal static class RunFigures
{
    /// <summary>Of fewer, the percentile is the greatest or the second greatest alone.</summary>
    private const int WakesForP99 = 100;
    private const int WakesForP999 = 1000;

    /// <summary>The metrics that apply (<see cref="MetricCatalogue"/>).</summary>
    /// <param name="metrics">Of its recording; null when the window never began.</param>
    /// <param name="result">Its result.</param>
    public static IReadOnlyDictionary<string, double> Metrics(RunMetrics? metrics, ResultDocument result)
    {
        Dictionary<string, double> values = [];
        if (metrics is { Seconds: > 0 })
        {
            foreach (WindowError error in metrics.ShareErrors)
                values[$"{MetricCatalogue.ShareErrorPrefix}{error.Window.Value / 1_000_000}ms"] = error.Mean;
            values["jain"] = metrics.JainIndex;
            values["lost"] = metrics.LostShare * 100;
            values["switches"] = metrics.Switches / metrics.Seconds;
            values["preemptions"] = metrics.Preemptions / metrics.Seconds;
            if (metrics.WakeToRunNs is { } wakes)
            {
                values["wakeP50"] = wakes.P50;
                if (wakes.Count >= WakesForP99)
                    values["wakeP99"] = wakes.P99;
                if (wakes.Count >= WakesForP999)
                    values["wakeP999"] = wakes.P999;
            }
        }

        double seconds = result.ElapsedSeconds;
        DomainResult[] measuring = [.. result.Domains.Where(MeasuresItself)];
        if (measuring.Length > 0)
        {
            values["lateP50"] = Describe.Median([.. measuring.Select(domain => (double)domain.WakeLatencyNs!.P50)]);
            values["lateP99"] = measuring.Max(domain => domain.WakeLatencyNs!.P99);
        }

        LatencySummary[] responses = [.. result.Domains.Select(domain => domain.ResponseTimeNs).OfType<LatencySummary>()];
        if (responses.Length > 0)
        {
            values["responseP50"] = Describe.Median([.. responses.Select(response => (double)response.P50)]);
            values["responseP99"] = responses.Max(response => response.P99);
        }

        if (seconds > 0 && result.Domains.Any(domain => domain.MissedDeadlines is not null))
            values["missed"] = result.Domains.Sum(domain => domain.MissedDeadlines ?? 0) / seconds;
        if (seconds > 0 && result.Domains.Any(domain => domain.Work is not null))
            values["work"] = result.Domains.Sum(domain => domain.Work ?? 0) / seconds;
        Devices(result, values);
        if (result.SchedulerCost is { Decisions: > 0, P50Ns: > 0 and long median, P99Ns: long late })
        {
            values["decisionP50"] = median;
            values["decisionP99"] = late;
        }

        if (result.Withheld is { } withheld)
            values[MetricCatalogue.Withheld] = withheld.Percent;
        return values;
    }

    /// <summary>What each item of the configuration got.</summary>
    /// <param name="prepared">The experiment.</param>
    /// <param name="metrics">Of its recording; null when the window never began.</param>
    /// <param name="result">Its result.</param>
    /// <param name="models">Models of domains in the simulator.</param>
    public static IReadOnlyList<GroupFigures> Groups(PreparedExperiment prepared, RunMetrics? metrics, ResultDocument result, IReadOnlyList<WorkloadModel> models)
    {
        List<GroupFigures> groups = [];
        IReadOnlyList<DomainSettings> items = prepared.Experiment.Domains;
        for (int item = 0; item < items.Count; item++)
        {
            int[] members = [.. Enumerable.Range(0, prepared.Plan.Domains.Count).Where(index => prepared.Plan.Domains[index].Group == item)];
            DomainResult[] domains = [.. members.Select(index => result.Domains[index])];
            long woken = domains.Sum(domain => domain.Wakes);
            groups.Add(new GroupFigures(
                items[item].Name,
                members.Length,
                models.Any(model => model.Domain == items[item].Name || domains.Any(domain => domain.Name == model.Domain)),
                domains.Sum(domain => domain.Share),
                metrics is null ? domains.Sum(domain => domain.ExpectedShare) : members.Sum(index => metrics.Domains[index].IdealShare),
                Median(domains.Where(MeasuresItself).Select(domain => (double)domain.WakeLatencyNs!.P50)),
                metrics is null ? null : Median(members.Select(index => metrics.Domains[index].WakeToRunNs).OfType<Quantiles>().Select(wake => (double)wake.P50)),
                woken == 0 ? null : domains.Sum(domain => domain.CpuSeconds) * 1e9 / woken)
            {
                LateP99Ns = Worst(domains.Where(MeasuresItself).Select(domain => domain.WakeLatencyNs)),
                WakeP99Ns = metrics is null ? null : members.Max(index => metrics.Domains[index].WakeToRunNs is { Count: >= WakesForP99 } wakes ? (double?)wakes.P99 : null),
                ResponseP50Ns = Median(domains.Select(domain => domain.ResponseTimeNs).OfType<LatencySummary>().Select(response => (double)response.P50)),
                ResponseP99Ns = Worst(domains.Select(domain => domain.ResponseTimeNs)),
                Missed = domains.All(domain => domain.MissedDeadlines is null) ? null : domains.Sum(domain => domain.MissedDeadlines ?? 0),
                Work = domains.All(domain => domain.Work is null) ? null : domains.Sum(domain => domain.Work ?? 0),
            });
        }

        return groups;
    }

    private static void Devices(ResultDocument result, Dictionary<string, double> values)
    {
        DiskResult[] disks = [.. result.Domains.SelectMany(domain => domain.Disks)];
        NicResult[] nics = [.. result.Domains.SelectMany(domain => domain.Nics)];
        if (disks.Length > 0)
            values["diskBytes"] = disks.Sum(disk => disk.ReadBytesPerSecond + disk.WrittenBytesPerSecond);
        if (Worst(disks.SelectMany(disk => new[] { disk.ReadLatencyNs, disk.WriteLatencyNs, disk.FlushLatencyNs })) is { } disk)
            values["diskP99"] = disk;
        if (nics.Length > 0)
            values["netBytes"] = nics.Sum(nic => nic.SentBytesPerSecond);
        if (Worst(nics.SelectMany(nic => new[] { nic.SendLatencyNs, nic.ReceiveLatencyNs })) is { } nic)
            values["netP99"] = nic;
    }

    private static double? Worst(IEnumerable<LatencySummary?> latencies) => latencies.Max(latency => (double?)latency?.P99);

    /// <summary>Whether a domain's latencies are its own and of the window: it counts deadlines.</summary>
    private static bool MeasuresItself(DomainResult domain) => domain is { MissedDeadlines: not null, WakeLatencyNs: not null };

    private static double? Median(IEnumerable<double> values)
    {
        double[] known = [.. values];
        return known.Length == 0 ? null : Describe.Median(known);
    }
}
