using Tessera.Experiments.Configuration;
using Tessera.GuestLibrary;
using Tessera.Hosting;
using Tessera.Sdk.Plugins;

namespace Tessera.Experiments.Planning;

/// <summary>A device's backend and the layers over it, looked up.</summary>
/// <param name="Options">Their options, placeholders not filled in.</param>
/// <param name="For">The plugins with the options for the domain of this name.</param>
internal sealed record BackendChoices(IReadOnlyList<object?> Options, Func<string, IReadOnlyList<ChosenPlugin>> For);

/// <summary>Looks up the backends of devices and binds their options.</summary>
internal sealed class BackendPlanner(DevicePlugins plugins, GuestSources guests, Experiment experiment, List<ConfigurationError> errors)
{
    private const string DomainPlaceholder = "{domain}";
    private const string GuestPrefix = "guest:";

    /// <summary>A backend and its layers; what is wrong is added to the errors.</summary>
    public BackendChoices Choose(PluginKind kind, PluginChoice backend, IReadOnlyList<PluginChoice> layers)
    {
        List<(LoadedPlugin Plugin, PluginChoice Choice)> backends = [];
        foreach (PluginChoice choice in layers.Prepend(backend))
        {
            // An unnamed one has been reported as missing.
            if (choice.Name.Length > 0 && Load(choice, kind) is { } plugin)
                backends.Add((plugin, choice));
        }

        return new(
            [.. backends.Select(chosen => Bind(chosen.Plugin, chosen.Choice, errors))],
            name => [.. backends.Select(chosen => new ChosenPlugin(chosen.Plugin, Fill(chosen, name)))]);
    }

    private LoadedPlugin? Load(PluginChoice choice, PluginKind kind)
    {
        try
        {
            return plugins.Load(choice.Name, kind);
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
        string cure = GuestCatalogue.All.Any(known => known.Name == guest)
            ? $"`tessera guest get {guest}` makes it."
            : Suggestion.Nearest(guest, [.. GuestCatalogue.All.Select(known => known.Name)]) is { } nearest
                ? $"Did you mean \"{GuestPrefix}{nearest}\"?"
                : $"Known are: {string.Join(", ", GuestCatalogue.All.Select(known => known.Name))}.";
        found.Add(new(experiment.Document.Nearest(choice.OptionsPath).Position, choice.OptionsPath, $"The library has no root disk of a guest \"{guest}\".", cure));
        return path;
    }
}
