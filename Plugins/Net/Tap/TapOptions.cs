using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Net.Tap;

/// <summary>Options of a host network device.</summary>
public sealed record TapOptions
{
    [Option("The device. One that is there is used, and stays; else one is made, which takes the right to (CAP_NET_ADMIN), and goes with the interface.")]
    public string Device { get; init; } = "tessera%d";
}
