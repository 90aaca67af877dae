using Tessera.Cli.Configuration;
using Tessera.Cli.Runs;
using Tessera.Hosting;
using Tessera.Sdk.Plugins;

namespace Tessera.Cli.Composition;

/// <summary>The disks of one item of domains, looked up.</summary>
/// <param name="Options">For each disk the options of its backend and of the layers over it, placeholders not filled in.</param>
/// <param name="For">The disks of the domain of this name.</param>
internal sealed record DiskChoices(IReadOnlyList<IReadOnlyList<object?>> Options, Func<string, IReadOnlyList<DiskPlan>> For);

/// <summary>Looks up the backends of disks and binds their options.</summary>
internal sealed class DiskPlanner(DevicePlugins plugins, GuestSources guests, Experiment experiment, List<ConfigurationError> errors)
{
    private const string DomainPlaceholder = "{domain}";
    private const string GuestPrefix = "guest:";

    /// <summary>The disks of an item of domains; what is wrong is added to the errors.</summary>
    public DiskChoices Choose(DomainSettings domain)
    {
        List<(DiskSettings Disk, List<(LoadedPlugin Plugin, PluginChoice Choice)> Backends)> disks = [];
        foreach (DiskSettings disk in domain.Disks)
        {
            List<(LoadedPlugin, PluginChoice)> backends = [];
            foreach (PluginChoice choice in disk.Layers.Prepend(disk.Backend))
            {
                // An unnamed one has been reported as missing.
                if (choice.Name.Length > 0 && Load(choice) is { } plugin)
                    backends.Add((plugin, choice));
            }

            disks.Add((disk, backends));
        }

        return new(
            [.. disks.Select(disk => (IReadOnlyList<object?>)[.. disk.Backends.Select(backend => Bind(backend.Plugin, backend.Choice, errors))])],
            name => [.. disks.Select(disk => new DiskPlan(
                disk.Disk.Name, disk.Disk.IsReadOnly, disk.Disk.PersistentGrants, [.. disk.Backends.Select(backend => new ChosenPlugin(backend.Plugin, Fill(backend, name)))]))]);
    }

    private LoadedPlugin? Load(PluginChoice choice)
    {
        try
        {
            return plugins.Load(choice.Name, PluginKind.BlockBackend);
        }
        catch (PluginException e)
        {
            errors.Add(new(experiment.Document.Nearest(choice.Path).Position, choice.Path, e.Message, ""));
            return null;
        }
    }

    private object? Fill((LoadedPlugin Plugin, PluginChoice Choice) backend, string domain)
    {
        // Each domain has a record of its own; what is wrong with it has been said once.
        object? options = Bind(backend.Plugin, backend.Choice, []);
        if (options is not null)
            OptionBinder.ChangeStrings(options, (text, _) => text.Replace(DomainPlaceholder, domain, StringComparison.Ordinal));
        return options;
    }

    private object? Bind(LoadedPlugin plugin, PluginChoice choice, List<ConfigurationError> found)
    {
        object? options = OptionErrors.Bind(plugin.OptionsType, choice.Options, choice.OptionsPath, experiment.Document, found);
        if (options is not null)
            OptionBinder.ChangeStrings(options, (text, isPath) => isPath ? Whole(text, choice, found) : text);
        return options;
    }

    private string Whole(string path, PluginChoice choice, List<ConfigurationError> found)
    {
        if (!path.StartsWith(GuestPrefix, StringComparison.Ordinal))
            return Path.GetFullPath(path, experiment.BaseDirectory);
        string guest = path[GuestPrefix.Length..];
        if (guests.RootDiskOf(guest) is { } disk)
            return disk;
        found.Add(new(experiment.Document.Nearest(choice.OptionsPath).Position, choice.OptionsPath, $"The library has no root disk of a guest \"{guest}\".", $"`tessera guest get {guest}` makes it."));
        return path;
    }
}
