using Tessera.Experiments.Configuration;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Experiments.Planning;

/// <summary>The network interfaces of one item of domains, looked up.</summary>
/// <param name="Options">For each interface the options of its backend and of the layers over it, placeholders not filled in.</param>
/// <param name="For">The interfaces of the domain of this name.</param>
public sealed record NicChoices(IReadOnlyList<IReadOnlyList<object?>> Options, Func<string, IReadOnlyList<NicPlan>> For);

/// <summary>Looks up the backends of network interfaces and binds their options.</summary>
public sealed class NicPlanner(DevicePlugins plugins, GuestSources guests, Experiment experiment, List<ConfigurationError> errors)
{
    /// <summary>The prefix that the IEEE gave to Xen, for guests' addresses.</summary>
    private const ulong XenPrefix = 0x0016_3E00_0000;

    private readonly BackendPlanner _backends = new(plugins, guests, experiment, errors);

    /// <summary>The interfaces of an item of domains; what is wrong is added to the errors.</summary>
    public NicChoices Choose(DomainSettings domain)
    {
        (NicSettings Nic, BackendChoices Backends)[] nics = [.. domain.Nics.Select(nic => (nic, _backends.Choose(PluginKind.NetworkBackend, nic.Backend, nic.Layers)))];
        return new(
            [.. nics.Select(nic => nic.Backends.Options)],
            name => [.. nics.Select((nic, number) => new NicPlan(number, nic.Nic.Address ?? AddressOf(name, number), nic.Nic.BytesPerSecond, nic.Nic.AntiSpoofing, nic.Nic.Addresses, nic.Backends.For(name)))]);
    }

    /// <summary>An address that is the same in every run: names are unique in a machine, and 24 bits of their hash nearly so; a switch refuses the second.</summary>
    public static MacAddress AddressOf(string domain, int number)
    {
        uint hash = 2166136261;
        foreach (char letter in $"{domain}/{number}")
            hash = (hash ^ letter) * 16777619;
        return new(XenPrefix | ((hash ^ (hash >> 24)) & 0xFF_FFFF));
    }
}
