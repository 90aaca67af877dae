using System.Globalization;
using Spectre.Console;
using Spectre.Console.Rendering;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Runs;
using Tessera.Lab;
using Tessera.Lab.Metrics;
using Tessera.Lab.Results;
using Tessera.Sdk;

namespace Tessera.Cli.Views;

/// <summary>What a person sees of a run: the live table, lines for those without a terminal, the summary.</summary>
internal static class RunViews
{
    private const int BarWidth = 40;
    private const int WideColumns = 104;
    private const int LatencyColumns = 26;

    /// <summary>The live table with the bar of time; as many rows as fit the screen.</summary>
    public static IRenderable Live(IReadOnlyList<DomainPlan> plans, string title, RunProgress progress, int screenRows, int screenColumns)
    {
        List<DomainRow> rows = DomainRows.Of(plans, progress.Baseline, progress.Now, progress.Expected, progress.Consoles);
        int room = Math.Max(1, screenRows - 8);
        bool wide = screenColumns >= WideColumns;
        int tailWidth = Math.Max(10, screenColumns - 100);
        Table table = new Table().Border(TableBorder.Simple).Expand();
        table.AddColumns(new TableColumn("domain").NoWrap(), new TableColumn("state").NoWrap(), Right("weight"), Right("share"), Right("expected"), Right("cpu s"));
        if (wide)
            table.AddColumns(Right("wakes"), Right("work"), new TableColumn("console").NoWrap());
        foreach (DomainRow row in rows.Take(room))
        {
            List<IRenderable> cells =
            [
                new Text(row.Name),
                State(row),
                new Text(Number(row.Weight)),
                new Text(DomainRows.Percent(row.Share), new Style(Color.Green)),
                new Text(DomainRows.Percent(row.Expected)),
                new Text(Seconds(row.CpuSeconds)),
            ];
            if (wide)
            {
                cells.AddRange(
                [
                    new Text(Number(row.Wakes)),
                    new Text(row.Work is { } work ? Number(work) : ""),
                    new Text(row.Tail.Length > tailWidth ? row.Tail[..tailWidth] : row.Tail, new Style(Color.Grey)),
                ]);
            }

            table.AddRow(cells);
        }

        List<IRenderable> parts = [new Text(title, new Style(decoration: Decoration.Bold)), table];
        if (rows.Count > room)
            parts.Add(new Text($"  and {rows.Count - room} more", new Style(Color.Grey)));
        parts.Add(Bar(progress));
        return new Rows(parts);
    }

    /// <summary>One line about how it goes.</summary>
    public static string Line(IReadOnlyList<DomainPlan> plans, RunProgress progress)
    {
        const int shown = 6;
        List<DomainRow> rows = DomainRows.Of(plans, progress.Baseline, progress.Now, progress.Expected, progress.Consoles);
        string shares = string.Join(", ", rows.Take(shown).Select(row => $"{row.Name} {DomainRows.Percent(row.Share)}"));
        if (rows.Count > shown)
            shares += $", {rows.Count - shown} more";
        return $"{Clock(progress)}  {shares}";
    }

