using System.Globalization;
using Tessera.Sdk;

namespace Tessera.Experiments.Hosts;

/// <summary>What was taken from physical CPUs, up to some moment.</summary>
/// <param name="Delay">How long their threads were ready and the host ran something else, all together.</param>
/// <param name="Stolen">How long the hypervisor beneath the host took their host CPUs, all together.</param>
public readonly record struct Withheld(Nanoseconds Delay, Nanoseconds Stolen)
{
    /// <summary>From an earlier moment to this one.</summary>
    public Withheld Since(Withheld before) => new(Nanoseconds.Max(Nanoseconds.Zero, Delay - before.Delay), Nanoseconds.Max(Nanoseconds.Zero, Stolen - before.Stolen));
}

/// <summary>Tells what a busy host takes from a measurement; a seam, so that tests need no busy host.</summary>
public interface IHostDelay
{
    /// <summary>What was taken until now from this process's physical CPUs that exist now; null where the host keeps no such accounts.</summary>
    /// <param name="hostCpus">The host CPUs they run on.</param>
    Withheld? Read(IReadOnlyList<int> hostCpus);
}

/// <summary>The host's own accounts: run-queue delay of the threads (/proc/self/task/*/schedstat, second number) and steal of their CPUs (/proc/stat).</summary>
public sealed class HostDelay : IHostDelay
{
    private const string Tasks = "/proc/self/task";
    private const string Cpus = "/proc/stat";
    private const string ThreadNames = "Name:\ttessera p";
    private const string AllowedCpus = "Cpus_allowed_list:";

    /// <summary>Which number of a CPU's line is steal, and the unit of it: USER_HZ is 100 everywhere.</summary>
    private const int StealAt = 8;
    private const long TickNanoseconds = 10_000_000;

    /// <inheritdoc/>
    public Withheld? Read(IReadOnlyList<int> hostCpus) => Delay() is { } delay ? new Withheld(new Nanoseconds(delay), new Nanoseconds(Stolen(hostCpus))) : null;

    /// <summary>Named as one and pinned: a thread that the runtime starts from one keeps its name, but runs on any host CPU.</summary>
    internal static bool IsPhysicalCpu(string[] status) =>
        status.Length > 0 && status[0].StartsWith(ThreadNames, StringComparison.Ordinal)
        && status.FirstOrDefault(static line => line.StartsWith(AllowedCpus, StringComparison.Ordinal)) is { } allowed
        && int.TryParse(allowed.AsSpan(AllowedCpus.Length), NumberStyles.AllowLeadingWhite, CultureInfo.InvariantCulture, out _);

    private static long? Delay()
    {
        if (!Directory.Exists(Tasks))
            return null;
        long? sum = null;
        foreach (string task in Directory.GetDirectories(Tasks))
        {
            try
            {
                if (!IsPhysicalCpu(File.ReadAllLines(Path.Combine(task, "status"))))
                    continue;
                string[] fields = File.ReadAllText(Path.Combine(task, "schedstat")).Split(' ');
                if (fields.Length > 1 && long.TryParse(fields[1], NumberStyles.None, CultureInfo.InvariantCulture, out long delay))
                    sum = (sum ?? 0) + delay;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // A thread that ended between the two reads, or a host without accounts.
            }
        }

        return sum;
    }

    private static long Stolen(IReadOnlyList<int> hostCpus)
    {
        if (!File.Exists(Cpus))
            return 0;
        HashSet<string> names = [.. hostCpus.Select(cpu => string.Create(CultureInfo.InvariantCulture, $"cpu{cpu}"))];
        long ticks = 0;
        foreach (string line in File.ReadLines(Cpus))
        {
            string[] fields = line.Split(' ');
            if (fields.Length > StealAt && names.Contains(fields[0]) && long.TryParse(fields[StealAt], NumberStyles.None, CultureInfo.InvariantCulture, out long stolen))
                ticks += stolen;
        }

        return ticks * TickNanoseconds;
    }
}
