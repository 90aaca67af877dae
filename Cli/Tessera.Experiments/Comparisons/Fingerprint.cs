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
            ["the configuration"] = Text(Configuration(prepared)),
            [$"the scheduler plugin {plugins.Scheduler.Plugin.Info.Path}"] = Folder(plugins.Scheduler.Plugin.Info.Path),
            ["Tessera itself"] = Text(string.Join(' ', Own().Select(type => type.Assembly.ManifestModule.ModuleVersionId))),
        };
        if (engine == ComparisonEngines.Simulated)
        {
            parts["the simulation's seed, costs and models"] = string.Create(
                CultureInfo.InvariantCulture, $"{simulation!.Seed} {simulation.ContextSwitchCost.Value} {simulation.WakeCost.Value} {simulation.BeatWork.Value} {simulation.Stagger.Value} {string.Join(';', models)}");
            return parts;
        }

        foreach (ChosenPlugin plugin in new[] { plugins.Engine, plugins.Mmu, plugins.MemoryPolicy })
            parts[$"the plugin {plugin.Plugin.Info.Path}"] = Folder(plugin.Plugin.Info.Path);
        foreach (IGrouping<string, DomainPlan> guest in prepared.Plan.Domains.Where(domain => domain.Builtin == GuestKind.None).GroupBy(domain => domain.Guest))
            parts[$"the guest {guest.Key}"] = Guest(guest.First());
        return parts;
    }

    /// <summary>What differs between two runs' parts, a phrase each.</summary>
    public static IEnumerable<string> Differences(IReadOnlyDictionary<string, string> before, IReadOnlyDictionary<string, string> now) =>
        before.Keys.Union(now.Keys).Where(part => before.GetValueOrDefault(part) != now.GetValueOrDefault(part)).Order(StringComparer.Ordinal);

    private static Type[] Own() =>
    [
        typeof(Fingerprint), typeof(Kernel.Machines.Machine), typeof(Sdk.Scheduling.Core.SchedulerCore), typeof(Sdk.Nanoseconds),
        typeof(Sdk.Simulation.VirtualMachine), typeof(GuestKind), typeof(GuestLibrary.Library), typeof(ComparisonDocument),
    ];

    /// <summary>The resolved configuration without the memory limit: unless configured, that is what the host had free just then.</summary>
    private static string Configuration(PreparedExperiment prepared)
    {
        JsonNode document = JsonNode.Parse(prepared.Resolved.GetRawText())!;
        document["machine"]!.AsObject().Remove("memoryLimit");
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
