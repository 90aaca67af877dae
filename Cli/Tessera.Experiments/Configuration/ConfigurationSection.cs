using System.Collections.ObjectModel;
using System.ComponentModel;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using Tessera.Hosting;
using Tessera.Sdk.Plugins;

namespace Tessera.Experiments.Configuration;

/// <summary>One key of a configuration: a property with <see cref="OptionAttribute"/>, and perhaps <see cref="KeyAttribute"/>.</summary>
/// <param name="Name">The key.</param>
/// <param name="Summary">What it is for.</param>
/// <param name="Property">The property.</param>
/// <param name="Value">How its values stand there.</param>
/// <param name="More">What else it has.</param>
/// <param name="Defaults">A record in which nothing was written.</param>
internal sealed record ConfigurationKey(
    string Name, string Summary, PropertyInfo Property, ConfigurationValue Value, KeyAttribute More, object Defaults)
{
    private static readonly ReadOnlyDictionary<string, object?> NoOptions = ReadOnlyDictionary<string, object?>.Empty;

    /// <summary>Whether it must be there: the property is required.</summary>
    public bool IsRequired => Property.IsDefined(typeof(RequiredMemberAttribute));

    /// <summary>What the property has where nothing is written.</summary>
    public object? Default => Property.GetValue(Defaults);

    /// <summary>The key of a property.</summary>
    public static string NameOf(PropertyInfo property) =>
        property.GetCustomAttribute<KeyAttribute>()?.Name ?? OptionEntry.KeyOf(property.Name);

    /// <summary>What the schema says of it.</summary>
    public JsonObject Describe()
    {
        JsonObject schema = Value.Schema;
        if (More.Word is { } word)
        {
            IEnumerable<JsonNode?> others = (schema["anyOf"]?.AsArray() ?? [schema]).Select(one => one!.DeepClone());
            schema = new() { ["anyOf"] = new JsonArray([new JsonObject { ["const"] = word }, .. others]) };
        }

        schema.Insert(0, "description", Summary);
        if (!IsRequired && DefaultNode() is { } otherwise)
            schema["default"] = otherwise;
        return schema;
    }

    /// <summary>Reads what was written into a record's property.</summary>
    public void Read(ConfigurationNode node, string summary, Reading reading, object record)
    {
        object? value = null;
        bool isWord = More.Word is { } word && node.Kind == JsonValueKind.String && node.Text == word;
        if (!More.IsIgnored && (isWord || Value.TryRead(node, summary, reading, out value) || value is not null))
            Property.SetValue(record, value);
    }

    /// <summary>Writes a property; nothing for a null without a word.</summary>
    public void Write(Utf8JsonWriter writer, object record, IReadOnlyDictionary<string, object?> options)
    {
        object? value = Value is OpenValue ? options.GetValueOrDefault(((Section)record).Node.PathOf(Name)) : Property.GetValue(record);
        if (value is null && More.Word is null)
            return;
        writer.WritePropertyName(Name);
        if (value is null)
            writer.WriteStringValue(More.Word);
        else
            Value.Write(writer, value, options);
    }

    private JsonNode? DefaultNode() => Value switch
    {
        ConfigurationSection { Stand: { } stand } => stand.DefaultNode(),
        ConfigurationSection or OpenValue => new JsonObject(),
        _ when Default is { } value => JsonNode.Parse(ConfigurationWriter.Bytes(writer => Value.Write(writer, value, NoOptions)).Span),
        _ => More.Word,
    };
}

/// <summary>
/// An object of a configuration, described by the record that it is read into: the properties with <see cref="OptionAttribute"/> are its
/// keys, in their order. A property that is required is a key that must be there.
/// </summary>
internal sealed class ConfigurationSection : ConfigurationValue
{
    private readonly Type _type;
    private readonly string _summary;

    private ConfigurationSection(Type type, List<ConfigurationSection> known)
    {
        _type = type;
        _summary = type.GetCustomAttribute<DescriptionAttribute>()?.Description ?? "";
        string name = type.Name.Replace("Settings", "", StringComparison.Ordinal).Replace("Options", "", StringComparison.Ordinal);
        Name = OptionEntry.KeyOf(name);
        known.Add(this);
        object defaults = Activator.CreateInstance(type)!;
        foreach (PropertyInfo property in type.GetProperties())
        {
            KeyAttribute more = property.GetCustomAttribute<KeyAttribute>() ?? new();
            if (property.GetCustomAttribute<OptionAttribute>() is not { } option)
                continue;
            ConfigurationValue value = ValueOf(property, more, defaults, known);
            Keys.Add(new(ConfigurationKey.NameOf(property), option.Summary, property, value, more, defaults));
        }
    }

    /// <summary>Its name in the schema and in messages.</summary>
    public string Name { get; }

    /// <summary>Its keys.</summary>
    public List<ConfigurationKey> Keys { get; } = [];

    /// <summary>The key whose value may stand in place of the object.</summary>
    public ConfigurationKey? Stand => Keys.Find(key => key.More.StandsForAll);

