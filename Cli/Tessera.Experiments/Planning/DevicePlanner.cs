using Tessera.Experiments.Configuration;
using Tessera.GuestLibrary;
using Tessera.Hosting;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Experiments.Planning;

/// <summary>Looks up the backends of disks and network interfaces and binds their options; the lookup gets what is wrong.</summary>
public sealed class DevicePlanner(DevicePlugins plugins, GuestSources guests, Lookup lookup)
{
    private const string DomainPlaceholder = "{domain}";
    private const string GuestPrefix = "guest:";

    /// <summary>The prefix that the IEEE gave to Xen, for guests' addresses.</summary>
    private const ulong XenPrefix = 0x0016_3E00_0000;

    /// <summary>A backend and the layers over it, with the options for the domain of a name.</summary>
    private delegate IReadOnlyList<ChosenPlugin> Backends(string domain);

    /// <summary>
    /// An address that is the same in every run: names are unique in a machine, and 24 bits of their hash nearly so; a switch refuses the
    /// second.
    /// </summary>
    public static MacAddress AddressOf(string domain, int number)
    {
        uint hash = 2166136261;
        foreach (char letter in $"{domain}/{number}")
            hash = (hash ^ letter) * 16777619;
        return new(XenPrefix | ((hash ^ (hash >> 24)) & 0xFF_FFFF));
    }

    /// <summary>The disks of an item of domains, for the domain of a name.</summary>
    public Func<string, IReadOnlyList<DiskPlan>> Disks(DomainSettings domain)
    {
        Backends[] backends = [.. domain.Disks.Select(disk => Choose(PluginKind.BlockBackend, disk.Choice, disk.Layers))];
        return name =>
        [
            .. domain.Disks.Select((disk, index) => new DiskPlan(disk.Name, disk.ReadOnly, disk.PersistentGrants, backends[index](name))),
        ];
    }

    /// <summary>The network interfaces of an item of domains, for the domain of a name.</summary>
    public Func<string, IReadOnlyList<NicPlan>> Nics(DomainSettings domain)
    {
        Backends[] backends = [.. domain.Nics.Select(nic => Choose(PluginKind.NetworkBackend, nic.Choice, nic.Layers))];
        return name =>
        [
            .. domain.Nics.Select((nic, number) => new NicPlan(
                number, nic.Mac ?? AddressOf(name, number), nic.Rate?.Bytes ?? 0, nic.AntiSpoofing, nic.Addresses, backends[number](name))),
        ];
    }

    private Backends Choose(PluginKind kind, PluginChoice backend, IReadOnlyList<LayerSettings> layers)
    {
        List<(LoadedPlugin Plugin, object? Options)> chosen = [];
        foreach (PluginChoice choice in layers.Select(layer => layer.Choice).Prepend(backend))
        {
            // An unnamed one has been reported as missing.
            if (choice.Name.Length == 0)
                continue;
            try
            {
                LoadedPlugin plugin = plugins.Load(choice.Name, kind);
                object? options = lookup.Bind(plugin.OptionsType, choice.Options, choice.OptionsPath);
                if (options is not null)
                    OptionBinder.ChangeStrings(options, (text, isPath) => isPath ? Whole(text, choice) : text);
                chosen.Add((plugin, options));
            }
            catch (PluginException e)
            {
                lookup.Fail(choice.Path, e.Message);
            }
        }

        return domain => [.. chosen.Select(one => new ChosenPlugin(one.Plugin, Fill(one.Options, domain)))];
    }

    /// <summary>Each domain has a record of its own.</summary>
    private static object? Fill(object? options, string domain)
    {
        if (options is null)
            return null;
        object filled = OptionBinder.Copy(options);
        OptionBinder.ChangeStrings(filled, (text, _) => text.Replace(DomainPlaceholder, domain, StringComparison.Ordinal));
        return filled;
    }

    private string Whole(string path, PluginChoice choice)
    {
        if (!path.StartsWith(GuestPrefix, StringComparison.Ordinal))
            return Path.GetFullPath(path, lookup.Experiment.BaseDirectory);
        string guest = path[GuestPrefix.Length..];
        if (guests.RootDiskOf(guest) is { } disk)
            return disk;
        string[] known = [.. GuestCatalogue.All.Select(known => known.Name)];
        string cure = known.Contains(guest)
            ? $"`tessera guest get {guest}` makes it."
            : Suggestion.Nearest(guest, known) is { } nearest
                ? $"Did you mean \"{GuestPrefix}{nearest}\"?"
                : $"Known are: {string.Join(", ", known)}.";
        lookup.Fail(choice.OptionsPath, $"The library has no root disk of a guest \"{guest}\".", cure);
        return path;
    }
}
