namespace Tessera.Lab.Comparisons;

/// <summary>What a comparison varies.</summary>
/// <param name="Path">A path of the configuration, or <c>domains.count</c>.</param>
/// <param name="Values">Its values, as written.</param>
public sealed record Factor(string Path, IReadOnlyList<string> Values);

/// <summary>One factor's value in a cell.</summary>
/// <param name="Path">The factor.</param>
/// <param name="Value">The value.</param>
public sealed record FactorValue(string Path, string Value);

/// <summary>One run to make.</summary>
/// <param name="Place">Its place in the order, from 1.</param>
/// <param name="Repetition">Which repetition, from 1.</param>
/// <param name="Engine"><see cref="ComparisonEngines.Machine"/> or <see cref="ComparisonEngines.Simulated"/>.</param>
/// <param name="Scheduler">The scheduler's label.</param>
/// <param name="Cell">The varied values.</param>
public sealed record PlannedRun(int Place, int Repetition, string Engine, string Scheduler, IReadOnlyList<FactorValue> Cell);

/// <summary>The words for what a run was made on.</summary>
public static class ComparisonEngines
{
    /// <summary>The machine of the configuration.</summary>
    public const string Machine = "machine";

    /// <summary>Virtual time.</summary>
    public const string Simulated = "simulated";
}

/// <summary>
/// A full factorial design in randomised blocks: every repetition has each combination of engine, scheduler and varied values once (less those that a
/// scheduler cannot take), in an order of its own, so that a drift of the host (heat, neighbours) falls on all alike (Montgomery, Design and Analysis of Experiments, ch. 4).
/// </summary>
public static class FactorialDesign
{
    /// <summary>All combinations of the factors' values; one empty combination without factors.</summary>
    public static IReadOnlyList<IReadOnlyList<FactorValue>> Cells(IReadOnlyList<Factor> factors)
    {
        List<IReadOnlyList<FactorValue>> cells = [[]];
        foreach (Factor factor in factors)
            cells = [.. cells.SelectMany(cell => factor.Values.Select(IReadOnlyList<FactorValue> (value) => [.. cell, new FactorValue(factor.Path, value)]))];
        return cells;
    }

    private static readonly string[] FixedColumns = ["place", "repetition", "engine", "scheduler", "outcome", "folder", "metric", "title", "unit", "better"];

    /// <summary>The column of a factor's values in tables; its path, unless another column has that name.</summary>
    public static string ColumnOf(Factor factor) => FixedColumns.Contains(factor.Path) ? $"vary:{factor.Path}" : factor.Path;

    /// <summary>The value of a factor that a scheduler does not have: it runs once without, in a cell of its own.</summary>
    public const string NotTaken = "–";

    /// <summary>Every scheduler with every cell.</summary>
    public static IReadOnlyList<(string Scheduler, IReadOnlyList<FactorValue> Cell)> Variants(IReadOnlyList<string> schedulers, IReadOnlyList<IReadOnlyList<FactorValue>> cells) =>
        [.. from cell in cells from scheduler in schedulers select (scheduler, cell)];

    /// <summary>The runs in their order. A repetition's order depends on the seed and its number alone: more repetitions leave the earlier ones as they are.</summary>
    /// <param name="engines">What to run on.</param>
    /// <param name="variants">Labels of schedulers, each with the combinations of values it can take.</param>
    /// <param name="repeat">How many repetitions.</param>
    /// <param name="seed">Any number.</param>
    public static IReadOnlyList<PlannedRun> Runs(
        IReadOnlyList<string> engines, IReadOnlyList<(string Scheduler, IReadOnlyList<FactorValue> Cell)> variants, int repeat, long seed)
    {
        List<PlannedRun> runs = [];
        for (int repetition = 1; repetition <= repeat; repetition++)
        {
            List<(string Engine, string Scheduler, IReadOnlyList<FactorValue> Cell)> block =
            [
                .. from variant in variants from engine in engines select (engine, variant.Scheduler, variant.Cell),
            ];
            Shuffle(block, unchecked(((ulong)seed * 0x9E3779B97F4A7C15) ^ (ulong)repetition));
            foreach ((string engine, string scheduler, IReadOnlyList<FactorValue> cell) in block)
                runs.Add(new PlannedRun(runs.Count + 1, repetition, engine, scheduler, cell));
        }

        return runs;
    }

    /// <summary>"domains.count=50 duration=5 s"; empty for a comparison without factors.</summary>
    public static string Title(IReadOnlyList<FactorValue> cell) => string.Join(", ", cell.Select(value => $"{value.Path}={value.Value}"));

    /// <summary>The same with the last part of each path, unless that would be the same for two: "count=50, latencyNice=5".</summary>
    public static string ShortTitle(IReadOnlyList<FactorValue> cell) =>
        cell.Select(value => LastPart(value.Path)).Distinct().Count() < cell.Count ? Title(cell) : string.Join(", ", cell.Select(value => $"{LastPart(value.Path)}={value.Value}"));

    /// <summary>What a path's last part is called.</summary>
    public static string LastPart(string path) => path[(path.LastIndexOf('.') + 1)..];

    /// <summary>Fisher and Yates, with SplitMix64: the order is part of an experiment and must not change with the runtime's generator.</summary>
    private static void Shuffle<T>(List<T> items, ulong state)
    {
        for (int last = items.Count - 1; last > 0; last--)
        {
            state = unchecked(state + 0x9E3779B97F4A7C15);
            ulong mixed = state;
            mixed = unchecked((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9);
            mixed = unchecked((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB);
            mixed ^= mixed >> 31;
            int other = (int)Math.BigMul(mixed, (ulong)last + 1, out _);
            (items[last], items[other]) = (items[other], items[last]);
        }
    }
}