    public override JsonObject Schema
    {
        get
        {
            JsonObject reference = new() { ["$ref"] = $"#/$defs/{Name}" };
            return Stand is { } stand ? new() { ["anyOf"] = new JsonArray(stand.Value.Schema, reference) } : reference;
        }
    }

    /// <summary>A record and those below it, each after all that refer to it.</summary>
    /// <param name="type">The record.</param>
    /// <exception cref="ArgumentException">A property is none that a configuration can have: its author's mistake.</exception>
    public static IReadOnlyList<ConfigurationSection> Of(Type type)
    {
        List<ConfigurationSection> known = [];
        _ = new ConfigurationSection(type, known);
        return known;
    }

    /// <summary>Adds to a schema what it says of the object itself.</summary>
    public void Describe(JsonObject schema)
    {
        schema["description"] = _summary;
        schema["type"] = "object";
        schema["properties"] = new JsonObject(Keys.Select(key => KeyValuePair.Create<string, JsonNode?>(key.Name, key.Describe())));
        if (Keys.Exists(key => key.IsRequired))
            schema["required"] = new JsonArray([.. Keys.Where(key => key.IsRequired).Select(key => key.Name)]);
        schema["additionalProperties"] = false;
    }

    /// <summary>Reads an object's keys; what is no object is wrong, and reads as an empty one.</summary>
    public override bool TryRead(ConfigurationNode node, string summary, Reading reading, out object? value)
    {
        value = Activator.CreateInstance(_type)!;
        ConfigurationNode within = node.Kind == JsonValueKind.Object ? node : new(JsonValueKind.Object, node.Path, node.Position);
        bool stands = node.Kind == JsonValueKind.String && Stand is not null;
        if (value is Section section)
            section.Node = stands ? node : within;
        if (stands)
            Stand!.Read(node, summary, reading, value);
        else if (node != within)
            reading.Refuse(node, $"It must be an object with keys of: {string.Join(", ", Keys.Select(key => key.Name))}.");
        else
            CheckNames(node, reading);
        foreach (ConfigurationKey key in Keys)
        {
            ConfigurationNode? written = within.Find(key.Name);
            if (written is null && key.Value is ConfigurationSection below)
                written = below.Nothing(within.PathOf(key.Name), node.Position);
            if (written is not null)
                key.Read(written, key.Summary, reading, value);
        }

        return stands || node == within;
    }

    public override void Write(Utf8JsonWriter writer, object value, IReadOnlyDictionary<string, object?> options)
    {
        writer.WriteStartObject();
        foreach (ConfigurationKey key in Keys)
            key.Write(writer, value, options);
        writer.WriteEndObject();
    }

    private static ConfigurationValue ValueOf(PropertyInfo property, KeyAttribute more, object defaults, List<ConfigurationSection> known)
    {
        Type type = Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType;
        if (OptionFormat.For(type) is { } format)
            return new ScalarValue(type, more, OptionEntry.Of(property, format, defaults));
        if (type == typeof(ConfigurationNode))
            return new OpenValue();
        if (type == typeof(CpuChoice))
            return new CpusValue(more);
        if (!type.IsGenericType || type.GetGenericTypeDefinition() != typeof(IReadOnlyList<>))
            return Below(type, property, known);
        Type item = type.GetGenericArguments()[0];
        ConfigurationValue value = OptionFormat.For(item) is null ? Below(item, property, known) : new ScalarValue(item, more, null);
        return new ListValue(value, item, more.IsNotEmpty);
    }

    private static ConfigurationSection Below(Type type, PropertyInfo property, List<ConfigurationSection> known)
    {
        if (!type.GetProperties().Any(below => below.IsDefined(typeof(OptionAttribute))))
            throw new ArgumentException($"The key {property.DeclaringType}.{property.Name} is of {type}, which is no option's and has no keys.");
        if (known.Find(section => section._type == type) is not { } again)
            return new(type, known);
        known.Remove(again);
        known.Add(again);
        return again;
    }

    /// <summary>What is read where nothing is written: the default of what stands for all, or no keys; null when some are needed.</summary>
    private ConfigurationNode? Nothing(string path, SourcePosition position) =>
        Stand is { } stand ? new(JsonValueKind.String, path, position, (string)stand.Default!)
        : Keys.Exists(key => key.IsRequired) ? null
        : new(JsonValueKind.Object, path, position);

    private void CheckNames(ConfigurationNode node, Reading reading)
    {
        string[] known = [.. Keys.Select(key => key.Name)];
        foreach ((string name, ConfigurationNode member) in node.Members)
        {
            if (known.Contains(name))
                continue;
            string? near = Suggestion.Nearest(name, known);
            string cure = near is null ? $"Known are: {string.Join(", ", known)}." : $"Did you mean \"{near}\"?";
            reading.Fail(member, $"There is no key \"{name}\" here.", cure);
        }

        foreach (ConfigurationKey key in Keys.Where(key => key.IsRequired && node.Find(key.Name) is null))
            reading.Fail(node, $"The key \"{key.Name}\" is missing.", key.Summary);
    }
}
