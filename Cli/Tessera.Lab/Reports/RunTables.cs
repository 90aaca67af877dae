using System.Globalization;
using Tessera.Lab.Metrics;
using Tessera.Lab.Results;

namespace Tessera.Lab.Reports;

/// <summary>The tables of a run's report.</summary>
internal static class RunTables
{
    private static readonly Column[] OfCpu =
    [
        new("Guest", "text", (domain, _) => domain.Guest),
        new("State", "text", (domain, _) => domain.State),
        new("Why it ended", "text wrap", (domain, _) => domain.ExitReason),
        new("Weight", "", (domain, _) => Some(domain.Weight, Show.Count)),
        new("CPU time", "", (domain, _) => Some(domain.CpuSeconds, Show.Seconds)),
        new("Share", "", (domain, _) => Some(domain.Share, Show.Percent)),
        new("Expected", "", (domain, _) => Some(domain.ExpectedShare, Show.Percent)),
        new("Error, points", "", (domain, _) => Some(domain.Share - domain.ExpectedShare, Show.Points)),
        new("Work", "", (domain, _) => Some(domain.Work, Show.Count)),
        new("Stint p50", "", (_, own) => Some(own?.StintNs?.P50, Show.Time)),
        new("Preempted", "", (_, own) => Some(own?.Preemptions, Show.Count)),
    ];

    private static readonly Column[] OfWaking =
    [
        new("Wakes", "", (domain, _) => Some(domain.Wakes, Show.Count)),
        new("Wake p50", "", (domain, _) => Some(domain.WakeLatencyNs?.P50, Show.Time)),
        new("Wake p99", "", (domain, _) => Some(domain.WakeLatencyNs?.TellingP99, Show.Time)),
        new("Wake max", "", (domain, _) => Some(domain.WakeLatencyNs?.Max, Show.Time)),
        new("Response p50", "", (domain, _) => Some(domain.ResponseTimeNs?.P50, Show.Time)),
        new("Response p99", "", (domain, _) => Some(domain.ResponseTimeNs?.P99, Show.Time)),
        new("Missed", "", (domain, _) => Some(domain.MissedDeadlines, Show.Count)),
        new("Memory", "", (domain, _) => Some(domain.Memory.AssignedBytes, Show.Bytes)),
        new("Boot", "", (domain, _) => Some(domain.BootMilliseconds * 1e6, Show.Time)),
    ];

    /// <summary>One row a domain, in two tables that each fit a screen. A column in which no domain has a value is left out.</summary>
    public static void Domains(HtmlBuilder html, RunFolder run)
    {
        Domains(html, run, "table-domains", "Domains, over the measured window", OfCpu);
        Domains(html, run, "table-waking", "Waking, answering and memory", OfWaking);
        html.Element("p", "Wake latencies here are the result's: beat and burst measure their own; for other guests it is what the scheduler core saw. p99 is left out where there were fewer than 100 wakes. A stint is a stay on a pCPU.", "class=\"note\"");
    }

    private static void Domains(HtmlBuilder html, RunFolder run, string id, string caption, Column[] all)
    {
        IReadOnlyList<DomainResult> domains = run.Result.Domains;
        DomainMetrics?[] metrics = [.. domains.Select((_, index) => index < run.Metrics?.Domains.Count ? run.Metrics.Domains[index] : null)];
        Column[] columns = [.. all.Where(column => domains.Select((domain, index) => column.Value(domain, metrics[index])).Any(text => text is not null))];
        if (columns.Length == 0)
            return;
        html.Markup($"<div class=\"scroll tall\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\"><table id=\"{id}\"><caption>{caption}</caption><thead><tr><th scope=\"col\">Domain</th>");
        foreach (Column column in columns)
            html.Element("th", column.Title, $"scope=\"col\" class=\"{column.Kind}\"");
        html.Markup("</tr></thead><tbody>\n");
        for (int index = 0; index < domains.Count; index++)
        {
            html.Markup("<tr>").Element("th", domains[index].Name, "scope=\"row\"");
            foreach (Column column in columns)
                Cell(html, column.Value(domains[index], metrics[index]), $"class=\"{column.Kind}\"");
            html.Markup("</tr>\n");
        }

        html.Markup("</tbody></table></div>\n");
    }

    private static string? Some(double? value, Func<double?, string> show) => value is null ? null : show(value);

