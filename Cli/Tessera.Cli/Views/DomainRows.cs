using System.Globalization;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Runs;
using Tessera.Lab.Results;

namespace Tessera.Cli.Views;

/// <summary>One line of a table: a domain, or many equal ones of one configuration item together.</summary>
/// <param name="Name">The name, or "spin-1 … spin-100".</param>
/// <param name="Guest">The guest.</param>
/// <param name="State">The state, or how many are in which.</param>
/// <param name="HasFailed">Whether one crashed.</param>
/// <param name="Weight">The weight of each.</param>
/// <param name="CpuSeconds">pCPU time of all.</param>
/// <param name="Share">Share of all.</param>
/// <param name="Expected">Expected share of all.</param>
/// <param name="Work">Work of all; null when none reports any.</param>
/// <param name="Wakes">Wakes of all.</param>
/// <param name="Latency">Latencies, of single domains only.</param>
/// <param name="Tail">The last console line.</param>
internal sealed record DomainRow(
    string Name, string Guest, string State, bool HasFailed, int Weight, double CpuSeconds, double Share, double Expected, long? Work, long Wakes,
    LatencySummary? Latency, string Tail)
{
    /// <summary>Share less expected share, in percentage points.</summary>
    public double Error => (Share - Expected) * 100;
}

/// <summary>Makes the lines of tables; configuration items with more domains than fit a screen become one line.</summary>
internal static class DomainRows
{
    private const int MostSingle = 8;

    /// <summary>The lines, in the order of the configuration.</summary>
    public static List<DomainRow> Of(IReadOnlyList<DomainPlan> plans, MachineReading from, MachineReading to, double[] expected, IReadOnlyList<ConsoleLog> consoles)
    {
        ShareRow[] shares = ShareTable.Between(from, to, expected);
        List<DomainRow> rows = [];
        foreach (IGrouping<int, int> group in Enumerable.Range(0, plans.Count).GroupBy(index => plans[index].Group))
        {
            int[] members = [.. group];
            if (members.Length > MostSingle)
                rows.Add(Together(plans, shares, to, consoles, members));
            else
                rows.AddRange(members.Select(index => Together(plans, shares, to, consoles, [index])));
        }

        return rows;
    }

    /// <summary>A fraction as percent, two decimals: "57.14 %".</summary>
    public static string Percent(double fraction) => (fraction * 100).ToString("0.00", CultureInfo.InvariantCulture) + " %";

    /// <summary>A time in the unit that leaves it short.</summary>
    public static string Time(long nanoseconds) => nanoseconds switch
    {
        < 1_000 => $"{nanoseconds} ns",
        < 1_000_000 => (nanoseconds / 1e3).ToString("0.#", CultureInfo.InvariantCulture) + " µs",
        < 1_000_000_000 => (nanoseconds / 1e6).ToString("0.##", CultureInfo.InvariantCulture) + " ms",
        _ => (nanoseconds / 1e9).ToString("0.##", CultureInfo.InvariantCulture) + " s",
    };

    /// <summary>A 99th percentile; a dash when there are too few values for one, nothing when there are none.</summary>
    public static string Percentile(LatencySummary? latency) => latency is null ? "" : latency.TellingP99 is { } value ? Time(value) : "–";

    private static DomainRow Together(IReadOnlyList<DomainPlan> plans, ShareRow[] shares, MachineReading to, IReadOnlyList<ConsoleLog> consoles, int[] members)
    {
        DomainPlan first = plans[members[0]];
        bool single = members.Length == 1;
        return new DomainRow(
            single ? first.Name : $"{first.Name} … {plans[members[^1]].Name}",
            first.Guest,
            single ? to.Domains[members[0]].Phase.Word() : States(members.Select(index => to.Domains[index].Phase)),
            members.Any(index => to.Domains[index].Phase == DomainPhase.Crashed),
            first.Weight,
            members.Sum(index => shares[index].CpuSeconds),
            members.Sum(index => shares[index].Share),
            members.Sum(index => shares[index].ExpectedShare),
            members.Any(index => shares[index].Work is not null) ? members.Sum(index => shares[index].Work ?? 0) : null,
            members.Sum(index => shares[index].Wakes),
            single ? shares[members[0]].Latency : null,
            single ? consoles[members[0]].Tail().LastOrDefault("") : "");
    }

    private static string States(IEnumerable<DomainPhase> phases) => string.Join(", ", phases
        .Select(phase => phase is DomainPhase.Blocked ? DomainPhase.Running : phase)
        .GroupBy(phase => phase).OrderBy(group => group.Key).Select(group => $"{group.Count()} {group.Key.Word()}"));
}
