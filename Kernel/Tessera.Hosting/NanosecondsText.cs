using System.Globalization;
using Tessera.Sdk;

namespace Tessera.Hosting;

/// <summary>Times as configurations write them: "5 ms", "250us", "100 µs", "1.5 s", "2 min", "never", or a plain 0.</summary>
public static class NanosecondsText
{
    internal const string Units = "ns, us, ms, s, min";

    /// <summary>Reads a time; exact, negative ones included.</summary>
    /// <returns>False when it is none, has no unit or does not fit.</returns>
    public static bool TryParse(string? text, out Nanoseconds value) => TryParse(text, out value, out _);

    /// <summary>Reads a time and says what is wrong with it.</summary>
    /// <param name="text">The text.</param>
    /// <param name="value">The time.</param>
    /// <param name="problem">What is wrong and what would be right; empty when nothing is.</param>
    public static bool TryParse(string? text, out Nanoseconds value, out string problem)
    {
        problem = "";
        if (text?.Trim() is "0" or "never")
        {
            value = text.Trim() == "0" ? Nanoseconds.Zero : Nanoseconds.Never;
            return true;
        }

        // Both spellings of the prefix: U+00B5 MICRO SIGN and U+03BC GREEK SMALL LETTER MU.
        ReadOnlySpan<(string, long)> units =
        [
            ("ns", 1), ("us", 1_000), ("\u00B5s", 1_000), ("\u03BCs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000), ("min", 60_000_000_000),
        ];
        bool good = UnitText.TryParse(text ?? "", units, "5 ms", out long count, out problem);
        value = new Nanoseconds(count);
        return good;
    }

    /// <summary>Writes a time exactly, in the largest unit with at most three decimals: "1.5 s", "250 us"; <see cref="TryParse(string?, out Nanoseconds)"/> reads the same value.</summary>
    public static string Format(Nanoseconds value)
    {
        if (value == Nanoseconds.Never)
            return "never";
        decimal count = value.Value;
        ReadOnlySpan<(string Name, decimal Factor)> units = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)];
        foreach ((string name, decimal factor) in units)
        {
            decimal scaled = count / factor;
            if (decimal.Abs(scaled) >= 1 && decimal.Round(scaled, 3) == scaled)
                return scaled.ToString("0.###", CultureInfo.InvariantCulture) + " " + name;
        }

        return $"{value.Value} ns";
    }
}
