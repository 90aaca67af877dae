using System.Globalization;
using System.Runtime.InteropServices;
using Tessera.Lab.Results;

namespace Tessera.Experiments.Hosts;

/// <summary>Reads the host's facts from /proc.</summary>
public static class HostFactsReader
{
    /// <summary>The environment's word for the host, where its name is not: in a container, say.</summary>
    public const string NameVariable = "TESSERA_HOST";

    /// <summary>What the host is called.</summary>
    public static string Name(IExperimentHost host) =>
        host.Environment(NameVariable) is { Length: > 0 } name ? name : Environment.MachineName;

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
