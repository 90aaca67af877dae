using Tessera.Experiments.Comparisons;
using Tessera.Lab.Comparisons;

namespace Tessera.Experiments.Sweeps;

/// <summary>
/// What of a sweep is there. The folder is not trusted: which cell a run is comes from the plan, and it counts only if the plan's content
/// made it.
/// </summary>
public sealed class SweepState
{
    private const string Completed = "completed";
    private readonly RunRow?[] _rows;
    private readonly SweepPlan _plan;

    private SweepState(SweepPlan plan) => (_plan, _rows) = (plan, new RunRow?[plan.Cells.Count]);

    /// <summary>Runs that completed, in the order of their cells.</summary>
    public IReadOnlyList<RunRow> Done => [.. _rows.OfType<RunRow>().Where(row => row.Outcome == Completed)];

    /// <summary>Runs that failed, in the order of their cells.</summary>
    public IReadOnlyList<RunRow> Failed => [.. _rows.OfType<RunRow>().Where(row => row.Outcome != Completed)];

    /// <summary>Cells without a run.</summary>
    public IReadOnlyList<SweepCell> Missing => [.. _plan.Cells.Where((_, index) => _rows[index] is null)];

    /// <summary>Runs of a cell that something else made than is planned: they are left out.</summary>
    public int Changed { get; private set; }

    /// <summary>Runs that are no cell of this plan: they are left out.</summary>
    public int Strangers { get; private set; }

    /// <summary>The good run of a cell, whoever made it, as one of the plan; null when there is none.</summary>
    public RunRow? GoodRunOf(SweepCell cell) => _rows[cell.Number - 1] is { Outcome: Completed } row ? row : null;

    /// <summary>Looks.</summary>
    public static SweepState Of(SweepPlan plan, RunStore store)
    {
        SweepState state = new(plan);
        Dictionary<string, SweepCell> named = plan.Cells.ToDictionary(cell => cell.Name);
        ILookup<(string, string, int),
            SweepCell> designed = plan.Cells.ToLookup(cell => (cell.Engine, plan.Variants[cell.Variant].Scheduler, cell.Repetition));
        foreach (StoredRun stored in store.Load())
        {
            // A comparison in the same folder calls its runs otherwise.
            RunRow row = stored.Row;
            SweepCell? cell = named.GetValueOrDefault(Path.GetFileName(row.Folder))
                ?? designed[(row.Engine, row.Scheduler, row.Repetition)]
                    .FirstOrDefault(each => plan.Variants[each.Variant].Values.SequenceEqual(row.Cell));
            if (cell is null)
                state.Strangers++;
            else if (IsOf(cell, stored))
                state.Take(cell, row);
            else
                state.Changed++;
        }

        return state;
    }

    /// <summary>Whether a run was made by just what is planned for a cell.</summary>
    public static bool IsOf(SweepCell cell, StoredRun stored) => !Fingerprint.Differences(stored.Fingerprint, cell.Content).Any();

    /// <summary>A run as one of the plan: place, scheduler and values are the plan's.</summary>
    public static RunRow RowOf(SweepPlan plan, SweepCell cell, RunRow row)
    {
        PlannedRun run = plan.RunOf(cell);
        return row with { Place = run.Place, Repetition = run.Repetition, Engine = run.Engine, Scheduler = run.Scheduler, Cell = run.Cell };
    }

    /// <summary>The document of a comparison over what is there.</summary>
    /// <param name="folder">The sweep's folder.</param>
    public ComparisonDocument Document(string folder) => ComparisonDocuments.Of(
        _plan.Request(folder) with { Config = _plan.ConfigurationName },
        [.. _plan.Variants.Select(_plan.VariantOf)],
        _plan.Costs,
        [.. _rows.OfType<RunRow>()],
        interrupted: false,
        [.. Missing.Select(_plan.RunOf)]);

    private void Take(SweepCell cell, RunRow row)
    {
        ref RunRow? place = ref _rows[cell.Number - 1];
        if (place is null || (place.Outcome != Completed && row.Outcome == Completed))
            place = RowOf(_plan, cell, row);
    }
}
