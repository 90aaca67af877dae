using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Net.Tap;

/// <summary>Options of a host network device.</summary>
public sealed record TapOptions
{
    [Option("The device. An existing one is used, and stays; else one is made, which needs CAP_NET_ADMIN, and goes with the interface.")]
    public string Device { get; init; } = "tessera%d";
}
