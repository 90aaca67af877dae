using Tessera.Images;
using Tessera.Sdk;

namespace Tessera.Kernel.Domains;

/// <summary>A domain to build.</summary>
public sealed record DomainConfiguration
{
    /// <summary>Its name, unique in the machine.</summary>
    public required string Name { get; init; }

    /// <summary>The kernel, loaded.</summary>
    public required KernelImage Image { get; init; }

    /// <summary>The initial ramdisk; empty for none.</summary>
    public ReadOnlyMemory<byte> Initrd { get; init; }

    /// <summary>The kernel's command line, at most 1023 bytes.</summary>
    public string CommandLine { get; init; } = "";

    /// <summary>Memory in bytes, a multiple of 4096; the memory policy says how much of it, or more, the domain starts with.</summary>
    public required long MemoryBytes { get; init; }

    /// <summary>The most memory it may grow to by ballooning; 0 means <see cref="MemoryBytes"/>.</summary>
    public long MaxMemoryBytes { get; init; }

    /// <summary>Share weight, at least 1.</summary>
    public int Weight { get; init; } = 256;

    /// <summary>The scheduler's own per-domain options record, or null for its defaults.</summary>
    public object? SchedulerOptions { get; init; }

    /// <summary>Physical CPUs its vCPUs may run on.</summary>
    public CpuSet Affinity { get; init; } = CpuSet.All;
}
