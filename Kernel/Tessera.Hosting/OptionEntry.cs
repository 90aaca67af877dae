using System.Reflection;
using System.Text.Json;
using Tessera.Sdk.Plugins;

namespace Tessera.Hosting;

/// <summary>One property that bears an <see cref="OptionAttribute"/>, checked for mistakes of its author.</summary>
/// <param name="Key">The key in JSON: the property's name in camelCase.</param>
/// <param name="Property">The property.</param>
/// <param name="Summary">What it does.</param>
/// <param name="Format">How its values are written.</param>
/// <param name="Default">What a new record has.</param>
/// <param name="Min">The least value allowed; null for no bound.</param>
/// <param name="Max">The greatest value allowed; null for no bound.</param>
/// <param name="IsPath">Whether it is a file's path.</param>
public sealed record OptionEntry(
    string Key, PropertyInfo Property, string Summary, OptionFormat Format, object? Default, object? Min, object? Max, bool IsPath)
{
    /// <summary>The bounds in words: "from 1 to 5", "at least 1"; empty when there are none.</summary>
    public string Range => (Min, Max) switch
    {
        (null, null) => "",
        (null, _) => $"at most {Format.Format(Max)}",
        (_, null) => $"at least {Format.Format(Min)}",
        _ => $"from {Format.Format(Min)} to {Format.Format(Max)}",
    };

    /// <summary>Reads a property's attribute.</summary>
    /// <param name="property">The property.</param>
    /// <param name="format">How its values are written; null when that follows from nothing.</param>
    /// <param name="defaults">A new record.</param>
    /// <exception cref="ArgumentException">The property is not what the attribute asks for: its author's mistake.</exception>
    public static OptionEntry Of(PropertyInfo property, OptionFormat? format, object defaults)
    {
        string where = $"The option {property.DeclaringType}.{property.Name}";
        OptionAttribute attribute = property.GetCustomAttribute<OptionAttribute>()
            ?? throw new ArgumentException($"{where} has no [Option] attribute.");
        if (format is null)
            throw new ArgumentException($"{where} has the type {property.PropertyType}; options are {OptionFormat.Types}.");
        object? value = property.GetValue(defaults);
        OptionEntry entry = new(
            KeyOf(property.Name),
            property,
            attribute.Summary,
            format,
            value,
            Bound(where, "Min", attribute.Min, format) ?? format.ImplicitMin,
            Bound(where, "Max", attribute.Max, format),
            attribute.IsPath);
        if (entry.IsPath && property.PropertyType != typeof(string))
            throw new ArgumentException($"{where} is marked as a path but is not a string.");
        if (entry.Min is not null && entry.Max is not null && format.Compare(entry.Min, entry.Max) > 0)
            throw new ArgumentException($"{where}: Min {format.Format(entry.Min)} is above Max {format.Format(entry.Max)}.");
        if (value is not null && !entry.IsInRange(value))
            throw new ArgumentException($"{where}: its default {entry.OutOfRange(value)}.");
        return entry;
    }

    /// <summary>The key of a property.</summary>
    public static string KeyOf(string property) => JsonNamingPolicy.CamelCase.ConvertName(property);

    /// <summary>Whether a value is within the bounds.</summary>
    public bool IsInRange(object value) =>
        (Min is null || Format.Compare(value, Min) >= 0) && (Max is null || Format.Compare(value, Max) <= 0);

    /// <summary>Says which bounds a value breaks.</summary>
    internal string OutOfRange(object value) => $"is {Format.Format(value)}, and must be {Range}";

    internal OptionInfo Describe() => new(
        Key,
        Format.Type,
        Format.Unit,
        Format.Format(Default),
        Min is null ? null : Format.Format(Min),
        Max is null ? null : Format.Format(Max),
        Summary,
        Format.Choices);

    private static object? Bound(string where, string name, string? text, OptionFormat format)
    {
        if (text is null)
            return null;
        return format.TryParseBound(text, out object value)
            ? value
            : throw new ArgumentException($"{where}: {name} \"{text}\" is not a bound of its type ({format.Type}).");
    }
}
