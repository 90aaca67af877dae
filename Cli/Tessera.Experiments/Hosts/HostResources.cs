using System.Globalization;
using Tessera.Sdk.Plugins;

namespace Tessera.Experiments.Hosts;

/// <summary>What this host offers a machine; injected, so that the rules are testable anywhere.</summary>
/// <param name="Cpus">The numbers of the CPUs this process may use, ascending.</param>
/// <param name="AvailableMemory">Memory that can be given to domains without swapping.</param>
public sealed record HostResources(IReadOnlyList<int> Cpus, ByteSize AvailableMemory)
{
    /// <summary>Reads them from /proc.</summary>
    public static HostResources Read() => new(
        ParseCpuList(Field("/proc/self/status", "Cpus_allowed_list:") ?? $"0-{Environment.ProcessorCount - 1}"),
        new ByteSize(ParseKibibytes(Field("/proc/meminfo", "MemAvailable:")) ?? GC.GetGCMemoryInfo().TotalAvailableMemoryBytes));

    /// <summary>Parses the kernel's list form, "0-2,5".</summary>
    internal static List<int> ParseCpuList(string text)
    {
        List<int> cpus = [];
        foreach (string part in text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            string[] ends = part.Split('-');
            int first = int.Parse(ends[0], CultureInfo.InvariantCulture);
            int last = ends.Length > 1 ? int.Parse(ends[1], CultureInfo.InvariantCulture) : first;
            for (int cpu = first; cpu <= last; cpu++)
                cpus.Add(cpu);
        }

        return cpus;
    }

    public static string? Field(string file, string name)
    {
        if (!File.Exists(file))
            return null;
        return File.ReadLines(file).FirstOrDefault(line => line.StartsWith(name, StringComparison.Ordinal))?[name.Length..].Trim();
    }

    private static long? ParseKibibytes(string? text) =>
        text is not null && long.TryParse(text.Split(' ')[0], CultureInfo.InvariantCulture, out long kibibytes) ? kibibytes * 1024 : null;
}
