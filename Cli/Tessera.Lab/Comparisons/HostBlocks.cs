namespace Tessera.Lab.Comparisons;

/// <summary>Where a run was made.</summary>
/// <param name="Name">The host's name.</param>
/// <param name="Cpu">Its CPU's model name.</param>
/// <param name="Engine">The engine that ran guest code, by its plugin's name; <c>simulated</c> in virtual time of the simulator.</param>
/// <param name="ExitCostNs">The median cost of the cheapest trap on that engine, in nanoseconds; null where it was not measured.</param>
public sealed record RunHost(string Name, string Cpu, string Engine, double? ExitCostNs = null);

/// <summary>The runs of one host.</summary>
/// <param name="Name">The host's name.</param>
/// <param name="Cpu">Its CPU's model name.</param>
/// <param name="Runs">All runs made there.</param>
/// <param name="OnMachine">Those of them that were on the machine, so that their figures depend on the host.</param>
public sealed record HostRuns(string Name, string Cpu, int Runs, int OnMachine);

/// <summary>
/// Hosts as blocks. Figures of virtual time are the same everywhere; those of machines are their host's as well. Where a repetition, which
/// has every combination once, was made on one host, a difference between hosts falls on all schedulers alike, as time does (Montgomery,
/// Design and Analysis of Experiments, ch. 4); where it was made on several, it may look like a difference between schedulers.
/// </summary>
public static class HostBlocks
{
    private const int MostNamed = 8;

    /// <summary>The hosts of some runs, by name.</summary>
    public static IReadOnlyList<HostRuns> Of(IReadOnlyList<RunRow> runs) =>
    [
        .. runs.Where(run => run.Host is not null).GroupBy(run => (run.Host!.Name, run.Host.Cpu))
            .OrderBy(host => host.Key.Name, StringComparer.Ordinal).ThenBy(host => host.Key.Cpu, StringComparer.Ordinal)
            .Select(host => new HostRuns(host.Key.Name, host.Key.Cpu, host.Count(), host.Count(IsOnMachine))),
    ];

    /// <summary>What more than one host means; null where nothing depends on it.</summary>
    public static string? Sentence(IReadOnlyList<RunRow> runs)
    {
        RunRow[] measured = [.. runs.Where(run => run.Host is not null && IsOnMachine(run))];
        HostRuns[] hosts = [.. Of(measured)];
        if (hosts.Length < 2)
            return null;
        int[] mixed = [.. measured.GroupBy(run => run.Repetition).Where(block => Of([.. block]).Count > 1).Select(block => block.Key)
            .Order()];
        string named = string.Join("; ", hosts.Take(MostNamed).Select(host => $"{host.Name}, {host.Cpu}: {host.OnMachine}"))
            + (hosts.Length > MostNamed ? "; …" : "");
        return $"The runs on the machine are from {hosts.Length} hosts ({named}), so the host is a blocking factor. "
            + (mixed.Length == 0
                ? "Each repetition was made on one of them: what differs between hosts falls on all schedulers alike."
                : $"{mixed.Length} of {measured.Select(run => run.Repetition).Distinct().Count()} repetitions were made on more than one "
                    + $"({string.Join(", ", mixed.Take(MostNamed))}{(mixed.Length > MostNamed ? ", …" : "")}): a difference between "
                        + "schedulers may be one between hosts there.");
    }

    private static bool IsOnMachine(RunRow run) => run.Engine == ComparisonEngines.Machine;
}
