using System.Globalization;
using Tessera.Lab.Comparisons;
using Tessera.Lab.Metrics;
using Tessera.Lab.Statistics;

namespace Tessera.Lab.Reports;

/// <summary>The report of a comparison: for each metric a plot, a table and the verdicts; agreement; every run.</summary>
internal static class ComparisonPage
{
    /// <summary>A longer list of verdicts is folded away.</summary>
    private const int MostVerdicts = 12;

    /// <summary>The whole page.</summary>
    public static string Of(ComparisonFolder folder)
    {
        ComparisonDocument document = folder.Document;
        string title = $"{Path.GetFileNameWithoutExtension(document.Configuration)}: {string.Join(", ", document.Schedulers)} compared";
        HtmlBuilder html = new();
        Head(html, document, title);
        html.Markup("<main>\n");
        Alerts(html, document);
        Summary(html, document);
        string? item = null;
        for (int place = 0; place < document.Metrics.Count; place++)
        {
            MetricDefinition metric = document.Metrics[place];
            if (metric.Item is { } next && next != item)
                html.Markup("<h2 class=\"part\">").Text($"Domains {next}").Markup("</h2>\n");
            item = metric.Item;
            Metric(html, folder, metric, place);
        }

        ComparisonTables.Agreement(html, document);
        ComparisonTables.Runs(html, folder);
        html.Markup("<p class=\"foot\">").Text($"Tessera {document.Version}. This page is one file and asks nothing of any network; links lead to the runs' own reports beside it. comparison.csv has every number.").Markup("</p>\n</main>\n");
        return HtmlPage.Of(title, html.ToString(), ComparisonData.Of(folder));
    }

    private static void Head(HtmlBuilder html, ComparisonDocument document, string title)
    {
        html.Markup("<header class=\"top\"><div>").Element("h1", title);
        string varied = document.Factors.Count == 0 ? "" : " · varied: " + string.Join("; ", document.Factors.Select(factor => $"{factor.Path} = {string.Join(", ", factor.Values)}"));
        html.Element("p", $"{document.Configuration} · {RunPage.Many(document.Runs.Count, "run")}, {document.Repeat} of each · seed {document.Seed}{varied} · {document.Host} · {document.StartedAt.ToUniversalTime().ToString("yyyy-MM-dd HH:mm:ss 'UTC'", CultureInfo.InvariantCulture)}", "class=\"sub\"");
        html.Element("span", document.Outcome, $"class=\"badge {(document.Outcome == "completed" ? "good" : document.Outcome == "interrupted" ? "warn" : "bad")}\"");
        if (document.Engines.Contains(ComparisonEngines.Simulated))
            html.Element("span", document.Engines.Count == 1 ? "SIMULATED in virtual time" : "machine and SIMULATED", "class=\"badge warn\"");
        html.Markup("</div><button type=\"button\" id=\"theme\" class=\"theme\" title=\"Switch between light and dark\">Theme</button></header>\n");
    }

    private static void Alerts(HtmlBuilder html, ComparisonDocument document)
    {
        if (document.Engines.Count == 1 && document.Engines[0] == ComparisonEngines.Simulated)
            html.Element("div", "Simulated: guests were modelled and time was virtual. These are a model's figures, not a measurement of a machine.", "class=\"alert warn\" id=\"simulated\"");
        double[] withheld = [.. document.Runs.Where(run => run.Metrics.ContainsKey(MetricCatalogue.Withheld)).Select(run => run.Metrics[MetricCatalogue.Withheld])];
        if (withheld.Any(percent => percent >= HostLoad.StarvedPercent))
            html.Element("div", $"{RunPage.Many(withheld.Count(percent => percent >= HostLoad.StarvedPercent), "run")} of {withheld.Length} on the machine had {Show.Significant(HostLoad.StarvedPercent)} % or more of the pCPUs' time withheld by a busy host, {NumberText.Of(withheld.Max())} % at worst. Latencies and the cost of decisions are the host's more than the schedulers'; measure again on a quiet host.", "class=\"alert bad\" role=\"alert\" id=\"withheld\"");
        if (document.Costs?.WithheldPercent >= HostLoad.StarvedPercent)
            html.Element("div", $"The simulator's costs were measured while the host withheld {NumberText.Of(document.Costs.WithheldPercent.Value)} % of the pCPU's time: they are too high.", "class=\"alert bad\" role=\"alert\"");
        RunRow[] failed = [.. document.Runs.Where(run => run.Outcome != "completed")];
        if (failed.Length > 0)
            html.Element("div", $"{RunPage.Many(failed.Length, "run")} failed and {(failed.Length == 1 ? "is" : "are")} in no statistic; the table of runs says why.", "class=\"alert bad\" role=\"alert\"");
        if (document.Missing.Count > 0)
        {
            string missing = $"{RunPage.Many(document.Missing.Count, "run")} of this sweep {(document.Missing.Count == 1 ? "is" : "are")} "
                + "missing";
            html.Element("div", $"{missing}; the table of runs names them. The statistics are of the others.",
                "class=\"alert warn\" id=\"missing\"");
        }

        if (document.Blocking is { } blocking)
            html.Element("div", blocking, "class=\"alert warn\" role=\"alert\" id=\"hosts\"");
        if (document.Outcome == "interrupted")
            html.Element("div", "Interrupted: the statistics are of the runs made until then. The same command goes on where it stopped.", "class=\"alert warn\"");
    }

