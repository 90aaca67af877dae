using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Net.Switch;

/// <summary>Options of a switch port.</summary>
public sealed record SwitchOptions
{
    [Option("Interfaces that name the same network reach each other.")]
    public string Network { get; init; } = "default";

    [Option("The most addresses that are learnt behind this port beside the interface's own; 0 for a port that only its own address uses.", Min = "0", Max = "4096")]
    public int Addresses { get; init; } = 64;
}
