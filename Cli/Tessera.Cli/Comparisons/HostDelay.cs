using System.Globalization;

namespace Tessera.Cli.Comparisons;

/// <summary>
/// How long the threads of physical CPUs were ready to run while the host ran something else, from the host's own accounts
/// (/proc/self/task/*/schedstat, second number): what a busy host takes from a measurement.
/// </summary>
internal static class HostDelay
{
    private const string Tasks = "/proc/self/task";
    private const string ThreadNames = "tessera p";

    /// <summary>The sum over the physical CPUs of this process that exist now, in ns; 0 where the host keeps no such accounts.</summary>
    public static long Read()
    {
        long sum = 0;
        if (!Directory.Exists(Tasks))
            return sum;
        foreach (string task in Directory.GetDirectories(Tasks))
        {
            try
            {
                if (!File.ReadAllText(Path.Combine(task, "comm")).StartsWith(ThreadNames, StringComparison.Ordinal))
                    continue;
                string[] fields = File.ReadAllText(Path.Combine(task, "schedstat")).Split(' ');
                if (fields.Length > 1 && long.TryParse(fields[1], NumberStyles.None, CultureInfo.InvariantCulture, out long delay))
                    sum += delay;
            }
            catch (IOException)
            {
                // A thread that ended between the two reads, or a host without accounts.
            }
        }

        return sum;
    }
}
