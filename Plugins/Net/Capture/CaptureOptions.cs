using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Net.Capture;

/// <summary>Options of a capture.</summary>
public sealed record CaptureOptions
{
    [Option("The pcapng file, made anew; {domain} stands for the domain's name.", IsPath = true)]
    public string Path { get; init; } = "{domain}.pcapng";

    [Option("The most bytes kept of each frame.", Min = "64", Max = "65535")]
    public int SnapLength { get; init; } = 65535;

    [Option("The most bytes that the file gets; frames beyond it are counted and not kept.", Min = "64 KiB")]
    public ByteSize Limit { get; init; } = new(1L << 30);

    [Option("What may wait in memory for the disk; frames beyond it are counted and not kept.", Min = "256 KiB", Max = "256 MiB")]
    public ByteSize Buffer { get; init; } = new(4 << 20);
}
