using System.Collections;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Tessera.Hosting;

namespace Tessera.Experiments.Configuration;

/// <summary>How values of one kind stand in a configuration.</summary>
internal abstract class ConfigurationValue
{
    /// <summary>What JSON Schema says of them.</summary>
    public abstract JsonObject Schema { get; }

    /// <summary>Reads a value; says what is wrong otherwise.</summary>
    /// <param name="node">What was written.</param>
    /// <param name="summary">What the key is for.</param>
    /// <param name="reading">Gets what is wrong.</param>
    /// <param name="value">The value; null for the property's default.</param>
    public abstract bool TryRead(ConfigurationNode node, string summary, Reading reading, out object? value);

    /// <summary>Writes a value.</summary>
    /// <param name="writer">Gets it.</param>
    /// <param name="value">The value.</param>
    /// <param name="options">The options records of plugins and guests, by the path of the object that they were bound to.</param>
    public abstract void Write(Utf8JsonWriter writer, object value, IReadOnlyDictionary<string, object?> options);
}

/// <summary>What reading a configuration needs, and what it finds.</summary>
/// <param name="BaseDirectory">The folder that relative paths start from.</param>
/// <param name="Errors">Gets what is wrong.</param>
internal sealed record Reading(string BaseDirectory, List<ConfigurationError> Errors)
{
    /// <summary>Records that a value is wrong.</summary>
    public bool Fail(ConfigurationNode at, string message, string cure)
    {
        Errors.Add(new(at.Position, at.Path, message, cure));
        return false;
    }

    /// <summary>The same, showing the value.</summary>
    public bool Refuse(ConfigurationNode at, string cure) => Fail(at, $"This is {at.Description}.", cure);
}

/// <summary>A list, each item a value.</summary>
internal sealed class ListValue(ConfigurationValue item, Type type, bool isNotEmpty) : ConfigurationValue
{
    public override JsonObject Schema
    {
        get
        {
            JsonObject schema = new() { ["type"] = "array" };
            if (isNotEmpty)
                schema["minItems"] = 1;
            schema["items"] = item.Schema;
            return schema;
        }
    }

    public override bool TryRead(ConfigurationNode node, string summary, Reading reading, out object? value)
    {
        IList list = (IList)Activator.CreateInstance(typeof(List<>).MakeGenericType(type))!;
        value = list;
        string wanted = $"It must be a list{(isNotEmpty ? $" with at least one {(item as ConfigurationSection)?.Name ?? "item"}" : "")}.";
        if (node.Kind != JsonValueKind.Array)
            return reading.Refuse(node, wanted);
        if (isNotEmpty && node.Items.Count == 0)
            return reading.Fail(node, "This is an empty list.", wanted);
        foreach (ConfigurationNode written in node.Items)
        {
            if (item.TryRead(written, summary, reading, out object? read))
                list.Add(read);
        }

        return true;
    }

    public override void Write(Utf8JsonWriter writer, object value, IReadOnlyDictionary<string, object?> options)
    {
        writer.WriteStartArray();
        foreach (object one in (IEnumerable)value)
            item.Write(writer, one, options);
        writer.WriteEndArray();
    }
}

/// <summary>An object whose keys a plugin or guest defines: read as it stands, written as they understood it.</summary>
internal sealed class OpenValue : ConfigurationValue
{
    public override JsonObject Schema => new() { ["type"] = "object" };

    public override bool TryRead(ConfigurationNode node, string summary, Reading reading, out object? value)
    {
        bool isObject = node.Kind == JsonValueKind.Object;
        value = isObject ? node : null;
        return isObject || reading.Refuse(node, $"It must be an object. {summary}");
    }

    public override void Write(Utf8JsonWriter writer, object value, IReadOnlyDictionary<string, object?> options) =>
        OptionBinder.Write(writer, value);
}

/// <summary>Some CPUs.</summary>
/// <param name="Count">How many, as it was written; null where they are listed.</param>
/// <param name="Numbers">Which, each once.</param>
public sealed record CpuChoice(string? Count, IReadOnlyList<int> Numbers);

/// <summary>A list of CPU numbers, or also how many; a word stands for all.</summary>
internal sealed class CpusValue(KeyAttribute key) : ConfigurationValue
{
    public override JsonObject Schema
    {
        get
        {
            JsonObject number = new() { ["type"] = "integer", ["minimum"] = 0 };
            JsonObject list = new() { ["type"] = "array", ["minItems"] = 1, ["uniqueItems"] = true, ["items"] = number };
            JsonObject count = new() { ["type"] = "integer", ["minimum"] = 1 };
            return key.IsCountable ? new() { ["anyOf"] = new JsonArray(count, list) } : list;
        }
    }

    public override bool TryRead(ConfigurationNode node, string summary, Reading reading, out object? value)
    {
        value = null;
        if (key.IsCountable && node.Kind == JsonValueKind.Number)
        {
            // How many there can be is the host's to say: ConfigurationBinder asks it.
            value = new CpuChoice(node.Text, []);
            return true;
        }

        if (node.Kind != JsonValueKind.Array || node.Items.Count == 0)
            return reading.Refuse(node, $"It must be \"{key.Word}\" or a list of CPU numbers that is not empty.");
        List<int> cpus = [];
        foreach (ConfigurationNode item in node.Items)
        {
            if (item.Kind != JsonValueKind.Number || !int.TryParse(item.Text, NumberStyles.None, CultureInfo.InvariantCulture, out int cpu))
                reading.Refuse(item, "A CPU is a whole number from 0.");
            else if (cpus.Contains(cpu))
                reading.Fail(item, $"CPU {cpu} is named twice.", "Name each once.");
            else
                cpus.Add(cpu);
        }

        value = cpus.Count > 0 ? new CpuChoice(null, cpus) : null;
        return true;
    }

    public override void Write(Utf8JsonWriter writer, object value, IReadOnlyDictionary<string, object?> options)
    {
        CpuChoice choice = (CpuChoice)value;
        writer.WriteRawValue(choice.Count ?? JsonSerializer.Serialize(choice.Numbers));
    }
}
