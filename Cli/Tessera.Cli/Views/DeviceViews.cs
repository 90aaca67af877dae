using System.Globalization;
using Spectre.Console;
using Spectre.Console.Rendering;
using Tessera.Lab.Results;

namespace Tessera.Cli.Views;

/// <summary>The table of disks and network interfaces at the end of a run: a line for each direction that something went, and what is wrong with one of them.</summary>
internal static class DeviceViews
{
    private const int MostRows = 24;

    private static readonly string[] Units = ["B", "KiB", "MiB", "GiB", "TiB"];

    /// <summary>The table; null when no device did anything and all are well.</summary>
    public static IRenderable? Of(ResultDocument result)
    {
        DeviceFlow[] rows = [.. DeviceFlow.Of(result)];
        Text[] problems = [.. DeviceFlow.Problems(result).Select(problem => new Text($"  {problem}", new Style(Color.Red)))];
        if (rows.Length == 0)
            return problems.Length == 0 ? null : new Rows(problems);
        Table table = new Table().Border(TableBorder.Simple);
        table.AddColumns(new TableColumn("device").NoWrap(), new TableColumn("").NoWrap(), Right("bytes/s"), Right("ops/s"), Right("p50"), Right("p99"));
        foreach (DeviceFlow flow in rows.Take(MostRows))
        {
            table.AddRow(
                new Text($"{flow.Domain} {flow.Device}"),
                new Text(flow.Way),
                new Text(flow.BytesPerSecond is > 0 and { } bytes ? Bytes(bytes) : ""),
                new Text(flow.PerSecond is { } rate ? rate.ToString(rate < 10 ? "0.0" : "N0", CultureInfo.InvariantCulture) : ""),
                new Text(flow.Latency is { } latency ? DomainRows.Time(latency.P50) : ""),
                new Text(DomainRows.Percentile(flow.Latency)));
        }

        IEnumerable<IRenderable> more = rows.Length <= MostRows ? [] : [new Text($"  and {rows.Length - MostRows} more", new Style(Color.Grey))];
        return new Rows([table, .. more, .. problems]);
    }

    private static TableColumn Right(string name) => new TableColumn(name).RightAligned().NoWrap();

    private static string Bytes(double bytes)
    {
        int unit = 0;
        for (; bytes >= 1024 && unit < Units.Length - 1; unit++)
            bytes /= 1024;
        return bytes.ToString(bytes >= 100 ? "0" : "0.0", CultureInfo.InvariantCulture) + " " + Units[unit];
    }
}
