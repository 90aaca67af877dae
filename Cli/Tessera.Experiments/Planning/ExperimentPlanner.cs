using Tessera.Experiments.Configuration;
using Tessera.Hosting;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Experiments.Planning;

/// <summary>Looks up plugins and guests and binds their options; everything wrong is one <see cref="ConfigurationException"/>.</summary>
public sealed class ExperimentPlanner(PluginCatalog catalog, GuestSources guests, EngineChoice engines)
{
    /// <summary>Prepares an experiment. Nothing of the host's virtualization is touched yet.</summary>
    /// <param name="experiment">What was configured.</param>
    /// <param name="loaded">Told of the plugins as soon as they are loaded, before the guests are: what can begin then may.</param>
    /// <exception cref="ConfigurationException">Something cannot be found, loaded or bound.</exception>
    public PreparedExperiment Prepare(Experiment experiment, Action<PluginSet>? loaded = null)
    {
        experiment = engines.Resolve(experiment);
        Lookup lookup = new(experiment);

        // That there are too many is said already; to look each of them up would take long and say nothing more.
        if (experiment.Domains.Sum(domain => (long)domain.Count) > Experiment.MaxDomains)
            throw new ConfigurationException(lookup.Errors);
        KernelFiles kernels = guests.Begin(experiment);
        PluginSet? plugins = PluginSet.Load(catalog, lookup);
        if (plugins is not null && lookup.Errors.Count == 0)
            loaded?.Invoke(plugins);
        List<DomainPlan> plans = [];
        List<DomainSettings> resolved = [];
        DevicePlugins devices = new(catalog);
        DevicePlanner planner = new(devices, guests, lookup);
        for (int group = 0; group < experiment.Domains.Count; group++)
        {
            DomainSettings domain = experiment.Domains[group];
            GuestChoice? guest = guests.Resolve(lookup, domain, kernels);
            object? schedulerOptions = plugins is null
                ? null
                : lookup.Bind(
                    plugins.Scheduler.Plugin.DomainOptionsType, domain.SchedulerOptions, domain.PathOf(nameof(domain.SchedulerOptions)));
            Func<string, IReadOnlyList<DiskPlan>> disks = planner.Disks(domain);
            Func<string, IReadOnlyList<NicPlan>> nics = planner.Nics(domain);
            if (guest is null)
                continue;
            ByteSize memory = domain.Memory ?? guest.DefaultMemory;
            CheckCommandLine(domain, guest, lookup.Errors);
            domain.FailIf(domain.MaxMemory?.Bytes < memory.Bytes, lookup.Errors, nameof(domain.MaxMemory),
                $"The domain starts with {memory}, which is more.", "Raise maxMemory, or lower memory.");
            resolved.Add(domain with { Memory = memory, MaxMemory = domain.MaxMemory ?? memory });
            DomainPlan plan = Plan(domain, group, guest, memory, schedulerOptions);
            plans.AddRange(domain.Names.Select(name => plan with { Name = name, Disks = disks(name), Nics = nics(name) }));
        }

        if (lookup.Errors.Count == 0)
            CheckMemory(experiment, plans, lookup.Errors);
        if (lookup.Errors.Count > 0 || plugins is null)
        {
            plugins?.Dispose();
            devices.Dispose();
            throw new ConfigurationException(lookup.Errors);
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
            Resolved = ConfigurationWriter.Element(experiment with { Domains = resolved }, lookup.Options),
        };
    }

    private static DomainPlan Plan(DomainSettings domain, int group, GuestChoice guest, ByteSize memory, object? schedulerOptions) => new()
    {
        Name = domain.Name,
        Group = group,
        Guest = guest.Label,
        Builtin = guest.Builtin,
        GuestOptions = guest.Options,
        Image = guest.Image,
        Initrd = guest.Initrd,
        CommandLine = guest.CommandLine,
        MemoryBytes = memory.Bytes,
        MaxMemoryBytes = domain.MaxMemory?.Bytes ?? memory.Bytes,
        Weight = domain.Weight,
        SchedulerOptions = schedulerOptions,
        Affinity = domain.Affinity is null ? CpuSet.All : CpuSet.Of([.. domain.Affinity.Numbers]),
        StartDelay = domain.StartDelay,
        SpeaksWhenUp = guest.SpeaksWhenUp,
    };

    private static void CheckCommandLine(DomainSettings domain, GuestChoice guest, List<ConfigurationError> errors)
    {
        string property = domain.Script.Count > 0 ? nameof(domain.Script) : nameof(domain.Cmdline);
        domain.FailIf(guest.CommandLine.Length > DomainSettings.MaxCmdline, errors, property,
            $"The whole command line has {guest.CommandLine.Length} characters, "
            + "including the script, which takes four for every three of its own.",
            $"The ABI's start_info has room for {DomainSettings.MaxCmdline}: shorten it, or put a long script on a disk.");
    }

    /// <summary>The sum once more, now with the sizes that guests bring along.</summary>
    private static void CheckMemory(Experiment experiment, List<DomainPlan> plans, List<ConfigurationError> errors)
    {
        long limit = experiment.Machine.MostMemory.Bytes;
        long sum = plans.Sum(plan => plan.MemoryBytes);
        experiment.FailIf(sum > limit, errors, nameof(experiment.Domains),
            $"The domains' memory adds up to {sum >> 20} MiB, and the machine's limit is {limit >> 20} MiB.",
            "Give the domains less, or raise machine.memoryLimit.");
    }
}
