using Tessera.Experiments.Configuration;
using Tessera.Sdk.Plugins;

namespace Tessera.Experiments.Planning;

/// <summary>The disks of one item of domains, looked up.</summary>
/// <param name="Options">For each disk the options of its backend and of the layers over it, placeholders not filled in.</param>
/// <param name="For">The disks of the domain of this name.</param>
public sealed record DiskChoices(IReadOnlyList<IReadOnlyList<object?>> Options, Func<string, IReadOnlyList<DiskPlan>> For);

/// <summary>Looks up the backends of disks and binds their options.</summary>
public sealed class DiskPlanner(DevicePlugins plugins, GuestSources guests, Experiment experiment, List<ConfigurationError> errors)
{
    private readonly BackendPlanner _backends = new(plugins, guests, experiment, errors);

    /// <summary>The disks of an item of domains; what is wrong is added to the errors.</summary>
    public DiskChoices Choose(DomainSettings domain)
    {
        (DiskSettings Disk, BackendChoices Backends)[] disks = [.. domain.Disks.Select(disk => (disk, _backends.Choose(PluginKind.BlockBackend, disk.Backend, disk.Layers)))];
        return new(
            [.. disks.Select(disk => disk.Backends.Options)],
            name => [.. disks.Select(disk => new DiskPlan(disk.Disk.Name, disk.Disk.IsReadOnly, disk.Disk.PersistentGrants, disk.Backends.For(name)))]);
    }
}
