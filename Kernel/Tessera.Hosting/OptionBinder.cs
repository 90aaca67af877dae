using System.Text.Json;
using Tessera.Sdk.Plugins;

namespace Tessera.Hosting;

/// <summary>Fills options records from JSON by their <see cref="OptionAttribute"/>s, and describes them. Finds every mistake, not the first only.</summary>
public static class OptionBinder
{
    /// <summary>Fills an options record. Keys are the property names in camelCase; what JSON leaves out keeps its default.</summary>
    /// <param name="optionsType">The record's type; null when there are no options, so that every key is a mistake.</param>
    /// <param name="json">The object; a default <see cref="JsonElement"/> means nothing was given.</param>
    /// <param name="path">The object's own JSON path, for messages, such as "scheduler.options".</param>
    /// <param name="problems">Gets every mistake; nothing is thrown for what a user wrote.</param>
    /// <param name="locate">Tells where a JSON path stands in the file, if anyone knows.</param>
    /// <returns>The record (null without a type). Values that have problems keep their defaults.</returns>
    /// <exception cref="ArgumentException">The record's type is not what <see cref="OptionAttribute"/> asks for: its author's mistake.</exception>
    public static object? Bind(
        Type? optionsType,
        JsonElement json,
        string path,
        ICollection<ConfigurationProblem> problems,
        Func<string, (int Line, int Column)?>? locate = null)
    {
        OptionSchema? schema = optionsType is null ? null : OptionSchema.Of(optionsType);
        object? options = schema?.CreateDefault();
        if (json.ValueKind == JsonValueKind.Undefined)
            return options;
        if (json.ValueKind != JsonValueKind.Object)
        {
            Report(path, $"must be an object with options, not {json.ValueKind.ToString().ToLowerInvariant()}");
            return options;
        }

        HashSet<string> seen = [];
        foreach (JsonProperty property in json.EnumerateObject())
        {
            string at = path.Length == 0 ? property.Name : $"{path}.{property.Name}";
            OptionSchema.Entry? entry = schema?.Entries.FirstOrDefault(entry => entry.Key == property.Name);
            if (entry is null)
                Report(at, Unknown(property.Name, schema));
            else if (!seen.Add(property.Name))
                Report(at, "is given twice; keep one");
            else if (!entry.Format.TryRead(property.Value, out object value, out string problem))
                Report(at, problem);
            else if (entry.OutOfRange(value) is { } outside)
                Report(at, outside);
            else
                entry.Property.SetValue(options, value);
        }

        return options;

        void Report(string where, string message)
        {
            (int Line, int Column)? location = locate?.Invoke(where);
            problems.Add(new ConfigurationProblem(where, message, location?.Line, location?.Column));
        }
    }

    /// <summary>Fills an options record whose type is known; see <see cref="Bind(Type?, JsonElement, string, ICollection{ConfigurationProblem}, Func{string, ValueTuple{int, int}?}?)"/>.</summary>
    public static T Bind<T>(JsonElement json, string path, ICollection<ConfigurationProblem> problems, Func<string, (int Line, int Column)?>? locate = null)
        where T : class, new() => (T)Bind(typeof(T), json, path, problems, locate)!;

    /// <summary>Describes an options record, in the order of its properties; empty for null.</summary>
    /// <exception cref="ArgumentException">The record's type is not what <see cref="OptionAttribute"/> asks for.</exception>
    public static IReadOnlyList<OptionInfo> Describe(Type? optionsType) =>
        optionsType is null ? [] : [.. OptionSchema.Of(optionsType).Entries.Select(entry => entry.Describe())];

    /// <summary>A record's values as a configuration would write them, in the order of its properties: for resolved configurations and reports.</summary>
    public static IReadOnlyList<KeyValuePair<string, object?>> Values(object options) =>
    [
        .. OptionSchema.Of(options.GetType()).Entries.Select(entry => KeyValuePair.Create(entry.Key, entry.Property.GetValue(options) switch
        {
            bool or int or long or double or null => entry.Property.GetValue(options),
            object value => entry.Format.Format(value),
        })),
    ];

    /// <summary>Changes the strings of a record: placeholders filled in, paths made whole.</summary>
    /// <param name="options">The record.</param>
    /// <param name="change">Given a string and whether it is a path, the string that is to stand there.</param>
    public static void ChangeStrings(object options, Func<string, bool, string> change)
    {
        foreach (OptionSchema.Entry entry in OptionSchema.Of(options.GetType()).Entries)
        {
            if (entry.Property.GetValue(options) is string { Length: > 0 } text)
                entry.Property.SetValue(options, change(text, entry.IsPath));
        }
    }

    private static string Unknown(string key, OptionSchema? schema)
    {
        string[] known = [.. (schema?.Entries ?? []).Select(entry => entry.Key)];
        if (known.Length == 0)
            return "is unknown: there are no options here";
        return Suggestion.Nearest(key, known) is { } nearest
            ? $"is unknown; did you mean \"{nearest}\"?"
            : $"is unknown; the options are {string.Join(", ", known)}";
    }
}
