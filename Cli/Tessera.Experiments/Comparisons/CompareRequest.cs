using Tessera.Experiments.Configuration;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Machines;
using Tessera.Lab.Comparisons;
using Tessera.Sdk;

namespace Tessera.Experiments.Comparisons;

/// <summary>What `compare` is asked for.</summary>
public sealed record CompareRequest
{
    /// <summary>The configuration's file.</summary>
    public required string Config { get; init; }

    /// <summary>Changes of it that all runs have.</summary>
    public required IReadOnlyList<string> Edits { get; init; }

    /// <summary>Schedulers; empty for the configured one.</summary>
    public required IReadOnlyList<SchedulerChoice> Schedulers { get; init; }

    /// <summary>What is varied.</summary>
    public required IReadOnlyList<Factor> Factors { get; init; }

    /// <summary>How many runs of each combination.</summary>
    public required int Repeat { get; init; }

    /// <summary>The comparison's folder.</summary>
    public required string Output { get; init; }

    /// <summary>Whether every run is made in the simulator too.</summary>
    public required bool Simulate { get; init; }

    /// <summary>Whether runs are made in the simulator only.</summary>
    public required bool SimulateOnly { get; init; }

    /// <summary>Models of domains in the simulator, NAME=MODEL.</summary>
    public required IReadOnlyList<string> Models { get; init; }

    /// <summary>What a switch costs in the simulator; null to measure it.</summary>
    public required Nanoseconds? SwitchCost { get; init; }

    /// <summary>What a wake costs in the simulator; null to measure it.</summary>
    public required Nanoseconds? WakeCost { get; init; }

    /// <summary>Within which time simulated domains begin to work; zero for all at once.</summary>
    public Nanoseconds Stagger { get; init; }

    /// <summary>The CPU engine instead of the configured one; null for that.</summary>
    public string? Engine { get; init; }

    /// <summary>Seed of the order and of simulated workloads.</summary>
    public required long Seed { get; init; }

    /// <summary>Whether each run keeps its schedule.csv.</summary>
    public required bool KeepSchedules { get; init; }

    /// <summary>Whether only the plan is shown, and nothing runs.</summary>
    public required bool Plan { get; init; }

    /// <summary>For the plan: a run's standard deviation in per cent of the mean; null for that of the runs in the folder.</summary>
    public required double? Spread { get; init; }

    /// <summary>Whether runs that are in the folder are made again.</summary>
    public required bool Restart { get; init; }

    /// <summary>The keys of the metrics that are shown; none for all of the whole machine.</summary>
    public required IReadOnlyList<string> Metrics { get; init; }

    /// <summary>Whether the result goes to standard output.</summary>
    public required bool Json { get; init; }

    /// <summary>Whether progress is not shown.</summary>
    public required bool Quiet { get; init; }

    /// <summary>The engines, in the order of results.</summary>
    public IReadOnlyList<string> Engines =>
        SimulateOnly ? [ComparisonEngines.Simulated] : Simulate ? [ComparisonEngines.Machine, ComparisonEngines.Simulated] : [ComparisonEngines.Machine];
}

/// <summary>A scheduler as the command line names it.</summary>
/// <param name="Label">What to call it; null for its own name.</param>
/// <param name="Name">It, by name or DLL; null for the configured one.</param>
public sealed record SchedulerChoice(string? Label, string? Name);

/// <summary>A scheduler and varied values: the configuration of some runs.</summary>
/// <param name="Label">The scheduler's label.</param>
/// <param name="Choice">The scheduler.</param>
/// <param name="Cell">The varied values.</param>
/// <param name="Edits">The edits that all variants have.</param>
/// <param name="Varied">The varied values as edits.</param>
/// <param name="Engine">The CPU engine instead of the configured one; null for that.</param>
public sealed record CompareVariant(string Label, SchedulerChoice Choice, IReadOnlyList<FactorValue> Cell, IReadOnlyList<string> Edits, IReadOnlyList<string> Varied, string? Engine = null)
{
    /// <summary>For messages.</summary>
    public string Title => Cell.Count == 0 ? Label : $"{Label}, {FactorialDesign.Title(Cell)}";

    /// <summary>Reads the configuration as this variant has it.</summary>
    public Experiment Load(string config, HostResources resources) => ConfigurationLoader.Load(config, Edits, resources, Choice.Name, Varied, Engine);
}

