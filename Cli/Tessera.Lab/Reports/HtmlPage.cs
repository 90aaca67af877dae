using System.Text;

namespace Tessera.Lab.Reports;

/// <summary>
/// The page around a report: styles, data and scripts in one file. A content security policy allows exactly those styles and scripts, by
/// their digests, and no request at all, so that even text that slipped through as markup could neither run nor call home.
/// </summary>
internal static class HtmlPage
{
    /// <summary>Puts a page together.</summary>
    /// <param name="title">The page's title.</param>
    /// <param name="body">Its static part.</param>
    /// <param name="data">What its scripts draw, JSON in which no character can end the element it stands in.</param>
    /// <exception cref="ReportException">The plotting library is missing.</exception>
    public static string Of(string title, string body, string data)
    {
        string style = $"{PlottingLibrary.Style}\n{ReportAssets.Style}";
        string script = string.Join('\n', [.. ReportAssets.Scripts.Take(1), PlottingLibrary.Script, .. ReportAssets.Scripts.Skip(1)]);
        StringBuilder page = new(body.Length + data.Length + script.Length + style.Length + 4096);
        return page
            .Append("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
            .Append("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src '").Append(Digest(script))
            .Append("'; style-src '").Append(Digest(style)).Append("'; img-src data: blob:; base-uri 'none'; form-action 'none'\">\n")
            .Append("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n")
            .Append("<title>").Append(HtmlBuilder.Attribute(title)).Append("</title>\n")
            .Append("<!-- Plots by uPlot:\n").Append(PlottingLibrary.Licence.Replace("--", "- -", StringComparison.Ordinal)).Append("\n-->\n")
            .Append("<style>").Append(style).Append("</style>\n</head>\n<body>\n")
            .Append(body)
            .Append("<script type=\"application/json\" id=\"data\">").Append(data).Append("</script>\n")
            .Append("<script>").Append(script).Append("</script>\n</body>\n</html>\n")
            .ToString();
    }

    private static string Digest(string text) => "sha256-" + Convert.ToBase64String(Sha256.Hash(Encoding.UTF8.GetBytes(text)));
}
