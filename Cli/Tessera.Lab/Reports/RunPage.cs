using System.Globalization;
using Tessera.Lab.Metrics;
using Tessera.Lab.Results;
using Tessera.Sdk;

namespace Tessera.Lab.Reports;

/// <summary>The static part of a run's report: everything that can be read without a script, and the places of the plots.</summary>
internal static class RunPage
{
    /// <summary>Share errors are summed up at windows of this length: a second is what people mean by a share.</summary>
    private static readonly Nanoseconds Telling = Nanoseconds.FromSeconds(1);

    /// <summary>The whole page.</summary>
    public static string Of(RunFolder run)
    {
        string scheduler = run.Result.Scheduler.Name;
        string what = $"{Many(run.DomainNames.Count, "domain")} on {Many(run.Result.Pcpus.Count, "pCPU")}";
        string title = run.Result.Experiment is { Length: > 0 } experiment ? $"{experiment}: {scheduler}, {what}" : $"{scheduler}: {what}";
        HtmlBuilder html = new();
        Head(html, run, title);
        html.Markup("<main>\n");
        Alerts(html, run);
        Tiles(html, run);
        RunDetails.Changes(html, run);
        if (run.Recording is not null)
            Plots(html, run);
        html.Markup("<section id=\"statistics\"><h2>Statistics</h2>\n");
        RunTables.Domains(html, run);
        RunTables.Pcpus(html, run);
        DeviceTables.Devices(html, run);
        RunTables.Errors(html, run);
        html.Markup("</section>\n");
        RunTables.Calls(html, run);
        RunDetails.Consoles(html, run);
        RunDetails.Host(html, run);
        RunDetails.Configuration(html, run);
        html.Markup("<p class=\"foot\">").Text($"Tessera {run.Result.Version}. This page is one file and asks nothing of any network. The numbers behind each plot are in series/*.csv; trace.json opens in ui.perfetto.dev.").Markup("</p>\n</main>\n");
        return HtmlPage.Of(title, html.ToString(), RunData.Of(run));
    }

    /// <summary>"1 domain", "3 domains".</summary>
    public static string Many(long count, string noun) => $"{Show.Count(count)} {noun}{(count == 1 ? "" : "s")}";

    private static void Head(HtmlBuilder html, RunFolder run, string title)
    {
        ResultDocument result = run.Result;
        html.Markup("<header class=\"top\"><div>").Element("h1", title);
        html.Element("p", $"{Show.Seconds(result.ElapsedSeconds)} measured · scheduler {result.Scheduler.Name} {result.Scheduler.Version} · {result.StartedAt.ToUniversalTime().ToString("yyyy-MM-dd HH:mm:ss 'UTC'", CultureInfo.InvariantCulture)}", "class=\"sub\"");
        html.Element("span", result.Outcome.Word(), $"class=\"badge {(result.Outcome switch { RunOutcome.Completed => "good", RunOutcome.Interrupted => "warn", _ => "bad" })}\"");
        if (result.Engine.IsSimulated)
            html.Element("span", "SIMULATED in virtual time", "class=\"badge warn\"");
        else
            html.Element("span", $"measured on {result.Engine.Name}{(result.Time == ResultDocument.VirtualTime ? ", in virtual time" : "")}", "class=\"badge\"");
        if (result.Changes.Count > 0)
            html.Element("span", "changed while it ran", "class=\"badge warn\"");
        html.Markup("</div><button type=\"button\" id=\"theme\" class=\"theme\" title=\"Switch between light and dark\">Theme</button></header>\n");
    }

    private static void Alerts(HtmlBuilder html, RunFolder run)
    {
        if (run.Result.Scheduler.Ejected is { } evidence)
            html.Element("div", $"The scheduler was ejected and the fallback took over. {evidence}", "class=\"alert bad\" role=\"alert\" id=\"ejection\"");
        foreach (string failure in run.Result.Failures)
            html.Element("div", failure, "class=\"alert bad\" role=\"alert\"");
        if (run.Result.Engine.IsSimulated)
            html.Element("div", "Simulated: guests were modelled and time was virtual. These are a model's figures, not a measurement of a machine.", "class=\"alert warn\" id=\"simulated\"");
        else if (run.Result.Time == ResultDocument.VirtualTime)
            html.Element("div", "Virtual time: guests ran, and time was the work they did, at a rate that the configuration gives. The figures can be repeated exactly; they are not this host's.", "class=\"alert warn\" id=\"virtual\"");
        if (run.Result.Withheld?.Percent is >= HostLoad.StarvedPercent and { } withheld)
            html.Element("div", HostLoad.Sentence(withheld), "class=\"alert bad\" role=\"alert\" id=\"withheld\"");
        if (run.Recording is null)
            html.Element("div", "There is no schedule.csv in this folder, so there are no plots: the run was made without recording, or ended before measuring began.", "class=\"alert warn\"");
        else if (run.Recording.CutAt is { } cut)
            html.Element("div", $"The recording was full after {Show.Seconds(cut.TotalSeconds)} of {Show.Seconds(run.Recording.Length.TotalSeconds)}: plots and figures from the recording are of that part. Counters and shares in the table of statistics are of the whole window.", "class=\"alert warn\" id=\"cut\"");
    }

