using System.Globalization;
using System.Text;
using Tessera.Cli.Control;
using Tessera.Cli.Terminal;
using Tessera.Cli.Views;
using Tessera.Experiments;
using Tessera.Experiments.Comparisons;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Sweeps;
using Tessera.Lab.Comparisons;
using Tessera.Lab.Folders;
using Tessera.Sdk;

namespace Tessera.Cli.Verbs;

/// <summary>
/// What `sweep run` does: makes the cells that are missing, simulated ones first, since a machine's run shares its host CPUs with nobody.
/// </summary>
internal sealed class SweepRunCommand(CliHost host, CellMaker maker, TimeProvider time)
{
    private static readonly TimeSpan BetweenLooks = TimeSpan.FromMilliseconds(500);

    /// <summary>Makes cells.</summary>
    /// <param name="folder">The sweep's folder.</param>
    /// <param name="cells">Which, as `--cells` has it; null for all.</param>
    /// <param name="jobs">How many at once.</param>
    /// <param name="quiet">Whether only failures are said.</param>
    /// <returns>The exit code.</returns>
    public int Run(string folder, string? cells, int jobs, bool quiet)
    {
        (SweepPlan plan, RunStore store) = Open(folder);
        store.DropUnfinished();
        SweepCell[] asked = cells is null ? [.. plan.Cells]
            : [.. CellNumbers.Parse(cells, plan.Cells.Count).Select(number => plan.Cells[number - 1])];
        List<RunRow> rows = [];
        List<SweepCell> missing = [];
        SweepState there = SweepState.Of(plan, store);
        foreach (SweepCell cell in asked)
        {
            if (there.GoodRunOf(cell) is { } row)
                rows.Add(row);
            else
                missing.Add(cell);
        }

        if (rows.Count > 0 && !quiet)
            host.Error.WriteLine($"tessera: {rows.Count} of {asked.Length} cells are in {folder} already.");
        missing = [.. missing.OrderBy(cell => cell.Engine == ComparisonEngines.Machine)];
        Nanoseconds window = plan.Seconds.Window is { } seconds ? new Nanoseconds((long)(seconds * 1e9)) : Nanoseconds.Never;
        ComparisonProgress progress = new(host, time, quiet, [.. missing.Select(plan.RunOf)], [.. rows], asked.Length, window, jobs);
        int code = jobs > 1 && missing.Count > 1 ? MakeByWorkers() : MakeHere();
        progress.End();
        RunRow[] failed = [.. rows.Where(row => row.Outcome != "completed")];
        int absent = asked.Length - rows.Count;
        if (failed.Length > 0)
            host.Error.WriteLine($"tessera: {failed.Length} of {asked.Length} cells failed; the same command repeats them.");
        if (absent > 0)
            host.Error.WriteLine($"tessera: {absent} of {asked.Length} cells were not made; the same command makes them.");
        else if (!quiet && failed.Length == 0)
            host.Error.WriteLine($"tessera: the cells asked for are in {folder}. When all are (tessera sweep status {folder}): tessera "
                + $"sweep merge {folder}");
        return code != ExitCode.Good ? code : failed.Length + absent > 0 ? ExitCode.Failed : ExitCode.Good;

        int MakeHere()
        {
            HostCpuLocks locks = Locks();
            try
            {
                foreach (SweepCell cell in missing)
                {
                    if (host.Stop.IsRequested)
                        return ExitCode.Failed;
                    PlannedRun run = plan.RunOf(cell);
                    progress.At(run, 0);
                    if (maker.Make(plan, cell, folder, store, locks, part => progress.At(run, part)) is not { } row)
                        return ExitCode.Failed;
                    rows.Add(row);
                    progress.Finished(run, row);
                }
            }
            catch
            {
                progress.End();
                throw;
            }

            return ExitCode.Good;
        }

        int MakeByWorkers()
        {
            SweepWorkers workers = new(host, folder, jobs, cell => store.Find(cell.Name)?.Row, (cell, row) =>
            {
                rows.Add(SweepState.RowOf(plan, cell, row));
                progress.Finished(plan.RunOf(cell), rows[^1]);
            });
            int made = ExitCode.Good;
            foreach (IGrouping<string, SweepCell> engine in missing.GroupBy(cell => cell.Engine))
            {
                if (made == ExitCode.Good)
                    made = workers.Make([.. engine]);
            }

            return made;
        }
    }

    /// <summary>A worker's life: a number of a cell comes in on a line, the cell is made, and the number goes out.</summary>
    /// <param name="folder">The sweep's folder.</param>
    /// <returns>The exit code.</returns>
    public int Work(string folder)
    {
        (SweepPlan plan, RunStore store) = Open(folder);
        HostCpuLocks locks = Locks();
        foreach (string line in Lines())
        {
            if (!int.TryParse(line, NumberStyles.None, CultureInfo.InvariantCulture, out int number) || number < 1
                || number > plan.Cells.Count)
                throw new UsageException($"{folder}: a worker was asked for cell \"{line}\", and there are 1 to {plan.Cells.Count}. The "
                    + "plan was replaced meanwhile: start again.");
            if (maker.Make(plan, plan.Cells[number - 1], folder, store, locks, static _ => { }) is null)
                return ExitCode.Failed;

            // On a line of its own, whatever a plugin wrote there.
            host.Out.WriteLine($"\n{line}");
        }

        return ExitCode.Good;
    }

    private (SweepPlan Plan, RunStore Store) Open(string folder)
    {
        UntrustedFolder files = new(folder);
        SweepPlan plan = SweepPlanFile.Read(files);
        host.CheckFolder(folder);
        return (plan, new RunStore(files));
    }

    private HostCpuLocks Locks() => new(Path.Combine(new ControlSockets(host.Environment).MakeFolder(), "cpus"));

    /// <summary>Standard input's lines until its end, which is the end of who starts workers, or until the user wants to stop.</summary>
    private IEnumerable<string> Lines()
    {
        byte[] buffer = new byte[256];
        StringBuilder line = new();
        while (!host.Stop.IsRequested)
        {
            int count = host.Input.Read(buffer, BetweenLooks);
            if (count == 0)
                yield break;
            for (int index = 0; index < count; index++)
            {
                if (buffer[index] != '\n')
                {
                    line.Append((char)buffer[index]);
                    continue;
                }

                yield return line.ToString();
                line.Clear();
            }
        }
    }
}