/// <summary>Reads the command line's lists.</summary>
public static class CompareArguments
{
    /// <summary>The name for the count of the configuration's item that has one.</summary>
    public const string DomainsCount = "domains.count";

    /// <summary>Reads PATH=V1,V2; commas inside brackets or quotes do not separate.</summary>
    /// <exception cref="UsageException">It is no such list.</exception>
    public static Factor ParseFactor(string text)
    {
        int equals = text.IndexOf('=', StringComparison.Ordinal);
        string path = equals > 0 ? text[..equals].Trim() : "";
        List<string> values = equals > 0 ? Split(text[(equals + 1)..]) : [];
        if (path.Length == 0 || values.Count == 0 || values.Contains(""))
            throw new UsageException($"--vary {text}: write PATH=VALUE,VALUE, for example {DomainsCount}=10,50,100 or domains[0].weight=256,512.");
        if (values.Distinct(StringComparer.Ordinal).Count() < values.Count)
            throw new UsageException($"--vary {text}: a value is given twice.");
        return new Factor(path, values);
    }

    /// <summary>Reads A,B,./C.dll,label=./D.dll.</summary>
    /// <exception cref="UsageException">It is no such list.</exception>
    public static IReadOnlyList<SchedulerChoice> ParseSchedulers(string list)
    {
        List<SchedulerChoice> choices = [.. Split(list).Select(Parse)];
        return choices.Exists(choice => choice.Name!.Length == 0 || choice.Label?.Length == 0) || choices.Distinct().Count() < choices.Count
            ? throw new UsageException($"--scheduler {list}: give names or paths separated by commas, each once, such as bvt,credit2,./MyPolicy.dll or mine=./MyPolicy.dll.")
            : choices;

        // A path may have a '=' in it, a label has no '/'.
        static SchedulerChoice Parse(string text)
        {
            int equals = text.IndexOf('=', StringComparison.Ordinal);
            return equals < 0 || text[..equals].Contains('/', StringComparison.Ordinal) ? new SchedulerChoice(null, text) : new SchedulerChoice(text[..equals].Trim(), text[(equals + 1)..].Trim());
        }
    }

    /// <summary>Splits at commas.</summary>
    public static List<string> Split(string text)
    {
        List<string> parts = [];
        int depth = 0;
        bool quoted = false;
        int from = 0;
        for (int at = 0; at < text.Length; at++)
        {
            char c = text[at];
            if (c == '"' && (at == 0 || text[at - 1] != '\\'))
                quoted = !quoted;
            else if (!quoted && c is '[' or '{')
                depth++;
            else if (!quoted && c is ']' or '}')
                depth--;
            if (c != ',' || quoted || depth > 0)
                continue;
            parts.Add(text[from..at].Trim());
            from = at + 1;
        }

        parts.Add(text[from..].Trim());
        return parts;
    }

    /// <summary>The edit that gives a factor one of its values.</summary>
    /// <param name="configured">The configuration without it.</param>
    /// <param name="value">The value.</param>
    /// <exception cref="UsageException">No item of domains has a count.</exception>
    public static string EditOf(Experiment configured, FactorValue value)
    {
        if (value.Path != DomainsCount)
            return $"{value.Path}={value.Value}";
        IReadOnlyList<ConfigurationNode> items = configured.Document.Find("domains")?.Items ?? [];
        for (int index = 0; index < items.Count; index++)
        {
            if (items[index].Find("count") is not null)
                return $"domains[{index}].count={value.Value}";
        }

        throw new UsageException($"--vary {DomainsCount}: no item of domains has a count; say which is meant: --vary domains[0].count={value.Value},…");
    }

    /// <summary>The settings of one simulated run: each repetition has a seed of its own, the same for all schedulers and values.</summary>
    public static SimulationSettings Simulation(CompareRequest request, SimulationCosts costs, int repetition) => new()
    {
        Seed = unchecked((ulong)(request.Seed + repetition - 1)),
        ContextSwitchCost = new Nanoseconds(costs.SwitchNs),
        WakeCost = new Nanoseconds(costs.WakeNs),
        BeatWork = new Nanoseconds(costs.BeatNs),
        Stagger = request.Stagger,
        Models = [.. request.Models.Select(WorkloadModel.Parse)],
    };
}
