using Tessera.Experiments.Configuration;
using Tessera.Hosting;
using Tessera.Sdk.Plugins;

namespace Tessera.Experiments.Planning;

/// <summary>A plugin with the options it will be made with.</summary>
/// <param name="Plugin">The plugin.</param>
/// <param name="Options">Its options record; null for none.</param>
public sealed record ChosenPlugin(LoadedPlugin Plugin, object? Options)
{
    /// <summary>Makes an instance.</summary>
    public T Create<T>(IServiceProvider services)
        where T : class => Plugin.Create<T>(Options, services);

    /// <summary>Name and version: what reports and ejections call it.</summary>
    public string Title => $"{Plugin.Info.Name} {Plugin.Info.Version}";
}

/// <summary>The plugins of one machine, loaded; disposing lets them go.</summary>
public sealed record PluginSet : IDisposable
{
    /// <summary>The policy that takes over when the configured one fails.</summary>
    public const string FallbackScheduler = "round-robin";

    /// <summary>The CPU engine.</summary>
    public required ChosenPlugin Engine { get; init; }

    /// <summary>The MMU virtualization.</summary>
    public required ChosenPlugin Mmu { get; init; }

    /// <summary>The memory policy.</summary>
    public required ChosenPlugin MemoryPolicy { get; init; }

    /// <summary>The scheduler; a swap puts another here.</summary>
    public required ChosenPlugin Scheduler { get; set; }

    /// <summary>The scheduler's fallback.</summary>
    public required ChosenPlugin Fallback { get; init; }

    /// <summary>Loads what an experiment names; adds errors and answers null when something cannot be.</summary>
    public static PluginSet? Load(PluginCatalog catalog, Lookup lookup)
    {
        MachineSettings machine = lookup.Experiment.Machine;
        ChosenPlugin? engine = Choose(catalog, lookup, machine.EnginePlugin, PluginKind.CpuEngine);
        ChosenPlugin? mmu = Choose(catalog, lookup, machine.MmuPlugin, PluginKind.Mmu);
        ChosenPlugin? policy = Choose(catalog, lookup, machine.MemoryPolicyPlugin, PluginKind.MemoryPolicy);
        ChosenPlugin? scheduler = Choose(catalog, lookup, lookup.Experiment.Scheduler.Choice, PluginKind.Scheduler);
        if (engine is null || mmu is null || policy is null || scheduler is null)
        {
            foreach (ChosenPlugin? chosen in new[] { engine, mmu, policy, scheduler })
                chosen?.Plugin.Dispose();
            return null;
        }

        return new PluginSet
        {
            Engine = engine,
            Mmu = mmu,
            MemoryPolicy = policy,
            Scheduler = scheduler,
            Fallback = new ChosenPlugin(catalog.Load(FallbackScheduler, PluginKind.Scheduler), null),
        };
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (ChosenPlugin chosen in new[] { Engine, Mmu, MemoryPolicy, Scheduler, Fallback })
            chosen.Plugin.Dispose();
    }

    private static ChosenPlugin? Choose(PluginCatalog catalog, Lookup lookup, PluginChoice choice, PluginKind kind)
    {
        try
        {
            LoadedPlugin plugin = catalog.Load(choice.Name, kind);
            return new ChosenPlugin(plugin, lookup.Bind(plugin.OptionsType, choice.Options, choice.OptionsPath));
        }
        catch (PluginException e)
        {
            lookup.Fail(choice.Path, e.Message);
            return null;
        }
    }
}
