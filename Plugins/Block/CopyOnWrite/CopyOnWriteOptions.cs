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

    [Option("The size of the guest's sectors in bytes: 512, 1024, 2048 or 4096; 0 for those of the block device beneath, and 512 over a file.", Min = "0", Max = "4096")]
    public int SectorSize { get; init; }

    [Option("Take the base for a disk byte for byte, even if it begins like an image of another format (qcow2, vmdk …) or a packed file.")]
    public bool Raw { get; init; }

    [Option("Threads that carry out requests: how many of them wait for storage at once.", Min = "1", Max = "64")]
    public int Workers { get; init; } = 4;
}
