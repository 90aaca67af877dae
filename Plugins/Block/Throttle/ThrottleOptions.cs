using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Block.Throttle;

/// <summary>Options of the throttle decorator.</summary>
public sealed record ThrottleOptions
{
    [Option("The most requests a second of this disk; 0 for no bound.", Min = "0", Max = "100000000")]
    public long Iops { get; init; }

    [Option("The most bytes a second of this disk; 0 for no bound.", Min = "0 B", Max = "1 TiB")]
    public ByteSize BytesPerSecond { get; init; }

    [Option("How much a bound saves up while the disk is idle, as time at the full rate.", Min = "0 s", Max = "10 s")]
    public Nanoseconds Burst { get; init; } = Nanoseconds.FromMilliseconds(100);

    [Option("Disks of one group share the group's bounds by weight; empty for a disk of its own.")]
    public string Group { get; init; } = "";

    [Option("This disk's share of its group when the group's bounds bind.", Min = "1", Max = "65535")]
    public int Weight { get; init; } = 256;

    [Option("The most requests a second of the whole group; 0 for no bound. The same for all its disks.", Min = "0", Max = "100000000")]
    public long GroupIops { get; init; }

    [Option("The most bytes a second of the whole group; 0 for no bound. The same for all its disks.", Min = "0 B", Max = "1 TiB")]
    public ByteSize GroupBytesPerSecond { get; init; }
}
