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
            OptionEntry? entry = schema?.Entries.FirstOrDefault(entry => entry.Key == property.Name);
            if (entry is null)
                Report(at, Unknown(property.Name, schema));
            else if (!seen.Add(property.Name))
                Report(at, "is given twice; keep one");
            else if (!entry.Format.TryRead(property.Value.ValueKind, TextOf(property.Value), out object value, out string problem))
                Report(at, problem);
            else if (!entry.IsInRange(value))
                Report(at, entry.OutOfRange(value));
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

    /// <summary>Writes a record as a configuration would, in the order of its properties.</summary>
    public static void Write(Utf8JsonWriter writer, object options)
    {
        writer.WriteStartObject();
        foreach (OptionEntry entry in OptionSchema.Of(options.GetType()).Entries)
        {
            writer.WritePropertyName(entry.Key);
            if (entry.Property.GetValue(options) is { } value)
                entry.Format.Write(writer, value);
            else
                writer.WriteNullValue();
        }

        writer.WriteEndObject();
    }

    /// <summary>A record with the same values.</summary>
    public static object Copy(object options)
    {
        OptionSchema schema = OptionSchema.Of(options.GetType());
        object copy = schema.CreateDefault();
        foreach (OptionEntry entry in schema.Entries)
            entry.Property.SetValue(copy, entry.Property.GetValue(options));
        return copy;
    }

    /// <summary>Changes the strings of a record: placeholders filled in, paths made whole.</summary>
    /// <param name="options">The record.</param>
    /// <param name="change">Given a string and whether it is a path, the string that is to stand there.</param>
    public static void ChangeStrings(object options, Func<string, bool, string> change)
    {
        foreach (OptionEntry entry in OptionSchema.Of(options.GetType()).Entries)
        {
            if (entry.Property.GetValue(options) is string { Length: > 0 } text)
                entry.Property.SetValue(options, change(text, entry.IsPath));
        }
    }

    private static string TextOf(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => value.GetString()!,
        JsonValueKind.Number => value.GetRawText(),
        _ => "",
    };

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
