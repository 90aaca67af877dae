using System.Globalization;
using Tessera.Lab.Comparisons;

namespace Tessera.Lab.Reports;

/// <summary>The tables of a comparison's report.</summary>
internal static class ComparisonTables
{
    /// <summary>Machine and simulator side by side.</summary>
    public static void Agreement(HtmlBuilder html, ComparisonDocument document)
    {
        if (document.Agreement.Count == 0)
            return;
        int agree = document.Agreement.Count(row => row.Agrees);
        html.Markup("<section id=\"agreement\"><h2>Machine and simulator</h2>")
            .Element("p", $"{Show.Count(agree)} of {RunPage.Many(document.Agreement.Count, "quantity")} agree: shares by less than 1 point, median latencies by less than 25 %.".Replace("quantitys", "quantities", StringComparison.Ordinal), "class=\"note\"");
        if (document.Costs is { } costs)
            html.Element("p", $"The simulator was told that a switch costs {Show.Time(costs.SwitchNs)} and a wake {Show.Time(costs.WakeNs)} ({costs.Source}).", "class=\"note\"");
        html.Markup("<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Scheduler</th><th scope=\"col\" class=\"text\">Cell</th><th scope=\"col\" class=\"text\">Item</th><th scope=\"col\" class=\"text\">Quantity</th><th scope=\"col\">Machine</th><th scope=\"col\">Simulated</th><th scope=\"col\">Difference</th><th scope=\"col\" class=\"text\">Agrees</th></tr></thead><tbody>\n");
        foreach (AgreementRow row in document.Agreement)
        {
            bool share = row.Quantity == "share";
            html.Markup("<tr>").Element("th", row.Scheduler, "scope=\"row\"").Element("td", FactorialDesign.Title(row.Cell), "class=\"text\"").Element("td", row.Group, "class=\"text\"").Element("td", row.Quantity, "class=\"text\"")
                .Element("td", share ? row.Machine.ToString("0.00", CultureInfo.InvariantCulture) + " %" : Show.Time(row.Machine))
                .Element("td", share ? row.Simulated.ToString("0.00", CultureInfo.InvariantCulture) + " %" : Show.Time(row.Simulated))
                .Element("td", row.Difference.ToString("+0.00;−0.00;0.00", CultureInfo.InvariantCulture) + (share ? " points" : " %"))
                .Element("td", row.Agrees ? "yes" : $"no: {row.Reason}", "class=\"text wrap\"").Markup("</tr>\n");
        }

        html.Markup("</tbody></table></div></section>\n");
    }

    /// <summary>Every run, in order, with a link to its own report.</summary>
    public static void Runs(HtmlBuilder html, ComparisonFolder folder)
    {
        ComparisonDocument document = folder.Document;
        bool isOfHosts = document.Hosts.Count > 1;
        html.Markup("<section id=\"runs\"><h2>Runs</h2><p class=\"note\">In the order of the design: randomised within each "
            + "repetition.</p><div class=\"scroll tall\" tabindex=\"0\" role=\"region\" aria-label=\"Runs\"><table><thead><tr><th "
            + "scope=\"col\">Run</th><th scope=\"col\">Repetition</th><th scope=\"col\" class=\"text\">Cell</th><th "
            + "scope=\"col\">Took</th><th scope=\"col\" class=\"text\">Outcome</th>"
            + (isOfHosts ? "<th scope=\"col\" class=\"text\">Host</th>" : "")
            + "<th scope=\"col\" class=\"text\">Report</th></tr></thead><tbody>\n");
        foreach (RunRow run in document.Runs)
        {
            html.Markup("<tr>").Element("th", run.Place.ToString(CultureInfo.InvariantCulture), "scope=\"row\"")
                .Element("td", run.Repetition.ToString(CultureInfo.InvariantCulture))
                .Element("td", folder.RowName(run.Engine, run.Scheduler, run.Cell), "class=\"text\"")
                .Element("td", Show.Seconds(run.WallSeconds))
                .Element("td", run.Failures.Count == 0 ? run.Outcome : $"{run.Outcome}: {string.Join(" ", run.Failures)}", "class=\"text wrap\"");
            if (isOfHosts)
                html.Element("td", run.Host is { } host ? $"{host.Name}, {host.Cpu}" : "not known", "class=\"text\"");
            html.Markup("<td class=\"text\">");
            if (folder.Files.HasFile($"{run.Folder}/{ReportWriter.PageFile}"))
                html.Markup($"<a href=\"{HtmlBuilder.Attribute(Link(run.Folder))}\">").Text(run.Folder).Markup("</a>");
            else
                html.Text(run.Folder);
            html.Markup("</td></tr>\n");
        }

        foreach (PlannedRun run in document.Missing)
        {
            html.Markup("<tr>").Element("th", run.Place.ToString(CultureInfo.InvariantCulture), "scope=\"row\"")
                .Element("td", run.Repetition.ToString(CultureInfo.InvariantCulture))
                .Element("td", folder.RowName(run.Engine, run.Scheduler, run.Cell), "class=\"text\"")
                .Element("td", "").Element("td", "missing", "class=\"text\"");
            html.Markup(isOfHosts ? "<td></td><td></td></tr>\n" : "<td></td></tr>\n");
        }

        html.Markup("</tbody></table></div></section>\n");
    }

    private static string Link(string folder) => string.Join('/', [.. folder.Split('/').Select(Uri.EscapeDataString), ReportWriter.PageFile]);
}