    /// <summary>The table at the end. A narrow terminal gets the columns that matter most, so that no number is broken.</summary>
    public static IRenderable Summary(IReadOnlyList<DomainPlan> plans, RunRecord record, ResultDocument result, int screenColumns)
    {
        List<DomainRow> rows = DomainRows.Of(plans, record.Baseline, record.Final, record.Expected, record.Consoles);
        bool latencies = rows.Any(row => row.Latency is not null);
        bool wide = screenColumns >= (latencies ? WideColumns + LatencyColumns : WideColumns);
        Table table = new Table().Border(TableBorder.Simple);
        table.AddColumn(new TableColumn("domain").NoWrap());
        if (wide)
            table.AddColumns(new TableColumn("guest").NoWrap(), new TableColumn("state").NoWrap());
        table.AddColumns(Right("weight"), Right("cpu s"), Right("share"));
        if (wide || !latencies)
            table.AddColumn(Right("expected"));
        table.AddColumn(Right("points off"));
        if (wide || !latencies)
            table.AddColumn(Right("work"));
        if (wide)
            table.AddColumn(Right("wakes"));
        if (latencies)
            table.AddColumns(Right("wake p50"), Right("wake p99"));
        foreach (DomainRow row in rows)
        {
            List<IRenderable> cells = [new Text(row.Name)];
            if (wide)
                cells.AddRange([new Text(row.Guest), State(row)]);
            cells.AddRange(
            [
                new Text(Number(row.Weight)), new Text(Seconds(row.CpuSeconds)),
                new Text(DomainRows.Percent(row.Share), new Style(Color.Green)),
            ]);
            if (wide || !latencies)
                cells.Add(new Text(DomainRows.Percent(row.Expected)));
            cells.Add(new Text(row.Error.ToString("+0.00;-0.00;0.00", CultureInfo.InvariantCulture)));
            if (wide || !latencies)
                cells.Add(new Text(row.Work is { } work ? Number(work) : ""));
            if (wide)
                cells.Add(new Text(Number(row.Wakes)));
            if (latencies)
                cells.AddRange([new Text(row.Latency is { } p50 ? DomainRows.Time(p50.P50) : ""), new Text(DomainRows.Percentile(row.Latency))]);
            table.AddRow(cells);
        }

        List<IRenderable> parts = [table];
        if (DeviceViews.Of(result) is { } devices)
            parts.Add(devices);
        parts.AddRange(result.Domains.SelectMany(domain => domain.UnknownCode.Select(code => new Text($"  {UnknownCodeText.Of(domain.Name, code)}", new Style(Color.Red)))));
        foreach (PcpuResult pcpu in result.Pcpus)
        {
            // Of its own account: the readings at both ends of the window take a moment, in which the machine goes on.
            double whole = Math.Max(pcpu.BusySeconds + pcpu.IdleSeconds, double.Epsilon);
            parts.Add(new Text($"  pCPU {pcpu.Index} (host CPU {pcpu.HostCpu}): busy {DomainRows.Percent(pcpu.BusySeconds / whole)}, idle {DomainRows.Percent(Math.Max(0, pcpu.IdleSeconds) / whole)}, {Number(pcpu.Switches)} switches"));
        }

        if (result.Withheld is { } withheld)
            parts.Add(withheld.Percent < HostLoad.BusyPercent ? new Text($"  withheld by the host: {NumberText.Of(withheld.Percent)} %") : new Text($"  {HostLoad.Sentence(withheld.Percent)}", new Style(Color.Red)));
        foreach (SchedulerDecisions own in result.SchedulerCost.BySchedulers)
        {
            string cost = own is { P50Ns: { } p50, P99Ns: { } p99 } ? $"p50 {DomainRows.Time(p50)}, p99 {DomainRows.Time(p99)}" : "cost not measured";
            parts.Add(new Text($"  {own.Name}: {Number(own.Decisions)} decisions, {cost}"));
        }

        foreach (ChangeResult change in result.Changes)
            parts.Add(new Text($"  changed at {Seconds(change.AtSeconds)} s by {change.By}: {change.What}"));
        if (result.Engine.IsSimulated)
            parts.Add(new Text($"  SIMULATED: {result.Engine.Strategy}"));
        parts.Add(new Text($"  {result.Outcome.Word()}: measured {Seconds(result.ElapsedSeconds)} s, from {Seconds(result.MeasuredFromSeconds)} s after the start"));
        return new Rows(parts);
    }

    private static TableColumn Right(string name) => new TableColumn(name).RightAligned().NoWrap();

    private static Text State(DomainRow row) => new(row.State, row.HasFailed ? new Style(Color.Red) : Style.Plain);

    private static string Number(long value) => value.ToString("N0", CultureInfo.InvariantCulture);

    private static string Seconds(double seconds) => seconds.ToString("0.00", CultureInfo.InvariantCulture);

    private static Text Bar(RunProgress progress)
    {
        if (progress.Total == Nanoseconds.Never)
            return new Text($"  {Clock(progress)}");
        double done = Math.Clamp(progress.Elapsed.Value / (double)Math.Max(1, progress.Total.Value), 0, 1);
        int filled = (int)(done * BarWidth);
        return new Text($"  {new string('━', filled)}{new string('╌', BarWidth - filled)} {Clock(progress)}", new Style(progress.IsMeasuring ? Color.Aqua : Color.Yellow));
    }

    private static string Clock(RunProgress progress)
    {
        string phase = progress.IsMeasuring ? "measuring" : "starting";
        string elapsed = progress.Elapsed.TotalSeconds.ToString("0", CultureInfo.InvariantCulture);
        return progress.Total == Nanoseconds.Never
            ? $"{phase}, {elapsed} s"
            : $"{phase}, {elapsed} of {(progress.IsMeasuring ? "" : "at most ")}{progress.Total.TotalSeconds.ToString("0", CultureInfo.InvariantCulture)} s";
    }
}
