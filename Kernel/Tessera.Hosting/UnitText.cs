using System.Globalization;

namespace Tessera.Hosting;

/// <summary>A number with a unit, exact: the value must be a whole multiple of the smallest unit and fit 64 bits.</summary>
internal static class UnitText
{
    public static bool TryParse(string text, ReadOnlySpan<(string Name, long Factor)> units, string example, out long value, out string problem)
    {
        value = 0;
        text = text.Trim();
        int end = 0;
        while (end < text.Length && (char.IsAsciiDigit(text[end]) || text[end] is '.' or '-' or '+'))
            end++;
        string unit = text[end..].Trim();
        if (!decimal.TryParse(text[..end], NumberStyles.AllowDecimalPoint | NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out decimal number))
        {
            problem = $"\"{text}\" is not a number with a unit; write it like \"{example}\"";
            return false;
        }

        if (unit.Length == 0)
        {
            problem = $"{text} has no unit; write it like \"{example}\"";
            return false;
        }

        foreach ((string name, long factor) in units)
        {
            if (name != unit)
                continue;
            return TryScale(text, number, factor, units[0].Name, out value, out problem);
        }

        List<string> known = [];
        foreach ((string name, _) in units)
            known.Add(name);
        problem = $"\"{unit}\" in \"{text}\" is not a unit known here; use {string.Join(", ", known)}, such as \"{example}\"";
        return false;
    }

    private static bool TryScale(string text, decimal number, long factor, string smallest, out long value, out string problem)
    {
        value = 0;

        // The division tells first, because the product could leave even a decimal's range.
        decimal scaled = decimal.Abs(number) <= -(decimal)long.MinValue / factor ? number * factor : decimal.MaxValue;
        if (scaled is > long.MaxValue or < long.MinValue)
        {
            problem = $"\"{text}\" is too large: the most is {long.MaxValue} {smallest}";
            return false;
        }

        if (decimal.Truncate(scaled) != scaled)
        {
            problem = $"\"{text}\" is finer than one {smallest}";
            return false;
        }

        value = (long)scaled;
        problem = "";
        return true;
    }
}
