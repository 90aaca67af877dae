using System.Text.RegularExpressions;

namespace Tessera.Kernel.Tests.Oracle;

/// <summary>A row of the table in docs/xen-abi.md: cases that Tessera answers otherwise than Xen, and why.</summary>
/// <param name="Case">The case, or cases with `*` for any part of the name and `?` for one character.</param>
/// <param name="Xen">Xen's answer; `*` alone for any.</param>
/// <param name="Tessera">Tessera's; `*` alone for any.</param>
/// <param name="Reason">Why it stays.</param>
internal sealed record ArguedDifference(string Case, string Xen, string Tessera, string Reason)
{
    private readonly Regex _case = new($"^{Regex.Escape(Case).Replace("\\*", ".*", StringComparison.Ordinal).Replace("\\?", ".", StringComparison.Ordinal)}$", RegexOptions.CultureInvariant);

    /// <summary>Whether it speaks of this case and both answers.</summary>
    public bool Covers(string name, string xen, string tessera) =>
        _case.IsMatch(name) && (Xen == "*" || AnswerSheet.Matches(Xen, xen)) && (Tessera == "*" || AnswerSheet.Matches(Tessera, tessera));

    /// <summary>The rows of the table under the page's heading.</summary>
    /// <exception cref="FormatException">The page has no such table, or a row has not four cells.</exception>
    public static IReadOnlyList<ArguedDifference> Read(string page)
    {
        const string Heading = "## Answers that differ from Xen's";
        int at = page.IndexOf(Heading, StringComparison.Ordinal);
        if (at < 0)
            throw new FormatException($"docs/xen-abi.md has no heading \"{Heading}\".");
        int end = page.IndexOf("\n## ", at + Heading.Length, StringComparison.Ordinal);
        string[] rows = [.. (end < 0 ? page[at..] : page[at..end]).Split('\n').Where(static line => line.StartsWith('|')).Skip(2)];
        return [.. rows.Select(static row => row.Trim('|', ' ').Split('|',
            StringSplitOptions.TrimEntries)).Select(static cells => cells.Length == 4
            ? new ArguedDifference(cells[0].Trim('`'), cells[1].Trim('`'), cells[2].Trim('`'), cells[3])
            : throw new FormatException($"The row \"{string.Join(" | ", cells)}\" has {cells.Length} cells; it needs case, Xen, Tessera and why."))];
    }
}
