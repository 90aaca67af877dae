using System.Text.Json;

namespace Tessera.Lab.Reports;

/// <summary>The table of disks and network interfaces in a run's report: a line for each direction that something went; and what is wrong with one of them.</summary>
internal static class DeviceTables
{
    /// <summary>What a direction is called, and the keys of its figures in a result; rates without a key are counted over the window.</summary>
    private static readonly Direction[] OfDisks =
    [
        new("reads", "reads", "readBytes", "readBytesPerSecond", "readLatencyNs"),
        new("writes", "writes", "writtenBytes", "writtenBytesPerSecond", "writeLatencyNs"),
        new("flushes", "flushes", null, null, "flushLatencyNs"),
    ];

    private static readonly Direction[] OfNics =
    [
        new("sends", "sentFrames", "sentBytes", "sentBytesPerSecond", "sendLatencyNs"),
        new("receives", "receivedFrames", "receivedBytes", "receivedBytesPerSecond", "receiveLatencyNs"),
    ];

    /// <summary>The table; nothing when no device did anything and all are well.</summary>
    public static void Devices(HtmlBuilder html, RunFolder run)
    {
        foreach (JsonElement domain in run.Result.List("domains"))
        {
            Problems(html, domain, "disks", "name", "");
            Problems(html, domain, "nics", "number", "nic ");
        }

        (string Domain, string Device, JsonElement Figures, Direction Way)[] rows =
        [
            .. run.Result.List("domains").SelectMany(domain => Rows(domain, "disks", "name", "", OfDisks).Concat(Rows(domain, "nics", "number", "nic ", OfNics))),
        ];
        if (rows.Length == 0)
            return;
        double seconds = run.Result.Number("elapsedSeconds") ?? 0;
        html.Markup("<div class=\"scroll tall\" tabindex=\"0\" role=\"region\" aria-label=\"Statistics by device\"><table id=\"table-devices\"><caption>Disks and network interfaces, over the measured window</caption><thead><tr><th scope=\"col\">Domain</th><th scope=\"col\" class=\"text\">Device</th>")
            .Markup("<th scope=\"col\" class=\"text\">Direction</th><th scope=\"col\">Bytes</th><th scope=\"col\">Bytes a second</th><th scope=\"col\">Operations</th><th scope=\"col\">A second</th><th scope=\"col\">p50</th><th scope=\"col\">p99</th><th scope=\"col\">Max</th></tr></thead><tbody>\n");
        foreach ((string domain, string device, JsonElement figures, Direction way) in rows)
        {
            double? count = figures.Number(way.Count);
            html.Markup("<tr>").Element("th", domain, "scope=\"row\"").Element("td", device, "class=\"text\"").Element("td", way.Name, "class=\"text\"");
            foreach (string text in (string[])
                [
                    Show.Bytes(way.Bytes is null ? null : figures.Number(way.Bytes)),
                    Show.Bytes(way.BytesPerSecond is null ? null : figures.Number(way.BytesPerSecond)),
                    Show.Count(count),
                    Show.Count(seconds > 0 ? count / seconds : null),
                    Show.Time(figures.Number(way.Latency, "p50")),
                    Show.Time(figures.Number(way.Latency, "count") >= RunTables.Enough ? figures.Number(way.Latency, "p99") : null),
                    Show.Time(figures.Number(way.Latency, "max")),
                ])
            {
                html.Element("td", text);
            }

            html.Markup("</tr>\n");
        }

        html.Markup("</tbody></table></div>\n").Element(
            "p",
            "Latencies of disks are from taking a request off the guest's ring to its response; of interfaces, from taking a frame off the ring until the backend has it, and from a frame's arrival to its place in the guest's ring.",
            "class=\"note\"");
    }

    private static void Problems(HtmlBuilder html, JsonElement domain, string list, string name, string prefix)
    {
        foreach (JsonElement device in domain.List(list))
        {
            if (device.Text("problem") is { } problem)
                html.Element("p", $"{domain.Text("name")} {prefix}{device.Text(name)}: {problem}", "class=\"alert bad\"");
        }
    }

    private static IEnumerable<(string, string, JsonElement, Direction)> Rows(JsonElement domain, string list, string name, string prefix, Direction[] ways) =>
        domain.List(list).SelectMany(device => ways.Where(way => device.Number(way.Count) > 0).Select(way => (domain.Text("name") ?? "", prefix + device.Text(name), device, way)));

    private sealed record Direction(string Name, string Count, string? Bytes, string? BytesPerSecond, string Latency);
}
