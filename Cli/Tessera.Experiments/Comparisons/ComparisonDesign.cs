using Tessera.Experiments.Configuration;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Machines;
using Tessera.Experiments.Planning;
using Tessera.Hosting;
using Tessera.Lab;
using Tessera.Lab.Comparisons;

namespace Tessera.Experiments.Comparisons;

/// <summary>All runs of a comparison, checked, none of them made.</summary>
/// <param name="Request">What was asked for.</param>
/// <param name="Configured">The configuration before anything is varied.</param>
/// <param name="Variants">Schedulers with values, cell by cell.</param>
public sealed record ComparisonDesign(CompareRequest Request, Experiment Configured, IReadOnlyList<CompareVariant> Variants)
{
    /// <summary>The runs, in their order.</summary>
    public IReadOnlyList<PlannedRun> Runs { get; } =
        FactorialDesign.Runs(Request.Engines, [.. Variants.Select(variant => (variant.Label, variant.Cell))], Request.Repeat, Request.Seed);

    /// <summary>How many pairs of schedulers are compared by each metric.</summary>
    public int Family =>
        Variants.GroupBy(variant => FactorialDesign.Title(variant.Cell)).Sum(cell => cell.Count() * (cell.Count() - 1) / 2);

    /// <summary>The configuration of a run.</summary>
    public CompareVariant VariantOf(PlannedRun run) =>
        Variants.First(variant => variant.Label == run.Scheduler && variant.Cell.SequenceEqual(run.Cell));
}

/// <summary>What made each run of a design would make it now; looked up once for each variant and engine.</summary>
public sealed class DesignFingerprints(ComparisonDesign design, ComparisonRunner runner, HostResources resources, SimulationCosts? costs)
{
    private readonly Dictionary<(string Engine, string Variant), IReadOnlyDictionary<string, string>> _known = [];

    /// <summary>How a run is simulated; null on the machine.</summary>
    public SimulationSettings? SimulationOf(PlannedRun run) =>
        run.Engine == ComparisonEngines.Simulated ? CompareArguments.Simulation(design.Request, costs!, run.Repetition) : null;

    /// <summary>The parts of a run.</summary>
    /// <exception cref="ConfigurationException">It cannot be made.</exception>
    public IReadOnlyDictionary<string, string> Of(PlannedRun run)
    {
        CompareVariant variant = design.VariantOf(run);
        SimulationSettings? simulation = SimulationOf(run);
        if (!_known.TryGetValue((run.Engine, variant.Title), out IReadOnlyDictionary<string, string>? parts))
            _known.Add((run.Engine, variant.Title),
                parts = runner.FingerprintOf(design.Request, variant, resources, run.Engine, simulation));

        // On the machine repetitions are alike; in the simulator each has its seed.
        return simulation is null ? parts : Fingerprint.With(parts, simulation, design.Request.Models);
    }
}

/// <summary>Makes the design of what was asked for, and says what is wrong with it before anything runs.</summary>
public sealed class ComparisonDesigner(IExperimentHost host, ExperimentPlanner planner, HostResources resources)
{
    /// <summary>The design.</summary>
    /// <exception cref="ConfigurationException">Something is wrong with the configuration.</exception>
    /// <exception cref="UsageException">Something is wrong with the options.</exception>
    public ComparisonDesign Design(CompareRequest request)
    {
        Experiment configured = ConfigurationLoader.Load(request.Config, request.Edits, resources, engine: request.Engine);
        if (request.Factors.GroupBy(factor => factor.Path).FirstOrDefault(same => same.Count() > 1) is { } twice)
            throw new UsageException($"--vary {twice.Key}: it is given twice; give all its values at once.");
        CheckMetrics(request, configured);
        IReadOnlyList<CompareVariant> variants = new VariantPlanner(host, planner, resources).Plan(request, configured);
        return new ComparisonDesign(request, configured, variants);
    }

    private static void CheckMetrics(CompareRequest request, Experiment configured)
    {
        string[] items = [.. configured.Domains.SelectMany(domain => ItemCatalogue.All.Select(metric => $"{domain.Name}.{metric.Key}"))];
        string[] known = [.. MetricCatalogue.All.Select(metric => metric.Key), .. items];
        if (request.Metrics.FirstOrDefault(key => !known.Contains(key)) is not { } strange)
            return;
        string cure = Suggestion.Nearest(strange, known) is { } near
            ? $"Did you mean {near}?"
            : $"There are {string.Join(", ", MetricCatalogue.All.Select(metric => metric.Key))}, and those of each domain, such as "
                + $"{items[0]}.";
        throw new UsageException($"--metric {strange}: there is no such metric. {cure}");
    }

    /// <summary>Says before anything runs that so few repetitions cannot show a difference among so many comparisons, if so.</summary>
    public void SayWhetherRunsSuffice(ComparisonDesign design)
    {
        (CompareRequest request, int family) = (design.Request, design.Family);
        foreach (string engine in request.Engines)
        {
            bool isPaired = engine == ComparisonEngines.Simulated;
            int fewest = VerdictText.FewestRuns(family, isPaired);
            if (family == 0 || request.Repeat >= fewest)
                continue;
            string repetitions = request.Repeat == 1 ? "repetition" : "repetitions";
            string lowest = NumberText.Of(VerdictText.LeastProbability(request.Repeat, isPaired));
            host.Error.WriteLine(
                $"tessera: {request.Repeat} {repetitions} cannot show a difference {(isPaired ? "in virtual time" : "on the machine")}: "
                + $"the lowest probability that the exact test can give is then {lowest}"
                + $"{(family == 1 ? "" : $", to be multiplied by {family} comparisons of each metric")}, and it must be below "
                + $"{ComparisonStatistics.Significance}. --repeat {fewest} is the least that can."
                + (isPaired
                    ? " Where nothing is random in virtual time, repetitions are copies of one run and --repeat 2 shows all there is to "
                        + "show."
                    : ""));
        }
    }
}
