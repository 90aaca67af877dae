using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Block.CopyOnWrite;

/// <summary>Options of the copy-on-write backend.</summary>
public sealed record CopyOnWriteOptions
{
    [Option("The file or block device beneath, byte for byte a disk; only ever read, and shared by any number of disks.", IsPath = true)]
    public string Base { get; init; } = "";

    [Option("The file that holds what is written, made when it is not there; without one, a temporary file that goes with the disk.", IsPath = true)]
    public string Overlay { get; init; } = "";

    [Option("The disk's size when the overlay is made; 0 for the base's. What lies beyond the base reads as zeroes.", Min = "0 B", Max = "1024 TiB")]
    public ByteSize Size { get; init; }

    [Option("Threads that carry out requests: how many of them wait for storage at once.", Min = "1", Max = "64")]
    public int Workers { get; init; } = 4;
}
