using System.Text.Json;
using Tessera.Cli.Configuration;
using Tessera.Cli.Runs;
using Tessera.Hosting;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Cli.Composition;

/// <summary>An experiment with everything looked up: ready for a machine.</summary>
internal sealed record PreparedExperiment : IDisposable
{
    /// <summary>What was configured, with the engine that "auto" means here.</summary>
    public required Experiment Experiment { get; init; }

    /// <summary>The plugins.</summary>
    public required PluginSet Plugins { get; init; }

    /// <summary>The plugins of its devices.</summary>
    public required DevicePlugins Devices { get; init; }

    /// <summary>What to run.</summary>
    public required RunPlan Plan { get; init; }

    /// <summary>The configuration with nothing left to defaults.</summary>
    public required JsonElement Resolved { get; init; }

    /// <summary>What of a run in virtual time is kept or given again; null for nothing.</summary>
    public RecordingFiles? Recording { get; init; }

    /// <inheritdoc/>
    public void Dispose()
    {
        Plugins.Dispose();
        Devices.Dispose();
    }
}

/// <summary>Looks up plugins and guests and binds their options; everything wrong is one <see cref="ConfigurationException"/>.</summary>
internal sealed class ExperimentPlanner(PluginCatalog catalog, GuestSources guests, EngineChoice engines)
{
    /// <summary>Prepares an experiment. Nothing of the host's virtualization is touched yet.</summary>
    /// <param name="experiment">What was configured.</param>
    /// <param name="loaded">Told of the plugins as soon as they are loaded, before the guests are: what can begin then may.</param>
    /// <exception cref="ConfigurationException">Something cannot be found, loaded or bound.</exception>
    public PreparedExperiment Prepare(Experiment experiment, Action<PluginSet>? loaded = null)
    {
        List<ConfigurationError> errors = [.. experiment.Errors];
        experiment = engines.Resolve(experiment);

        // That there are too many is said already; to look each of them up would take long and say nothing more.
        if (experiment.Domains.Sum(domain => (long)domain.Count) > ConfigurationKeys.MaxDomains)
            throw new ConfigurationException(errors);
        KernelFiles kernels = guests.Begin(experiment);
        PluginSet? plugins = PluginSet.Load(catalog, experiment, errors);
        if (plugins is not null && errors.Count == 0)
            loaded?.Invoke(plugins);
        List<DomainPlan> plans = [];
        List<ResolvedDomain> resolved = [];
        DevicePlugins devices = new(catalog);
        DiskPlanner disks = new(devices, guests, experiment, errors);
        NicPlanner nics = new(devices, guests, experiment, errors);
        for (int group = 0; group < experiment.Domains.Count; group++)
        {
            DomainSettings domain = experiment.Domains[group];
            ConfigurationNode node = experiment.Document.Nearest(domain.Path);
            GuestChoice? guest = guests.Resolve(experiment, domain, kernels, errors);
            object? schedulerOptions = plugins is null
                ? null
                : OptionErrors.Bind(plugins.Scheduler.Plugin.DomainOptionsType, domain.SchedulerOptions, node.PathOf(ConfigurationKeys.Scheduler), node, errors);
            DiskChoices chosen = disks.Choose(domain);
            NicChoices chosenNics = nics.Choose(domain);
            if (guest is null)
                continue;
            ByteSize memory = domain.Memory ?? guest.DefaultMemory;
            CheckCommandLine(domain, node, guest, errors);
            resolved.Add(new(guest.Options, schedulerOptions, memory, chosen.Options, chosenNics.Options));
            plans.AddRange(domain.Names.Select(name => Plan(domain, name, group, guest, memory, schedulerOptions) with { Disks = chosen.For(name), Nics = chosenNics.For(name) }));
        }

        if (errors.Count == 0)
            CheckMemory(experiment, plans, errors);
        if (errors.Count > 0 || plugins is null)
        {
            plugins?.Dispose();
            devices.Dispose();
            throw new ConfigurationException(errors);
        }

        return new PreparedExperiment
        {
            Experiment = experiment,
            Plugins = plugins,
            Devices = devices,
            Plan = new RunPlan
            {
                Domains = plans,
                Duration = experiment.Duration,
                MeasureAfter = experiment.MeasureAfter,
                ReadyTimeout = experiment.ReadyTimeout,
                ConsoleLimit = experiment.Machine.ConsoleLimit,
            },
            Resolved = ConfigurationWriter.Element(experiment, new ResolvedParts
            {
                EngineOptions = plugins.Engine.Options,
                MmuOptions = plugins.Mmu.Options,
                MemoryPolicyOptions = plugins.MemoryPolicy.Options,
                SchedulerOptions = plugins.Scheduler.Options,
                Domains = resolved,
            }),
        };
    }

    private static DomainPlan Plan(DomainSettings domain, string name, int group, GuestChoice guest, ByteSize memory, object? schedulerOptions) => new()
    {
        Name = name,
        Group = group,
        Guest = guest.Label,
        Builtin = guest.Builtin,
        GuestOptions = guest.Options,
        Image = guest.Image,
        Initrd = guest.Initrd,
        CommandLine = guest.CommandLine,
        MemoryBytes = memory.Bytes,
        Weight = domain.Weight,
        SchedulerOptions = schedulerOptions,
        Affinity = domain.Affinity is null ? CpuSet.All : CpuSet.Of([.. domain.Affinity]),
        StartDelay = domain.StartDelay,
        SpeaksWhenUp = guest.SpeaksWhenUp,
    };

    private static void CheckCommandLine(DomainSettings domain, ConfigurationNode node, GuestChoice guest, List<ConfigurationError> errors)
    {
        const int room = 1023;
        if (guest.CommandLine.Length > room)
        {
            string path = node.PathOf(domain.Script.Count > 0 ? ConfigurationKeys.Script : ConfigurationKeys.Cmdline);
            errors.Add(new(node.Nearest(path).Position, path, $"The whole command line has {guest.CommandLine.Length} characters, including the script, which takes four for every three of its own.", $"The ABI's start_info has room for {room}: shorten it, or put a long script on a disk."));
        }
    }

    /// <summary>The sum once more, now with the sizes that guests bring along.</summary>
    private static void CheckMemory(Experiment experiment, List<DomainPlan> plans, List<ConfigurationError> errors)
    {
        long limit = experiment.Machine.MemoryLimit.Bytes;
        long sum = plans.Sum(plan => plan.MemoryBytes);
        if (sum > limit)
        {
            errors.Add(new(experiment.Document.Nearest(ConfigurationKeys.Domains).Position, ConfigurationKeys.Domains,
                $"The domains' memory adds up to {sum >> 20} MiB, and the machine's limit is {limit >> 20} MiB.", "Give the domains less, or raise machine.memoryLimit."));
        }
    }
}

/// <summary>Makes machines; the kernel's, or a test's.</summary>
internal interface IMachineFactory
{
    /// <summary>These plugins will make a machine soon: what takes long may begin meanwhile.</summary>
    void Begin(PluginSet plugins)
    {
    }

    /// <summary>A machine for a prepared experiment.</summary>
    /// <exception cref="Tessera.Sdk.Cpu.EngineException">This host cannot.</exception>
    IRunMachine Create(PreparedExperiment prepared);
}
