namespace Tessera.Lab.Comparisons;

/// <summary>A metric of each item of the configuration: an entry of <see cref="ItemCatalogue"/>.</summary>
/// <param name="Key">The last part of its name in files: of the item web it is <c>web.KEY</c>.</param>
/// <param name="Title">Its name for people, fit for "12 % lower … of web".</param>
/// <param name="Unit">Its unit (<see cref="MetricDefinition"/>).</param>
/// <param name="Better">Which side is better.</param>
/// <param name="Meaning">A sentence.</param>
/// <param name="Value">Its value of what an item got; null where it does not apply.</param>
public sealed record ItemMetric(string Key, string Title, string Unit, string Better, string Meaning, Func<GroupFigures, double?> Value);

/// <summary>
/// All metrics that comparisons have of each item of <c>domains</c>, one domain or several equal ones, in the order they are shown. Like those of the whole machine
/// (<see cref="MetricCatalogue"/>) an entry is all that there is to one.
/// </summary>
public static class ItemCatalogue
{
    /// <summary>The table.</summary>
    public static IReadOnlyList<ItemMetric> All { get; } =
    [
        new("share", "share", "part", MetricCatalogue.Neither, "Its domains' part of all pCPU time.", item => item.Share),
        new("idealShare", "share due", "part", MetricCatalogue.Neither, "The part that the ideal gives them (below).", item => item.IdealShare),
        new("wait", "waiting", "part", MetricCatalogue.Lower, "The part of the window in which a domain could run and did not (steal time): the mean of its vCPUs.", item => item.Wait),
        new("lateP50", "median lateness", "ns", MetricCatalogue.Lower, "How late beat and burst found themselves awake: the median of its domains' medians.", item => item.LateP50Ns),
        new("lateP99", "p99 lateness", "ns", MetricCatalogue.Lower, "The worst of its domains' 99th percentiles of that.", item => item.LateP99Ns),
        new("wakeP50", "median wake-to-run latency", "ns", MetricCatalogue.Lower, "From a wake to running: the median of its domains' medians.", item => item.WakeP50Ns),
        new("wakeP99", "p99 wake-to-run latency", "ns", MetricCatalogue.Lower, "The worst of its domains' 99th percentiles of that; only of those with a hundred wakes.", item => item.WakeP99Ns),
        new("responseP50", "median response time", "ns", MetricCatalogue.Lower, "From a request's arrival or a job's release until it was done: the median of its domains' medians.", item => item.ResponseP50Ns),
        new("responseP99", "p99 response time", "ns", MetricCatalogue.Lower, "The worst of its domains' 99th percentiles of that.", item => item.ResponseP99Ns),
        new("missed", "missed deadlines", "count", MetricCatalogue.Lower, "Deadlines that its domains missed in the window.", item => item.Missed),
        new("work", "work", "count", MetricCatalogue.Higher, "Units of work of its domains in the window.", item => item.Work),
    ];

    /// <summary>The metrics of the items that runs have values of, item by item.</summary>
    public static IEnumerable<MetricDefinition> Measured(IReadOnlyList<RunRow> runs) =>
        runs.SelectMany(run => run.Groups.Select(item => item.Name)).Distinct()
            .SelectMany(name => All.Select(metric => new MetricDefinition($"{name}.{metric.Key}", $"{metric.Title} of {name}", metric.Unit, metric.Better, metric.Meaning) { Item = name }))
            .Where(metric => runs.Any(run => ValueOf(run, metric) is not null));

    /// <summary>A run's value of such a metric; null where it does not apply.</summary>
    internal static double? ValueOf(RunRow run, MetricDefinition metric)
    {
        GroupFigures? item = run.Groups.FirstOrDefault(group => group.Name == metric.Item);
        return item is null ? null : All.FirstOrDefault(each => metric.Key == $"{metric.Item}.{each.Key}")?.Value(item);
    }
}
