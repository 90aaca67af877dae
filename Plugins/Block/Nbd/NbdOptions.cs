using System.Diagnostics.CodeAnalysis;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Block.Nbd;

/// <summary>Options of the nbd backend.</summary>
public sealed record NbdOptions
{
    [Option("The export, as an NBD URI: nbd://host:port/name, or nbd+unix:///name?socket=/path.")]
    [SuppressMessage("Design", "CA1056", Justification = "Options are what a configuration can write; libnbd reads the URI.")]
    public string Uri { get; init; } = "";

    [Option("Requests under way at once.", Min = "1", Max = "256")]
    public int QueueDepth { get; init; } = 32;

    [Option("How long a server that went away is called again while requests wait; then they end with errors. 0 for not at all.", Min = "0 s", Max = "60 min")]
    public Nanoseconds Reconnect { get; init; } = Nanoseconds.FromSeconds(30);
}