    /// <summary>One row a physical CPU.</summary>
    public static void Pcpus(HtmlBuilder html, RunFolder run)
    {
        html.Markup("<div class=\"scroll tall\" tabindex=\"0\" role=\"region\" aria-label=\"Statistics by physical CPU\"><table id=\"table-pcpus\"><caption>Physical CPUs</caption><thead><tr><th scope=\"col\">pCPU</th><th scope=\"col\">Host CPU</th>")
            .Markup("<th scope=\"col\">Given to vCPUs</th><th scope=\"col\">Idle</th><th scope=\"col\">Busy</th><th scope=\"col\">Switches</th></tr></thead><tbody>\n");
        foreach (PcpuResult pcpu in run.Result.Pcpus)
        {
            html.Markup("<tr>").Element("th", pcpu.Index.ToString(CultureInfo.InvariantCulture), "scope=\"row\"");
            Cell(html, pcpu.HostCpu.ToString(CultureInfo.InvariantCulture));
            Cell(html, Show.Seconds(pcpu.BusySeconds));
            Cell(html, Show.Seconds(pcpu.IdleSeconds));
            double whole = pcpu.BusySeconds + pcpu.IdleSeconds;
            Cell(html, Show.Percent(whole > 0 ? pcpu.BusySeconds / whole : null));
            Cell(html, Show.Count(pcpu.Switches));
            html.Markup("</tr>\n");
        }

        html.Markup("</tbody></table></div>\n");
    }

    /// <summary>One row a window length: the numbers behind the plot of errors.</summary>
    public static void Errors(HtmlBuilder html, RunFolder run)
    {
        if (run.Trace is not { Errors.Count: > 0 } trace)
            return;
        html.Markup("<div class=\"scroll\"><table id=\"table-errors\"><caption>Distance from ideal shares, in percentage points of all pCPU time</caption><thead><tr><th scope=\"col\">Window</th><th scope=\"col\">Windows</th>")
            .Markup("<th scope=\"col\">Mean</th><th scope=\"col\">p99<small>of worst domains</small></th><th scope=\"col\">Max</th></tr></thead><tbody>\n");
        foreach (WindowError error in trace.Errors)
        {
            html.Markup("<tr>").Element("th", Show.Time(error.Window.Value), "scope=\"row\"");
            Cell(html, Show.Count(error.Windows));
            foreach (double points in (double[])[error.Mean, error.P99, error.Max])
                Cell(html, points.ToString("0.000", CultureInfo.InvariantCulture));
            html.Markup("</tr>\n");
        }

        html.Markup("</tbody></table></div>\n");
    }

    /// <summary>Traps and hypercalls by domain and name.</summary>
    public static void Calls(HtmlBuilder html, RunFolder run)
    {
        (string Domain, string Kind, string Name, long Count)[] rows =
        [
            .. run.Result.Domains.SelectMany(domain => domain.Traps.Select(trap => (domain.Name, "trap", trap.Key, trap.Value))
                .Concat(domain.Hypercalls.Select(call => (domain.Name, "hypercall", call.Key, call.Value)))),
        ];
        if (rows.Length == 0)
            return;
        html.Markup("<section><h2>Traps and hypercalls</h2><details><summary>").Text($"{Show.Count(rows.Where(row => row.Kind == "trap").Sum(row => (double)row.Count))} traps, {Show.Count(rows.Where(row => row.Kind == "hypercall").Sum(row => (double)row.Count))} hypercalls")
            .Markup("</summary><div class=\"scroll tall\"><table id=\"table-calls\"><thead><tr><th scope=\"col\">Domain</th><th scope=\"col\" class=\"text\">Kind</th><th scope=\"col\" class=\"text\">Name</th><th scope=\"col\">Count</th></tr></thead><tbody>\n");
        foreach ((string domain, string kind, string name, long count) in rows)
        {
            html.Markup("<tr>").Element("th", domain, "scope=\"row\"");
            Cell(html, kind, "class=\"text\"");
            Cell(html, name, "class=\"text\"");
            Cell(html, Show.Count(count));
            html.Markup("</tr>\n");
        }

        html.Markup("</tbody></table></div></details></section>\n");
    }

    private static void Cell(HtmlBuilder html, string? text, string attributes = "") => html.Element("td", Show.Text(text), attributes);

    /// <summary>A column: its title, its CSS class, and a domain's text in it, null for none.</summary>
    private sealed record Column(string Title, string Kind, Func<DomainResult, DomainMetrics?, string?> Value);
}
