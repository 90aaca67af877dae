using Tessera.Experiments.Comparisons;
using Tessera.Experiments.Configuration;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Planning;
using Tessera.Lab.Comparisons;
using Tessera.Lab.Folders;
using Tessera.Sdk;

namespace Tessera.Experiments.Sweeps;

/// <summary>Cuts a comparison into cells.</summary>
public sealed class SweepPlanner(
    IExperimentHost host, ComparisonDesigner designer, ComparisonRunner runner, SimulatorCosts simulator, EngineChoice engines,
        HostResources resources, TimeProvider time)
{
    /// <summary>Plans.</summary>
    /// <param name="request">What was asked for.</param>
    /// <param name="files">The sweep's folder.</param>
    /// <exception cref="ConfigurationException">Something is wrong with the configuration.</exception>
    /// <exception cref="UsageException">Something is wrong with the options.</exception>
    public SweepPlan Plan(CompareRequest request, UntrustedFolder files)
    {
        ComparisonDesign design = designer.Design(WithEngine(request));
        designer.SayWhetherRunsSuffice(design);
        request = design.Request;
        SimulationCosts? costs = simulator.Of(request, design.Configured, files);
        DesignFingerprints fingerprints = new(design, runner, resources, costs);
        List<CompareVariant> variants = [.. design.Variants];
        return new SweepPlan
        {
            Version = typeof(SweepPlanner).Assembly.GetName().Version?.ToString(3) ?? "0.0.0",
            PlannedAt = time.GetUtcNow(),
            Configuration = Path.GetFullPath(request.Config),
            ConfigurationName = request.Config,
            Edits = request.Edits,
            CpuEngine = Whole(request.Engine),
            Engines = request.Engines,
            Factors = request.Factors,
            Repeat = request.Repeat,
            Seed = request.Seed,
            Models = request.Models,
            StaggerNs = request.Stagger.Value,
            Costs = costs,
            KeepSchedules = request.KeepSchedules,
            Seconds = new CellSeconds(design.Configured.Duration == Nanoseconds.Never ? null
                : design.Configured.Duration.TotalSeconds, null),
            Variants = [.. variants.Select(variant => Variant(request, variant))],
            Cells = [.. design.Runs.Select(Cell)],
        };

        SweepCell Cell(PlannedRun run)
        {
            IReadOnlyDictionary<string, string> content = fingerprints.Of(run);
            string name = RunStore.NameOf(run, Fingerprint.ContentOf(run, content));
            return new SweepCell(run.Place, name, variants.IndexOf(design.VariantOf(run)), run.Repetition, run.Engine, content);
        }
    }

    private SweepVariant Variant(CompareRequest request, CompareVariant variant)
    {
        Experiment experiment = engines.Resolve(variant.Load(request.Config, resources));
        return new SweepVariant(variant.Label, Whole(variant.Choice.Name), variant.Cell, variant.Varied, experiment.Machine.Engine,
            // In virtual time all of a machine's run on one thread.
            experiment.Machine.VirtualTime is null ? experiment.Machine.HostCpus.Count : 0);
    }

    /// <summary>"auto" is looked up here, once for all hosts: cells on two engines are not one comparison.</summary>
    private CompareRequest WithEngine(CompareRequest request)
    {
        Experiment configured = ConfigurationLoader.Load(request.Config, request.Edits, resources, engine: request.Engine);
        const string path = "machine.engine";
        if (request.SimulateOnly || configured.Machine.Engine != MachineSettings.Auto
            || request.Factors.Any(factor => factor.Path == path))
            return request;
        string engine = engines.Resolve(MachineSettings.Auto, configured.Machine.VirtualTime is not null);
        host.Error.WriteLine($"tessera: the engine \"auto\" is {engine} here, and so it is for every cell, wherever it is made. Name "
            + "another with --engine.");
        return request with { Engine = engine };
    }

    /// <summary>Of a DLL the whole path: whoever makes a cell may be in another folder.</summary>
    private static string? Whole(string? plugin) =>
        plugin is not null && plugin.EndsWith(".dll", StringComparison.OrdinalIgnoreCase) ? Path.GetFullPath(plugin) : plugin;
}
