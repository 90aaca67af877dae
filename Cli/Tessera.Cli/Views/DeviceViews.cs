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
        (string Device, string Way, double Bytes, double? Count, LatencySummary? Latency)[] rows =
        [
            .. result.Domains.SelectMany(domain => domain.Disks.SelectMany(disk => Rows(domain.Name, disk, result.ElapsedSeconds)).Concat(domain.Nics.SelectMany(nic => Rows(domain.Name, nic)))),
        ];
        Text[] problems =
        [
            .. result.Domains.SelectMany(domain => domain.Disks.Select(disk => (Device: $"{domain.Name} {disk.Name}", disk.Problem))
                    .Concat(domain.Nics.Select(nic => (Device: string.Create(CultureInfo.InvariantCulture, $"{domain.Name} nic {nic.Number}"), nic.Problem))))
                .Where(device => device.Problem is not null).Select(device => new Text($"  {device.Device}: {device.Problem}", new Style(Color.Red))),
        ];
        if (rows.Length == 0)
            return problems.Length == 0 ? null : new Rows(problems);
        Table table = new Table().Border(TableBorder.Simple);
        table.AddColumns(new TableColumn("device").NoWrap(), new TableColumn("").NoWrap(), Right("bytes/s"), Right("ops/s"), Right("p50"), Right("p99"));
        foreach ((string device, string way, double bytes, double? count, LatencySummary? latency) in rows.Take(MostRows))
        {
            table.AddRow(
                new Text(device),
                new Text(way),
                new Text(bytes > 0 ? Bytes(bytes) : ""),
                new Text(count is { } rate ? rate.ToString(rate < 10 ? "0.0" : "N0", CultureInfo.InvariantCulture) : ""),
                new Text(latency is null ? "" : DomainRows.Time(latency.P50)),
                new Text(DomainRows.Percentile(latency)));
        }

        IEnumerable<IRenderable> more = rows.Length <= MostRows ? [] : [new Text($"  and {rows.Length - MostRows} more", new Style(Color.Grey))];
        return new Rows([table, .. more, .. problems]);
    }

    private static IEnumerable<(string, string, double, double?, LatencySummary?)> Rows(string domain, DiskResult disk, double seconds)
    {
        string device = $"{domain} {disk.Name}";
        if (disk.Reads > 0)
            yield return (device, "reads", disk.ReadBytesPerSecond, disk.ReadsPerSecond, disk.ReadLatencyNs);
        if (disk.Writes > 0)
            yield return (device, "writes", disk.WrittenBytesPerSecond, disk.WritesPerSecond, disk.WriteLatencyNs);
        if (disk.Flushes > 0)
            yield return (device, "flushes", 0, seconds > 0 ? disk.Flushes / seconds : null, disk.FlushLatencyNs);
    }

    private static IEnumerable<(string, string, double, double?, LatencySummary?)> Rows(string domain, NicResult nic)
    {
        string device = $"{domain} nic {nic.Number.ToString(CultureInfo.InvariantCulture)}";
        if (nic.SentFrames > 0)
            yield return (device, "sends", nic.SentBytesPerSecond, nic.SentFramesPerSecond, nic.SendLatencyNs);
        if (nic.ReceivedFrames > 0)
            yield return (device, "receives", nic.ReceivedBytesPerSecond, nic.ReceivedFramesPerSecond, nic.ReceiveLatencyNs);
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
