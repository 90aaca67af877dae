using Tessera.Experiments.Hosts;
using Tessera.Lab.Comparisons;

namespace Tessera.Experiments.Comparisons;

/// <summary>Makes the document of a comparison's runs, whoever made them.</summary>
public static class ComparisonDocuments
{
    /// <summary>The document.</summary>
    /// <param name="request">What was asked for.</param>
    /// <param name="variants">Schedulers with values, cell by cell.</param>
    /// <param name="costs">What the simulator was told; null where nothing was simulated.</param>
    /// <param name="rows">The runs that are there.</param>
    /// <param name="interrupted">Whether the user stopped it.</param>
    /// <param name="missing">The runs of a sweep that are not there.</param>
    public static ComparisonDocument Of(
        CompareRequest request,
        IReadOnlyList<CompareVariant> variants,
        SimulationCosts? costs,
        IReadOnlyList<RunRow> rows,
        bool interrupted,
        IReadOnlyList<PlannedRun> missing)
    {
        RunRow[] ordered = [.. rows.OrderBy(row => row.Place)];
        string[] labels = [.. variants.Select(variant => variant.Label).Distinct()];
        IReadOnlyList<FactorValue>[] cells = [.. variants.Select(variant => variant.Cell).DistinctBy(FactorialDesign.Title)];
        IReadOnlyList<HostRuns> hosts = HostBlocks.Of(ordered);
        bool isGood = ordered.All(row => row.Outcome == "completed");
        return new ComparisonDocument
        {
            Version = typeof(ComparisonDocuments).Assembly.GetName().Version?.ToString(3) ?? "0.0.0",
            StartedAt = ordered.Length == 0 ? DateTimeOffset.UtcNow : ordered.Min(row => row.StartedAt),
            Outcome = interrupted ? "interrupted" : !isGood ? "failed" : missing.Count > 0 ? "incomplete" : "completed",
            Configuration = request.Config,
            Host = hosts.Count == 0 ? HostFactsReader.Read().Cpu : string.Join(", ", hosts.Select(host => host.Cpu).Distinct()),
            Seed = request.Seed,
            Repeat = request.Repeat,
            Engines = request.Engines,
            Schedulers = labels,
            Factors = request.Factors,
            Metrics = MetricCatalogue.Measured(ordered),
            Cells = ComparisonStatistics.Cells(request.Engines, labels, cells, ordered),
            Agreement = request.Engines.Count < 2 ? [] : Agreement.Rows(labels, cells, ordered),
            Costs = costs,
            Runs = ordered,
            Hosts = hosts,
            Blocking = HostBlocks.Sentence(ordered),
            Missing = missing,
        };
    }
}
