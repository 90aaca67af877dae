using Tessera.Experiments.Comparisons;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Machines;
using Tessera.Lab.Comparisons;
using Tessera.Sdk;

namespace Tessera.Experiments.Sweeps;

/// <summary>
/// A comparison cut into cells that anybody can make: plan.json, format "tessera.sweep/1". Within a format number keys are only ever added.
/// </summary>
public sealed record SweepPlan
{
    /// <summary>The format's name and number.</summary>
    public const string Format = "tessera.sweep/1";

    /// <summary>Always <see cref="Format"/>.</summary>
    public string Schema { get; init; } = Format;

    /// <summary>The version of Tessera.</summary>
    public required string Version { get; init; }

    /// <summary>When it was planned.</summary>
    public required DateTimeOffset PlannedAt { get; init; }

    /// <summary>The configuration's file, as a whole path.</summary>
    public required string Configuration { get; init; }

    /// <summary>The same as the user named it.</summary>
    public required string ConfigurationName { get; init; }

    /// <summary>Changes of it that all cells have.</summary>
    public required IReadOnlyList<string> Edits { get; init; }

    /// <summary>The CPU engine instead of the configured one; null for that.</summary>
    public required string? CpuEngine { get; init; }

    /// <summary>What is run on: <c>machine</c>, <c>simulated</c>, or both.</summary>
    public required IReadOnlyList<string> Engines { get; init; }

    /// <summary>What is varied.</summary>
    public required IReadOnlyList<Factor> Factors { get; init; }

    /// <summary>Repetitions.</summary>
    public required int Repeat { get; init; }

    /// <summary>Seed of the order and of simulated workloads.</summary>
    public required long Seed { get; init; }

    /// <summary>Models of domains in the simulator, NAME=MODEL.</summary>
    public required IReadOnlyList<string> Models { get; init; }

    /// <summary>Within which time simulated domains begin to work, in nanoseconds.</summary>
    public required long StaggerNs { get; init; }

    /// <summary>What the simulator is told that switches and wakes cost; null where nothing is simulated.</summary>
    public required SimulationCosts? Costs { get; init; }

    /// <summary>Whether each cell keeps its schedule.csv.</summary>
    public required bool KeepSchedules { get; init; }

    /// <summary>How long one cell takes.</summary>
    public required CellSeconds Seconds { get; init; }

    /// <summary>Schedulers with values, in the order of the report.</summary>
    public required IReadOnlyList<SweepVariant> Variants { get; init; }

    /// <summary>The cells, in the order of their numbers.</summary>
    public required IReadOnlyList<SweepCell> Cells { get; init; }

    /// <summary>Whether a cell needs /dev/kvm.</summary>
    public bool NeedsKvm() =>
        Cells.Any(cell => cell.Engine == ComparisonEngines.Machine && Variants[cell.Variant].CpuEngine == KvmPresence.Engine);

    /// <summary>The most host CPUs that a cell owns while it runs; 0 where all are simulated.</summary>
    public int MostPcpus() =>
        Cells.Where(cell => cell.Engine == ComparisonEngines.Machine).Select(cell => Variants[cell.Variant].Pcpus).DefaultIfEmpty().Max();

    /// <summary>How many cells a repetition has: each combination once.</summary>
    public int BlockSize() => Math.Max(1, Cells.Count / Math.Max(1, Repeat));

    /// <summary>The comparison that this is.</summary>
    /// <param name="folder">The sweep's folder.</param>
    public CompareRequest Request(string folder) => new()
    {
        Config = Configuration,
        Edits = Edits,
        Schedulers = [],
        Factors = Factors,
        Repeat = Repeat,
        Output = folder,
        Simulate = Engines.Count > 1,
        SimulateOnly = !Engines.Contains(ComparisonEngines.Machine),
        Models = Models,
        SwitchCost = null,
        WakeCost = null,
        Stagger = new Nanoseconds(StaggerNs),
        Engine = CpuEngine,
        Seed = Seed,
        KeepSchedules = KeepSchedules,
        Plan = false,
        Spread = null,
        Restart = false,
        Metrics = [],
        Json = false,
        Quiet = false,
    };

    /// <summary>The configuration of a variant.</summary>
    public CompareVariant VariantOf(SweepVariant variant) =>
        new(variant.Scheduler, new SchedulerChoice(variant.Scheduler, variant.Plugin), variant.Values, Edits, variant.Varied, CpuEngine);

    /// <summary>A cell as a run of the comparison.</summary>
    public PlannedRun RunOf(SweepCell cell) =>
        new(cell.Number, cell.Repetition, cell.Engine, Variants[cell.Variant].Scheduler, Variants[cell.Variant].Values);

    /// <summary>How a cell is simulated; null on the machine.</summary>
    /// <param name="request">As <see cref="Request"/> gives it.</param>
    /// <param name="cell">The cell.</param>
    public SimulationSettings? SimulationOf(CompareRequest request, SweepCell cell) =>
        cell.Engine == ComparisonEngines.Simulated ? CompareArguments.Simulation(request, Costs!, cell.Repetition) : null;
}

/// <summary>How long one cell takes, in seconds; null where that is not known.</summary>
/// <param name="Window">What is measured; on the machine a second is taken for the rest.</param>
/// <param name="Simulated">All of it in the simulator: as long as the first one took.</param>
public sealed record CellSeconds(double? Window, double? Simulated)
{
    /// <summary>How long a cell of an engine takes.</summary>
    public double? Of(string engine) => engine == ComparisonEngines.Machine ? Window + 1 : Simulated;
}

/// <summary>A scheduler with values.</summary>
/// <param name="Scheduler">The scheduler's label.</param>
/// <param name="Plugin">It, by name or by the whole path of its DLL; null for the configured one.</param>
/// <param name="Values">The varied values.</param>
/// <param name="Varied">The same as edits of the configuration.</param>
/// <param name="CpuEngine">The CPU engine it runs on, by name or path.</param>
/// <param name="Pcpus">How many physical CPUs its machine has.</param>
public sealed record SweepVariant(
    string Scheduler, string? Plugin, IReadOnlyList<FactorValue> Values, IReadOnlyList<string> Varied, string CpuEngine, int Pcpus);

/// <summary>One run of a sweep.</summary>
/// <param name="Number">Its number, from 1: its place in the order of a comparison.</param>
/// <param name="Name">The name of its folder, which ends with the hash of its content.</param>
/// <param name="Variant">The index of its scheduler and values in the plan's variants.</param>
/// <param name="Repetition">Which repetition, from 1; it seeds the simulator.</param>
/// <param name="Engine"><c>machine</c> or <c>simulated</c>.</param>
/// <param name="Content">What makes it, from the name of a part to its hash.</param>
public sealed record SweepCell(
    int Number, string Name, int Variant, int Repetition, string Engine, IReadOnlyDictionary<string, string> Content);
