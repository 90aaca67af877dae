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
    public static PluginSet? Load(PluginCatalog catalog, Experiment experiment, List<ConfigurationError> errors)
    {
        ChosenPlugin? engine = Choose(catalog, experiment, experiment.Machine.Engine, PluginKind.CpuEngine, errors);
        ChosenPlugin? mmu = Choose(catalog, experiment, experiment.Machine.Mmu, PluginKind.Mmu, errors);
        ChosenPlugin? policy = Choose(catalog, experiment, experiment.Machine.MemoryPolicy, PluginKind.MemoryPolicy, errors);
        ChosenPlugin? scheduler = Choose(catalog, experiment, experiment.Scheduler, PluginKind.Scheduler, errors);
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

    private static ChosenPlugin? Choose(PluginCatalog catalog, Experiment experiment, PluginChoice choice, PluginKind kind, List<ConfigurationError> errors)
    {
        try
        {
            LoadedPlugin plugin = catalog.Load(choice.Name, kind);
            return new ChosenPlugin(plugin, OptionErrors.Bind(plugin.OptionsType, choice.Options, choice.OptionsPath, experiment.Document, errors));
        }
        catch (PluginException e)
        {
            errors.Add(new(experiment.Document.Nearest(choice.Path).Position, choice.Path, e.Message, ""));
            return null;
        }
    }
}
