using System.Globalization;
using Tessera.Sdk.Scheduling;

namespace Tessera.Kernel.Native;

/// <summary>How the host CPUs lie that physical CPUs are pinned to, as Linux says it (Documentation/admin-guide/cputopology.rst).</summary>
internal static class HostTopology
{
    /// <summary>Where Linux says it.</summary>
    public const string Root = "/sys/devices/system/cpu";

    /// <summary>More than any file read here holds.</summary>
    private const int MostCharacters = 64 << 10;

    /// <summary>Reads it.</summary>
    /// <param name="hostCpus">The host CPU of each physical CPU.</param>
    /// <param name="root">The folder.</param>
    /// <returns>The topology of the physical CPUs; a flat one where the host says nothing, or nothing that makes sense.</returns>
    public static MachineTopology Read(IReadOnlyList<int> hostCpus, string root = Root)
    {
        try
        {
            return new MachineTopology([.. hostCpus.Select(cpu => PlaceOf(Path.Combine(root, $"cpu{cpu}"), cpu))]);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or FormatException or OverflowException
            or ArgumentException)
        {
            return MachineTopology.Flat(hostCpus.Count);
        }
    }

    private static PcpuPlace PlaceOf(string folder, int cpu) => new(
        FirstSharing(Path.Combine(folder, "topology", "thread_siblings_list"), cpu),
        LastCacheOf(Path.Combine(folder, "cache"), cpu),
        NodeOf(folder));

    /// <summary>
    /// The first CPU that shares the last level of cache; virtual machines often say nothing of caches, and then it is one for all.
    /// </summary>
    private static int LastCacheOf(string folder, int cpu)
    {
        (int last, int cache) = (0, -1);
        if (!Directory.Exists(folder))
            return cache;
        foreach (string index in Directory.EnumerateDirectories(folder, "index*"))
        {
            int level = int.Parse(Text(Path.Combine(index, "level")), NumberStyles.None, CultureInfo.InvariantCulture);
            if (level > last)
                (last, cache) = (level, FirstSharing(Path.Combine(index, "shared_cpu_list"), cpu));
        }

        return cache;
    }

    private static int NodeOf(string folder)
    {
        foreach (string name in Directory.EnumerateFileSystemEntries(folder, "node*").Select(static path => Path.GetFileName(path)))
        {
            if (int.TryParse(name.AsSpan(4), NumberStyles.None, CultureInfo.InvariantCulture, out int node))
                return node;
        }

        return 0;
    }

    /// <summary>The first CPU of a list such as 0-3,8-11.</summary>
    /// <exception cref="FormatException">It is no such list, or the CPU is not in it.</exception>
    private static int FirstSharing(string file, int cpu)
    {
        int first = int.MaxValue;
        bool isThere = false;
        foreach (string range in Text(file).Split(','))
        {
            string[] ends = range.Split('-');
            int from = int.Parse(ends[0], NumberStyles.None, CultureInfo.InvariantCulture);
            int to = int.Parse(ends[^1], NumberStyles.None, CultureInfo.InvariantCulture);
            if (ends.Length > 2 || to < from)
                throw new FormatException($"{file} has '{range}'.");
            first = Math.Min(first, from);
            isThere |= from <= cpu && cpu <= to;
        }

        return isThere ? first : throw new FormatException($"{file} has not CPU {cpu}.");
    }

    private static string Text(string file)
    {
        using StreamReader reader = File.OpenText(file);
        char[] buffer = new char[MostCharacters];
        return new string(buffer, 0, reader.ReadBlock(buffer)).Trim();
    }
}
