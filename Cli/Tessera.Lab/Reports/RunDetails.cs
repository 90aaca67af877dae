using System.Globalization;
using System.Text.Json;
using Tessera.Lab.Results;

namespace Tessera.Lab.Reports;

/// <summary>Consoles, host and configuration of a run's report.</summary>
internal static class RunDetails
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The last console lines of each domain that said anything, and registers of those that crashed.</summary>
    public static void Consoles(HtmlBuilder html, RunFolder run)
    {
        DomainResult[] spoke = [.. run.Result.Domains.Where(domain => domain.ConsoleTail.Count > 0 || domain.CrashRegisters is { Count: > 0 })];
        if (spoke.Length == 0)
            return;
        html.Markup("<section id=\"consoles\"><h2>Consoles</h2><div class=\"scroll tall\">");
        foreach (DomainResult domain in spoke)
        {
            bool crashed = domain.State == "crashed";
            html.Markup(crashed ? "<details open><summary>" : "<details><summary>").Text(domain.Name).Markup("</summary>");
            if (domain.CrashRegisters is { Count: > 0 } registers)
                html.Element("pre", string.Join('\n', registers.Chunk(4).Select(row => string.Join("  ", row.Select(register => $"{register.Key,-8}{register.Value}")))), "tabindex=\"0\"");
            if (domain.ConsoleTail.Count > 0)
                html.Element("pre", string.Join('\n', domain.ConsoleTail), "tabindex=\"0\"");
            html.Markup("</details>");
        }

        html.Markup("</div><p class=\"note\">The last lines; console-NAME.log has them all.</p></section>\n");
    }

    /// <summary>What was changed from outside during the run.</summary>
    public static void Changes(HtmlBuilder html, RunFolder run)
    {
        if (run.Result.Changes.Count == 0)
            return;
        html.Markup("<section id=\"changes\"><h2>Changed while it ran</h2><div class=\"scroll tall\"><table><thead><tr><th scope=\"col\">At</th><th scope=\"col\" class=\"text\">What</th><th scope=\"col\" class=\"text\">Command</th><th scope=\"col\" class=\"text\">By</th></tr></thead><tbody>");
        foreach (ChangeResult change in run.Result.Changes)
        {
            html.Markup("<tr>").Element("th", Show.Seconds(change.AtSeconds - run.Result.MeasuredFromSeconds), "scope=\"row\"")
                .Element("td", change.What, "class=\"text wrap\"").Element("td", change.Command, "class=\"text wrap\"").Element("td", change.By, "class=\"text\"").Markup("</tr>");
        }

        html.Markup("</tbody></table></div><p class=\"note\">Times are from the window's beginning. Plots over time mark them with a dotted line.</p></section>\n");
    }

    /// <summary>The host and the engine with everything it probed.</summary>
    public static void Host(HtmlBuilder html, RunFolder run)
    {
        ResultDocument result = run.Result;
        html.Markup("<section id=\"host\"><h2>Host and engine</h2><dl class=\"facts\">");
        Fact(html, "CPU", string.Create(CultureInfo.InvariantCulture, $"{result.Host.Cpu}, {result.Host.Cpus} online"));
        Fact(html, "Memory", Show.Bytes(result.Host.MemoryBytes));
        Fact(html, "Kernel", result.Host.Kernel);
        Fact(html, "Runtime", result.Host.Runtime);
        Fact(html, "Engine", $"{result.Engine.Name}: {result.Engine.Strategy}");
        Fact(html, "Measured from", $"{Show.Seconds(result.MeasuredFromSeconds)} after the machine's start, for {Show.Seconds(result.ElapsedSeconds)}");
        html.Markup("</dl>");
        if (result.Engine.Findings.Count > 0)
        {
            html.Markup("<details><summary>What the engine probed</summary><div class=\"scroll\"><table><thead><tr><th scope=\"col\">Probe</th><th scope=\"col\" class=\"text\">Finding</th><th scope=\"col\" class=\"text\">Consequence</th></tr></thead><tbody>");
            foreach (EngineFindingReport finding in result.Engine.Findings)
            {
                html.Markup("<tr>").Element("th", finding.Probe, "scope=\"row\"")
                    .Element("td", finding.Finding, "class=\"text wrap\"").Element("td", finding.Consequence, "class=\"text wrap\"").Markup("</tr>");
            }

            html.Markup("</tbody></table></div></details>");
        }

        html.Markup("</section>\n");
    }

    /// <summary>The resolved configuration.</summary>
    public static void Configuration(HtmlBuilder html, RunFolder run)
    {
        html.Markup("<section id=\"configuration\"><h2>Configuration</h2><p class=\"note\">Resolved: every default filled in. <code>tessera run configuration.json</code> repeats it.</p><details><summary>Show</summary>")
            .Element("pre", JsonSerializer.Serialize(run.Result.Configuration, Indented), "tabindex=\"0\"").Markup("</details></section>\n");
    }

    private static void Fact(HtmlBuilder html, string name, string? value) => html.Element("dt", name).Element("dd", Show.Text(value));
}