    private static void Tiles(HtmlBuilder html, RunFolder run)
    {
        html.Markup("<section class=\"summary\" aria-label=\"Summary\"><dl class=\"tiles\">");
        Tile(html, "Decisions", Show.Count(run.Result.SchedulerCost.Decisions), "in the measured window");
        if (run.Result.SchedulerCost is { P99Ns: > 0 } cost)
            Tile(html, "Cost of a decision", Show.Time(cost.P99Ns), $"99 %; median {Show.Time(cost.P50Ns)}");
        if (run.Metrics is { } metrics)
        {
            Tile(html, "Jain's index", metrics.JainIndex.ToString("0.0000", CultureInfo.InvariantCulture), "of service over ideal service");
            if (metrics.ShareErrors.LastOrDefault(error => error.Window <= Telling) is { } telling)
                Tile(html, "Share error", telling.Mean.ToString("0.###", CultureInfo.InvariantCulture) + " pt", $"mean, windows of {Show.Time(telling.Window.Value)}");
            bool enough = metrics.WakeToRunNs?.Count >= LatencySummary.Enough;
            Tile(html, "Wake to running", Show.Time(enough ? metrics.WakeToRunNs?.P99 : metrics.WakeToRunNs?.Max),
                metrics.WakeToRunNs is { } wakes ? $"{(enough ? "99 %" : $"longest of {wakes.Count}")}; median {Show.Time(wakes.P50)}" : "nobody woke");
            Tile(html, "CPU lost", Show.Percent(metrics.LostShare), "idle while somebody waited");
            Tile(html, "Switches", Show.Count(run.Result.Pcpus.Sum(pcpu => (double)pcpu.Switches)), $"{Show.Count(metrics.Preemptions)} preemptions recorded");
        }

        if (run.Result.Withheld?.Percent is { } withheld)
            Tile(html, "Withheld by the host", NumberText.Of(withheld) + " %", withheld >= HostLoad.BusyPercent ? "of the pCPUs' time: latencies say little" : "of the pCPUs' time");
        html.Markup("</dl></section>\n");
    }

    private static void Tile(HtmlBuilder html, string name, string value, string note) =>
        html.Markup("<div>").Element("dt", name).Markup("<dd>").Text(value).Element("small", note).Markup("</dd></div>");

    private static void Plots(HtmlBuilder html, RunFolder run)
    {
        ShareSeries series = run.Trace!.Series;
        html.Markup("<div id=\"domains\" class=\"domains\"></div>\n");
        Plot(html, "shares", "Shares over time", "Share of all pCPU time by domain over time, with the ideal share dashed",
            $"Solid: the share of all pCPU time a domain had in each window. Dashed: what generalised processor sharing would have given it, by weight, from the recording. The finest window drawn is {series.Step}. Drag to zoom, double click for the whole.",
            "<span><i></i>had</span><span><i class=\"dash\"></i>ideal</span>");
        Plot(html, "gantt", "Who ran when", "Gantt chart: which domain each physical CPU ran over time",
            GanttCaption(run),
            "<span>By domain:</span><span><i class=\"box\"></i>runs</span><span><i class=\"box pale\"></i>waits</span><span>▲ woke</span>");
        if (run.Latencies is null && run.Replay!.Wakes.Count > 0)
            html.Markup("<section><h2>Wake latency</h2>").Element("p", $"Each of {RunPage.Many(run.Replay.Wakes.Count, "wake")} found a physical CPU at the same instant: there is no distribution to draw.", "class=\"note\"").Markup("</section>\n");
        if (run.Latencies is not null)
            Plot(html, "latency", "Wake latency", "Cumulative distribution of the time from wake to running, logarithmic axis",
                "From each wake to running, as the scheduler core saw it; a point (t, f) says that the fraction f waited no longer than t, or, as a tail, longer. Steps of the axis are 3.7 %.", "");
        if (run.Trace!.Errors.Count > 0)
            Plot(html, "errors", "Share error by window", "Distance between shares and ideal shares by window length, logarithmic axes",
                "How far shares were from the ideal, in percentage points of all pCPU time, seen through windows of each length: over windows and domains the mean; of each window's worst domain the 99th percentile and the maximum. A policy that is fair in the long run falls to the right.",
                "");
    }

    private static string GanttCaption(RunFolder run)
    {
        string text = "Drag to zoom, double click or Reset for the whole; after a click here the wheel zooms, Shift and dragging or the arrow keys move, + and − zoom. What is narrower than a pixel is drawn in proportion to each domain's time in it.";
        Nanoseconds until = RunData.DrawnUntil(run);
        return until < run.Recording!.Covered
            ? $"{text} Drawn is the first {Show.Seconds(until.TotalSeconds)} of {Show.Seconds(run.Recording.Covered.TotalSeconds)}: {RunData.MostIntervals:#,0} intervals. series/runs.csv has all."
            : text;
    }

    private static void Plot(HtmlBuilder html, string name, string title, string label, string caption, string keys)
    {
        html.Markup("<section><div class=\"head\">").Element("h2", title).Markup("<div class=\"tools\"></div></div>")
            .Markup($"<figure><div class=\"plot\" id=\"plot-{name}\" role=\"img\" aria-label=\"{label}\"></div>");
        if (keys.Length > 0)
            html.Markup($"<div class=\"keys\">{keys}</div>");
        html.Element("figcaption", caption).Markup("</figure></section>\n");
    }
}
