using Tessera.Lab.Results;

namespace Tessera.Lab.Reports;

/// <summary>The table of disks and network interfaces in a run's report: a line for each direction that something went; and what is wrong with one of them.</summary>
internal static class DeviceTables
{
    /// <summary>The table; nothing when no device did anything and all are well.</summary>
    public static void Devices(HtmlBuilder html, RunFolder run)
    {
        foreach (string problem in DeviceFlow.Problems(run.Result))
            html.Element("p", problem, "class=\"alert bad\"");
        DeviceFlow[] flows = [.. DeviceFlow.Of(run.Result)];
        if (flows.Length == 0)
            return;
        html.Markup("<div class=\"scroll tall\" tabindex=\"0\" role=\"region\" aria-label=\"Statistics by device\"><table id=\"table-devices\"><caption>Disks and network interfaces, over the measured window</caption><thead><tr><th scope=\"col\">Domain</th><th scope=\"col\" class=\"text\">Device</th>")
            .Markup("<th scope=\"col\" class=\"text\">Direction</th><th scope=\"col\">Bytes</th><th scope=\"col\">Bytes a second</th><th scope=\"col\">Operations</th><th scope=\"col\">A second</th><th scope=\"col\">p50</th><th scope=\"col\">p99</th><th scope=\"col\">Max</th></tr></thead><tbody>\n");
        foreach (DeviceFlow flow in flows)
        {
            html.Markup("<tr>").Element("th", flow.Domain, "scope=\"row\"").Element("td", flow.Device, "class=\"text\"").Element("td", flow.Way, "class=\"text\"")
                .Element("td", Show.Bytes(flow.Bytes)).Element("td", Show.Bytes(flow.BytesPerSecond)).Element("td", Show.Count(flow.Count)).Element("td", Show.Count(flow.PerSecond))
                .Element("td", Show.Time(flow.Latency?.P50)).Element("td", Show.Time(flow.Latency?.TellingP99)).Element("td", Show.Time(flow.Latency?.Max)).Markup("</tr>\n");
        }

        html.Markup("</tbody></table></div>\n").Element(
            "p",
            "Latencies of disks are from taking a request off the guest's ring to its response; of interfaces, from taking a frame off the ring until the backend has it, and from a frame's arrival to its place in the guest's ring.",
            "class=\"note\"");
    }
}
