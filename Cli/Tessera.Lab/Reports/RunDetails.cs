using System.Text.Json;

namespace Tessera.Lab.Reports;

/// <summary>Consoles, host and configuration of a run's report.</summary>
internal static class RunDetails
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The last console lines of each domain that said anything, and registers of those that crashed.</summary>
    public static void Consoles(HtmlBuilder html, RunFolder run)
    {
        JsonElement[] spoke = [.. run.Result.List("domains").Where(domain => domain.List("consoleTail").Count > 0 || domain.Entries("crashRegisters").Count > 0)];
        if (spoke.Length == 0)
            return;
        html.Markup("<section id=\"consoles\"><h2>Consoles</h2><div class=\"scroll tall\">");
        foreach (JsonElement domain in spoke)
        {
            bool crashed = domain.Text("state") == "crashed";
            html.Markup(crashed ? "<details open><summary>" : "<details><summary>").Text(domain.Text("name")).Markup("</summary>");
            if (domain.Entries("crashRegisters") is { Count: > 0 } registers)
                html.Element("pre", string.Join('\n', registers.Chunk(4).Select(row => string.Join("  ", row.Select(register => $"{register.Name,-8}{register.Value}")))), "tabindex=\"0\"");
            if (domain.List("consoleTail") is { Count: > 0 } lines)
                html.Element("pre", string.Join('\n', lines.Select(line => line.GetString())), "tabindex=\"0\"");
            html.Markup("</details>");
        }

        html.Markup("</div><p class=\"note\">The last lines; console-NAME.log has them all.</p></section>\n");
    }

    /// <summary>What was changed from outside during the run.</summary>
    public static void Changes(HtmlBuilder html, RunFolder run)
    {
        IReadOnlyList<JsonElement> changes = run.Result.List("changes");
        if (changes.Count == 0)
            return;
        html.Markup("<section id=\"changes\"><h2>Changed while it ran</h2><div class=\"scroll tall\"><table><thead><tr><th scope=\"col\">At</th><th scope=\"col\" class=\"text\">What</th><th scope=\"col\" class=\"text\">Command</th><th scope=\"col\" class=\"text\">By</th></tr></thead><tbody>");
        foreach (JsonElement change in changes)
        {
            html.Markup("<tr>").Element("th", Show.Seconds(change.Number("atSeconds") - (run.Result.Number("measuredFromSeconds") ?? 0)), "scope=\"row\"")
                .Element("td", change.Text("what"), "class=\"text wrap\"").Element("td", change.Text("command"), "class=\"text wrap\"").Element("td", change.Text("by"), "class=\"text\"").Markup("</tr>");
        }

        html.Markup("</tbody></table></div><p class=\"note\">Times are from the window's beginning. Plots over time mark them with a dotted line.</p></section>\n");
    }

    /// <summary>The host and the engine with everything it probed.</summary>
    public static void Host(HtmlBuilder html, RunFolder run)
    {
        JsonElement result = run.Result;
        html.Markup("<section id=\"host\"><h2>Host and engine</h2><dl class=\"facts\">");
        Fact(html, "CPU", $"{result.Text("host", "cpu")}, {result.Text("host", "cpus")} online");
        Fact(html, "Memory", Show.Bytes(result.Number("host", "memoryBytes")));
        Fact(html, "Kernel", result.Text("host", "kernel"));
        Fact(html, "Runtime", result.Text("host", "runtime"));
        Fact(html, "Engine", $"{result.Text("engine", "name")}: {result.Text("engine", "strategy")}");
        Fact(html, "Measured from", $"{Show.Seconds(result.Number("measuredFromSeconds"))} after the machine's start, for {Show.Seconds(result.Number("elapsedSeconds"))}");
        html.Markup("</dl>");
        if (result.List("engine", "findings") is { Count: > 0 } findings)
        {
            html.Markup("<details><summary>What the engine probed</summary><div class=\"scroll\"><table><thead><tr><th scope=\"col\">Probe</th><th scope=\"col\" class=\"text\">Finding</th><th scope=\"col\" class=\"text\">Consequence</th></tr></thead><tbody>");
            foreach (JsonElement finding in findings)
            {
                html.Markup("<tr>").Element("th", finding.Text("probe"), "scope=\"row\"")
                    .Element("td", finding.Text("finding"), "class=\"text wrap\"").Element("td", finding.Text("consequence"), "class=\"text wrap\"").Markup("</tr>");
            }

            html.Markup("</tbody></table></div></details>");
        }

        html.Markup("</section>\n");
    }

    /// <summary>The resolved configuration.</summary>
    public static void Configuration(HtmlBuilder html, RunFolder run)
    {
        if (run.Result.At("configuration") is not { } configuration)
            return;
        html.Markup("<section id=\"configuration\"><h2>Configuration</h2><p class=\"note\">Resolved: every default filled in. <code>tessera run configuration.json</code> repeats it.</p><details><summary>Show</summary>")
            .Element("pre", JsonSerializer.Serialize(configuration, Indented), "tabindex=\"0\"").Markup("</details></section>\n");
    }

    private static void Fact(HtmlBuilder html, string name, string? value) => html.Element("dt", name).Element("dd", Show.Text(value));
}
