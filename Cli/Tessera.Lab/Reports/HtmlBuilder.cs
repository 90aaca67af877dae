using System.Text;
using System.Text.Encodings.Web;
using System.Text.Unicode;

namespace Tessera.Lab.Reports;

/// <summary>
/// Writes HTML. Whatever did not come from Tessera's source goes through <see cref="Text"/>, which leaves no character that means
/// anything to a browser: names and console lines come from guests.
/// </summary>
internal sealed class HtmlBuilder
{
    private static readonly HtmlEncoder Encoder = HtmlEncoder.Create(UnicodeRanges.All);

    private readonly StringBuilder _html = new();

    /// <summary>Markup of ours.</summary>
    public HtmlBuilder Markup(string markup)
    {
        _html.Append(markup);
        return this;
    }

    /// <summary>Text from anywhere.</summary>
    public HtmlBuilder Text(string? text)
    {
        _html.Append(Encode(text));
        return this;
    }

    /// <summary>An element of text.</summary>
    /// <param name="tag">The tag.</param>
    /// <param name="text">The text.</param>
    /// <param name="attributes">Attributes as markup of ours; empty for none.</param>
    public HtmlBuilder Element(string tag, string? text, string attributes = "") =>
        Markup($"<{tag}{(attributes.Length == 0 ? "" : " " + attributes)}>").Text(text).Markup($"</{tag}>");

    /// <summary>An attribute's value from anywhere, to be put between double quotes.</summary>
    public static string Attribute(string? text) => Encode(text);

    /// <inheritdoc/>
    public override string ToString() => _html.ToString();

    private static string Encode(string? text) => string.IsNullOrEmpty(text) ? "" : Encoder.Encode(Printable(text)).Replace("&#xA;", "\n", StringComparison.Ordinal);

    /// <summary>Without control characters and those that turn the direction of writing around, which could make a line read as another.</summary>
    private static string Printable(string text) => string.Create(text.Length, text, static (span, source) =>
    {
        for (int index = 0; index < source.Length; index++)
        {
            char letter = source[index];
            bool hidden = (char.IsControl(letter) && letter is not ('\n' or '\t')) || letter is (>= '\u202A' and <= '\u202E') or (>= '\u2066' and <= '\u2069');
            span[index] = hidden ? '\uFFFD' : letter;
        }
    });
}
