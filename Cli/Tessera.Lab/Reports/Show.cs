using System.Globalization;

namespace Tessera.Lab.Reports;

/// <summary>Numbers as people read them.</summary>
public static class Show
{
    private const string None = "–";

    private static readonly (double Size, string Name)[] TimeUnits = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")];

    /// <summary>A time in nanoseconds, in the unit that fits: "12.5 ms".</summary>
    public static string Time(double? nanoseconds)
    {
        if (nanoseconds is not { } value)
            return None;
        foreach ((double size, string name) in TimeUnits)
        {
            if (Math.Abs(value) >= size)
                return Significant(value / size) + " " + name;
        }

        return Significant(value) + " ns";
    }

    /// <summary>A time in seconds.</summary>
    public static string Seconds(double? seconds) => seconds is { } value ? value.ToString("0.000", CultureInfo.InvariantCulture) + " s" : None;

    /// <summary>A fraction as percents: "57.10 %".</summary>
    public static string Percent(double? fraction) => fraction is { } value ? (value * 100).ToString("0.00", CultureInfo.InvariantCulture) + " %" : None;

    /// <summary>A difference of fractions in percentage points, with its sign.</summary>
    public static string Points(double? fraction) => fraction is { } value ? (value * 100).ToString("+0.00;−0.00;0.00", CultureInfo.InvariantCulture) : None;

    /// <summary>A whole number in groups of three digits.</summary>
    public static string Count(double? count) => count is { } value ? value.ToString("#,0", CultureInfo.InvariantCulture).Replace(',', '\u202F') : None;

    /// <summary>A size in bytes.</summary>
    public static string Bytes(double? bytes) => bytes switch
    {
        null => None,
        >= 1L << 30 => Significant(bytes.Value / (1L << 30)) + " GiB",
        >= 1L << 20 => Significant(bytes.Value / (1L << 20)) + " MiB",
        >= 1L << 10 => Significant(bytes.Value / (1L << 10)) + " KiB",
        _ => Significant(bytes.Value) + " B",
    };

    /// <summary>Four significant digits.</summary>
    public static string Significant(double value) => value.ToString(
        Math.Abs(value) switch
        {
            >= 1000 => "0",
            >= 100 => "0.#",
            >= 10 => "0.##",
            >= 1 => "0.###",
            0 => "0",
            >= 0.001 => "0.#####",
            _ => "0.###e0",
        },
        CultureInfo.InvariantCulture);

    /// <summary>A text, or a dash for none.</summary>
    public static string Text(string? text) => string.IsNullOrEmpty(text) ? None : text;
}
