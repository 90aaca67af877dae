using System.Globalization;

namespace Tessera.Lab;

/// <summary>Numbers in words.</summary>
public static class NumberText
{
    /// <summary>A number with as many digits as tell something.</summary>
    public static string Of(double value) => Math.Abs(value) switch
    {
        0 => "0",
        >= 1000 => value.ToString("N0", CultureInfo.InvariantCulture),
        >= 100 => value.ToString("0", CultureInfo.InvariantCulture),
        >= 10 => value.ToString("0.0", CultureInfo.InvariantCulture),
        >= 0.1 => value.ToString("0.00", CultureInfo.InvariantCulture),
        _ => value.ToString("0.####", CultureInfo.InvariantCulture),
    };

    /// <summary>A time in the unit that leaves it short: "43.1 µs".</summary>
    public static string Time(double nanoseconds) => Math.Abs(nanoseconds) switch
    {
        < 1e3 => $"{Of(nanoseconds)} ns",
        < 1e6 => $"{Of(nanoseconds / 1e3)} µs",
        < 1e9 => $"{Of(nanoseconds / 1e6)} ms",
        _ => $"{Of(nanoseconds / 1e9)} s",
    };
}