    /// <summary>The differences that were shown, first: that is what somebody comes for.</summary>
    private static void Summary(HtmlBuilder html, ComparisonDocument document)
    {
        html.Markup("<section id=\"verdicts\"><h2>Verdicts</h2>");
        (string Cell, Verdict Verdict)[] shown = [.. document.Cells.SelectMany(cell => cell.Verdicts.Where(verdict => verdict.IsShown).Select(verdict => (Label(document, cell), verdict)))];
        html.Element("p", VerdictText.Headline(document), "class=\"note\" id=\"headline\"");
        if (shown.Length > 0)
        {
            html.Markup(shown.Length <= MostVerdicts ? "<ul class=\"verdicts\">" : "<details><summary>All of them; each metric below has its own</summary><ul class=\"verdicts\">");
            foreach ((string cell, Verdict verdict) in shown)
                html.Markup("<li>").Text((cell.Length > 0 ? cell + ": " : "") + verdict.Sentence).Markup("</li>");
            html.Markup(shown.Length <= MostVerdicts ? "</ul>" : "</ul></details>");
        }

        html.Markup("</section>\n");
    }

    private static void Metric(HtmlBuilder html, ComparisonFolder folder, MetricDefinition metric, int place)
    {
        ComparisonDocument document = folder.Document;
        html.Markup("<section><div class=\"head\">").Element("h2", Capital(metric.Title)).Markup("<div class=\"tools\"></div></div>")
            .Element("p", metric.Meaning + (metric.Better == MetricCatalogue.Lower ? " Lower is better." : metric.Better == MetricCatalogue.Higher ? " Higher is better." : ""), "class=\"note\"")
            .Markup($"<figure><div class=\"plot\" id=\"plot-metric-{place.ToString(CultureInfo.InvariantCulture)}\" role=\"img\" aria-label=\"{HtmlBuilder.Attribute(metric.Title)}: each run, mean and 95 % confidence interval by scheduler and cell\"></div>")
            .Markup("<figcaption>Pale dots: runs. Large dot and bar: mean and its 95 % confidence interval.</figcaption></figure>")
            .Markup("<details><summary>Numbers</summary><div class=\"scroll\"><table><thead><tr><th scope=\"col\">Cell</th><th scope=\"col\">Runs</th><th scope=\"col\">Mean</th><th scope=\"col\">95 % interval</th><th scope=\"col\">Median</th><th scope=\"col\">95 % interval</th></tr></thead><tbody>\n");
        foreach (CellResult cell in document.Cells)
        {
            string? best = Best(metric, cell);
            foreach (SchedulerResult scheduler in cell.Schedulers)
            {
                if (!scheduler.Metrics.TryGetValue(metric.Key, out Summary? summary))
                    continue;
                html.Markup(scheduler.Scheduler == best ? "<tr class=\"best\">" : "<tr>").Element("th", folder.RowName(cell.Engine, scheduler.Scheduler, cell.Cell), "scope=\"row\"")
                    .Element("td", Show.Count(scheduler.Runs) + (scheduler.Copies > 0 ? $", {Show.Count(scheduler.Copies)} of them copies" : ""))
                    .Element("td", VerdictText.Value(metric, summary.Mean)).Element("td", Range(metric, summary.MeanInterval))
                    .Element("td", VerdictText.Value(metric, summary.Median)).Element("td", Range(metric, summary.MedianInterval)).Markup("</tr>\n");
            }
        }

        html.Markup("</tbody></table></div></details>");
        (string Cell, Verdict Verdict)[] verdicts = [.. document.Cells.SelectMany(cell => cell.Verdicts.Where(verdict => verdict.Metric == metric.Key).Select(verdict => (Label(document, cell), verdict)))];
        if (verdicts.Length > 0)
        {
            html.Markup(verdicts.Length <= 6 ? "<ul class=\"verdicts\">" : $"<details><summary>{verdicts.Length.ToString(CultureInfo.InvariantCulture)} verdicts</summary><ul class=\"verdicts\">");
            foreach ((string cell, Verdict verdict) in verdicts)
                html.Element("li", (cell.Length > 0 ? cell + ": " : "") + verdict.Sentence);
            html.Markup(verdicts.Length <= 6 ? "</ul>" : "</ul></details>");
        }

        html.Markup("</section>\n");
    }

    /// <summary>The scheduler with the better mean of a cell; null where there is no better or only one.</summary>
    private static string? Best(MetricDefinition metric, CellResult cell)
    {
        SchedulerResult[] with = [.. cell.Schedulers.Where(scheduler => scheduler.Metrics.ContainsKey(metric.Key))];
        return with.Length < 2 || metric.Better == MetricCatalogue.Neither ? null
            : (metric.Better == MetricCatalogue.Lower ? with.MinBy(scheduler => scheduler.Metrics[metric.Key].Mean) : with.MaxBy(scheduler => scheduler.Metrics[metric.Key].Mean))!.Scheduler;
    }

    private static string Label(ComparisonDocument document, CellResult cell) =>
        string.Join(", ", new[] { FactorialDesign.Title(cell.Cell), document.Engines.Count > 1 ? cell.Engine : "" }.Where(part => part.Length > 0));

    private static string Range(MetricDefinition metric, Interval interval) => $"{VerdictText.Value(metric, interval.Low)} to {VerdictText.Value(metric, interval.High)}";

    private static string Capital(string text) => text.Length == 0 ? text : char.ToUpperInvariant(text[0]) + text[1..];
}
