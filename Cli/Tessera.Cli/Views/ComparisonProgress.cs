using System.Globalization;
using Tessera.Cli.Terminal;
using Tessera.Lab.Comparisons;
using Tessera.Sdk;

namespace Tessera.Cli.Views;

/// <summary>How far a comparison is and how long it takes yet: a line that renews itself on a terminal, now and then a line elsewhere.</summary>
/// <param name="host">Where to say it.</param>
/// <param name="time">The time.</param>
/// <param name="quiet">Whether only failures are said.</param>
/// <param name="toMake">The runs to make, in their order.</param>
/// <param name="made">Those that are there.</param>
/// <param name="total">How many there are to be.</param>
/// <param name="planned">How long a run's window is.</param>
/// <param name="jobs">How many are made at once.</param>
internal sealed class ComparisonProgress(
    CliHost host,
    TimeProvider time,
    bool quiet,
    IReadOnlyList<PlannedRun> toMake,
    IReadOnlyList<RunRow> made,
    int total,
    Nanoseconds planned,
    int jobs = 1)
{
    private static readonly TimeSpan BetweenLines = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan BetweenUpdates = TimeSpan.FromMilliseconds(250);

    private readonly List<RunRow> _timed = [.. made];
    private readonly bool _live = host.ErrorConsole.Profile.Capabilities.Interactive;
    private long _said = time.GetTimestamp();
    private int _done;

    /// <summary>A run is under way.</summary>
    /// <param name="run">Which.</param>
    /// <param name="part">How much of it is over, 0 to 1.</param>
    public void At(PlannedRun run, double part)
    {
        if (quiet || !_live || (part > 0 && time.GetElapsedTime(_said) < BetweenUpdates))
            return;
        _said = time.GetTimestamp();
        host.Error.Write($"\r\u001b[Ktessera: {Line(run, part)}");
    }

    /// <summary>A run is over.</summary>
    public void Finished(PlannedRun run, RunRow row)
    {
        _done++;
        _timed.Add(row);
        if (row.Outcome != "completed")
            Say($"tessera: run {run.Place} failed ({Title(run)}): {string.Join(" ", row.Failures)}");
        if (quiet || _live || (_done < toMake.Count && time.GetElapsedTime(_said) < BetweenLines))
            return;
        _said = time.GetTimestamp();
        host.Error.WriteLine($"tessera: {Line(run, 1)}");
    }

    /// <summary>Leaves the terminal's line free.</summary>
    public void End()
    {
        if (!quiet && _live)
            host.Error.Write("\r\u001b[K");
    }

    /// <summary>A time left, as people say it.</summary>
    internal static string Left(TimeSpan left) => left switch
    {
        { TotalSeconds: < 60 } => $"{Math.Ceiling(left.TotalSeconds).ToString("0", CultureInfo.InvariantCulture)} s",
        { TotalMinutes: < 60 } => $"{(int)left.TotalMinutes} min {left.Seconds} s",
        _ => $"{(int)left.TotalHours} h {left.Minutes} min",
    };

    private void Say(string line)
    {
        End();
        host.Error.WriteLine(line);
    }

    private string Line(PlannedRun run, double part)
    {
        int finished = total - toMake.Count + _done;
        bool isOver = part >= 1;
        TimeSpan left = TimeSpan.Zero;
        for (int index = _done; index < toMake.Count; index++)
            left += Expected(toMake[index].Engine) * (index == _done && !isOver ? 1 - part : 1);
        return $"{finished} of {total} runs, {(finished == total ? "done" : $"{Left(left / jobs)} left")}; {(isOver ? "last" : "now")} "
            + $"{Title(run)}, repetition {run.Repetition}";
    }

    /// <summary>Runs of one kind take about as long as those before; the first takes its window and a second.</summary>
    private TimeSpan Expected(string engine)
    {
        RunRow[] alike = [.. _timed.Where(row => row.Engine == engine)];
        return TimeSpan.FromSeconds(alike.Length > 0 ? alike.Average(row => row.WallSeconds) : planned == Nanoseconds.Never ? 0 : planned.TotalSeconds + 1);
    }

    private static string Title(PlannedRun run) =>
        $"{run.Scheduler}{(run.Engine == ComparisonEngines.Simulated ? " simulated" : "")}{(run.Cell.Count == 0 ? "" : $", {FactorialDesign.Title(run.Cell)}")}";
}
