using System.Globalization;
using System.Runtime.InteropServices;
using Tessera.Lab.Results;

namespace Tessera.Experiments.Hosts;

/// <summary>Reads the host's facts from /proc.</summary>
public static class HostFactsReader
{
    public static HostFacts Read() => new(
        HostResources.Field("/proc/cpuinfo", "model name")?.TrimStart(':', ' ', '\t') ?? RuntimeInformation.ProcessArchitecture.ToString(),
        Environment.ProcessorCount,
        MemoryBytes(),
        File.Exists("/proc/sys/kernel/osrelease") ? File.ReadAllText("/proc/sys/kernel/osrelease").Trim() : RuntimeInformation.OSDescription,
        RuntimeInformation.FrameworkDescription);

    private static long MemoryBytes() =>
        HostResources.Field("/proc/meminfo", "MemTotal:") is { } text
        && long.TryParse(text.Split(' ')[0], NumberStyles.None, CultureInfo.InvariantCulture, out long kibibytes)
            ? kibibytes * 1024
            : GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
}
