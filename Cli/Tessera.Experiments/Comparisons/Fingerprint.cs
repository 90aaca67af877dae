using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Tessera.Common;
using Tessera.Experiments.Machines;
using Tessera.Experiments.Planning;
using Tessera.Guests;
using Tessera.Images;
using Tessera.Lab;
using Tessera.Lab.Comparisons;

namespace Tessera.Experiments.Comparisons;

/// <summary>
/// What made a run, part by part: two runs with equal parts may stand in one comparison. Files count by their contents, so a plugin that
/// was built again without a change is the same plugin.
/// </summary>
public static class Fingerprint
{
    private const string SimulationPart = "the simulation's seed, costs and models";

    /// <summary>How much of a hash is enough to tell the runs of any sweep apart.</summary>
    private const int ContentDigits = 16;

    /// <summary>The parts of a run, from the name of a part to its hash or value.</summary>
    /// <param name="prepared">The experiment.</param>
    /// <param name="engine">Machine or simulated.</param>
    /// <param name="simulation">How it is simulated; null on the machine.</param>
    /// <param name="models">Models of domains, as written.</param>
    public static SortedDictionary<string, string> Of(PreparedExperiment prepared, string engine, SimulationSettings? simulation, IReadOnlyList<string> models)
    {
        PluginSet plugins = prepared.Plugins;
        SortedDictionary<string, string> parts = new(StringComparer.Ordinal)
        {
            ["the configuration"] = Text(Configuration(prepared, engine)),
            [$"the scheduler plugin {plugins.Scheduler.Plugin.Info.Path}"] = Folder(plugins.Scheduler.Plugin.Info.Path),
            ["Tessera itself"] = Text(string.Join(' ', Own().Select(type => type.Assembly.ManifestModule.ModuleVersionId))),
        };
        if (engine == ComparisonEngines.Simulated)
        {
            parts[SimulationPart] = Simulation(simulation!, models);
            return parts;
        }

        foreach (ChosenPlugin plugin in new[] { plugins.Engine, plugins.Mmu, plugins.MemoryPolicy })
            parts[$"the plugin {plugin.Plugin.Info.Path}"] = Folder(plugin.Plugin.Info.Path);
        foreach (IGrouping<string, DomainPlan> guest in prepared.Plan.Domains.Where(domain => domain.Builtin == GuestKind.None).GroupBy(domain => domain.Guest))
            parts[$"the guest {guest.Key}"] = Guest(guest.First());
        return parts;
    }

    /// <summary>The parts of another simulated run that only differs in how it is simulated.</summary>
    /// <param name="parts">Those of the one.</param>
    /// <param name="simulation">How the other is simulated.</param>
    /// <param name="models">Models of domains, as written.</param>
    public static SortedDictionary<string, string> With(
        IReadOnlyDictionary<string, string> parts, SimulationSettings simulation, IReadOnlyList<string> models) =>
        new(parts.ToDictionary(), StringComparer.Ordinal) { [SimulationPart] = Simulation(simulation, models) };

    /// <summary>What differs between two runs' parts, a phrase each. Where a file lies is no difference.</summary>
    public static IEnumerable<string> Differences(IReadOnlyDictionary<string, string> before, IReadOnlyDictionary<string, string> now)
    {
        Dictionary<string, string> old = Portable(before), current = Portable(now);
        return before.Keys.Union(now.Keys)
            .Where(part => old.GetValueOrDefault(WithoutFolder(part)) != current.GetValueOrDefault(WithoutFolder(part)))
            .DistinctBy(WithoutFolder).Order(StringComparer.Ordinal);
    }

    /// <summary>A hash of a run: what it is in its design, and what makes it, wherever the files lie.</summary>
    public static string ContentOf(PlannedRun run, IReadOnlyDictionary<string, string> parts)
    {
        IEnumerable<string> design =
        [
            run.Engine, run.Scheduler, run.Repetition.ToString(CultureInfo.InvariantCulture),
            .. run.Cell.SelectMany(value => new[] { value.Path, value.Value }),
        ];
        IEnumerable<string> made = Portable(parts).OrderBy(part => part.Key, StringComparer.Ordinal)
            .SelectMany(part => new[] { part.Key, part.Value });
        return Text(string.Join('\0', design.Concat(made)))[..ContentDigits];
    }

    /// <summary>The parts by their names without folders; files of one name in several folders are one part.</summary>
    private static Dictionary<string, string> Portable(IReadOnlyDictionary<string, string> parts) =>
        parts.GroupBy(part => WithoutFolder(part.Key), part => part.Value)
            .ToDictionary(part => part.Key, part => string.Join(' ', part.Order(StringComparer.Ordinal)));

    /// <summary>"the plugin /opt/x/Mine.dll" is "the plugin Mine.dll".</summary>
    private static string WithoutFolder(string part)
    {
        int path = part.IndexOf('/', StringComparison.Ordinal);
        return path < 0 ? part : part[..path] + Path.GetFileName(part);
    }

    private static string Simulation(SimulationSettings simulation, IReadOnlyList<string> models) => string.Create(
        CultureInfo.InvariantCulture,
        $"{simulation.Seed} {simulation.ContextSwitchCost.Value} {simulation.WakeCost.Value} {simulation.BeatWork.Value} "
            + $"{simulation.Stagger.Value} {string.Join(';', models)}");

    private static Type[] Own() =>
    [
        typeof(Fingerprint), typeof(Kernel.Machines.Machine), typeof(Sdk.Scheduling.Core.SchedulerCore), typeof(Sdk.Nanoseconds),
        typeof(Sdk.Simulation.VirtualMachine), typeof(GuestKind), typeof(GuestLibrary.Library), typeof(ComparisonDocument),
    ];

    /// <summary>
    /// The resolved configuration without what this host chose: unless configured, the memory limit is what it had free just then, and the
    /// numbers of the host CPUs are those it gave this process. In the simulator no engine runs.
    /// </summary>
    private static string Configuration(PreparedExperiment prepared, string engine)
    {
        JsonNode document = JsonNode.Parse(prepared.Resolved.GetRawText())!;
        JsonObject machine = document["machine"]!.AsObject();
        if (prepared.Experiment.Machine.MemoryLimit is null)
            machine.Remove("memoryLimit");
        if (engine == ComparisonEngines.Simulated || prepared.Experiment.Machine.Pcpus is not { Count: null })
            machine["pcpus"] = prepared.Experiment.Machine.HostCpus.Count;
        if (engine == ComparisonEngines.Simulated)
        {
            machine.Remove("engine");
            machine.Remove("engineOptions");
        }

        return document.ToJsonString();
    }

    private static string Text(string text) => Convert.ToHexStringLower(Sha256.Hash(Encoding.UTF8.GetBytes(text)));

    /// <summary>A plugin with the libraries beside it.</summary>
    private static string Folder(string dll)
    {
        Sha256 hash = new();
        foreach (string file in Directory.GetFiles(Path.GetDirectoryName(dll)!, "*.dll").Order(StringComparer.Ordinal))
        {
            hash.Append(Encoding.UTF8.GetBytes(Path.GetFileName(file)));
            hash.Append(OrdinaryFile.Read(file));
        }

        return Convert.ToHexStringLower(hash.End());
    }

    private static string Guest(DomainPlan plan)
    {
        Sha256 hash = new();
        foreach (ImageSegment segment in plan.Image.Segments)
            hash.Append(segment.Data.Span);
        hash.Append(plan.Initrd.Span);
        hash.Append(Encoding.UTF8.GetBytes(plan.CommandLine));
        return Convert.ToHexStringLower(hash.End());
    }
}
