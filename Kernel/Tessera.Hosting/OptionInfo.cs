namespace Tessera.Hosting;

/// <summary>The types an option can have, as JSON writes them.</summary>
public enum OptionType
{
    /// <summary>true or false.</summary>
    Boolean,

    /// <summary>A whole number.</summary>
    Integer,

    /// <summary>A number.</summary>
    Number,

    /// <summary>A string.</summary>
    Text,

    /// <summary>A string, one of <see cref="OptionInfo.Choices"/>.</summary>
    Choice,

    /// <summary>A string with a time and its unit, "5 ms".</summary>
    Duration,

    /// <summary>A string with a size and its unit, "256 MiB".</summary>
    Size,
}

/// <summary>One option of a plugin, for listings and JSON schemas. Plain data.</summary>
/// <param name="Name">The key in JSON.</param>
/// <param name="Type">What JSON value it takes.</param>
/// <param name="Unit">The units it may be written in; empty for a plain value.</param>
/// <param name="Default">Its default as a configuration would write it (without quotes).</param>
/// <param name="Min">The least value allowed; null for no bound.</param>
/// <param name="Max">The greatest value allowed; null for no bound.</param>
/// <param name="Summary">What it does.</param>
/// <param name="Choices">The values of a <see cref="OptionType.Choice"/>; empty for other types.</param>
public sealed record OptionInfo(string Name, OptionType Type, string Unit, string Default, string? Min, string? Max, string Summary, IReadOnlyList<string> Choices);
