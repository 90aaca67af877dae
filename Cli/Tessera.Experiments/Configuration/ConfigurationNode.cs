using System.Globalization;
using System.Text.Json;

namespace Tessera.Experiments.Configuration;

/// <summary>
/// A value of a configuration with its path and where it was written, so that every later error can say both. Edits replace
/// members in place; the tree is not thread-safe.
/// </summary>
public sealed class ConfigurationNode
{
    private readonly List<KeyValuePair<string, ConfigurationNode>> _members = [];
    private readonly Dictionary<string, int> _places = [];
    private readonly List<ConfigurationNode> _items = [];

    internal ConfigurationNode(JsonValueKind kind, string path, SourcePosition position, string text = "")
    {
        Kind = kind;
        Path = path;
        Position = position;
        Text = text;
    }

    /// <summary>What it is.</summary>
    public JsonValueKind Kind { get; }

    /// <summary>Its path, such as "domains[1].weight"; empty for the document.</summary>
    public string Path { get; }

    /// <summary>Where it was written: of its key in an object, else of its value.</summary>
    public SourcePosition Position { get; }

    /// <summary>The value of a string, the digits of a number, else empty.</summary>
    public string Text { get; }

    /// <summary>The members of an object, in the order written.</summary>
    public IReadOnlyList<KeyValuePair<string, ConfigurationNode>> Members => _members;

    /// <summary>The items of an array.</summary>
    public IReadOnlyList<ConfigurationNode> Items => _items;

    /// <summary>What it is, in words for messages: "the number 5", "a list".</summary>
    public string Description => Kind switch
    {
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => "a list",
        JsonValueKind.String => $"\"{Text}\"",
        JsonValueKind.Number => $"the number {Text}",
        JsonValueKind.True => "true",
        JsonValueKind.False => "false",
        _ => "null",
    };

    /// <summary>The path of a member of this object.</summary>
    public string PathOf(string key) => Path.Length == 0 ? key : $"{Path}.{key}";

    /// <summary>The member of this name, or null.</summary>
    public ConfigurationNode? Find(string key) => _places.TryGetValue(key, out int index) ? _members[index].Value : null;

    /// <summary>The value as a JSON element of its own.</summary>
    public JsonElement ToElement()
    {
        using MemoryStream buffer = new();
        using (Utf8JsonWriter writer = new(buffer))
            Write(writer);
        using JsonDocument document = JsonDocument.Parse(buffer.ToArray());
        return document.RootElement.Clone();
    }

    /// <summary>Writes the value.</summary>
    public void Write(Utf8JsonWriter writer)
    {
        switch (Kind)
        {
            case JsonValueKind.Object:
                writer.WriteStartObject();
                foreach ((string key, ConfigurationNode value) in _members)
                {
                    writer.WritePropertyName(key);
                    value.Write(writer);
                }

                writer.WriteEndObject();
                break;
            case JsonValueKind.Array:
                writer.WriteStartArray();
                foreach (ConfigurationNode item in _items)
                    item.Write(writer);
                writer.WriteEndArray();
                break;
            case JsonValueKind.String:
                writer.WriteStringValue(Text);
                break;
            case JsonValueKind.Number:
                writer.WriteRawValue(Text);
                break;
            case JsonValueKind.True or JsonValueKind.False:
                writer.WriteBooleanValue(Kind == JsonValueKind.True);
                break;
            default:
                writer.WriteNullValue();
                break;
        }
    }

    /// <summary>The node that stands at a path below this one, or the nearest above it that exists: errors from outside point there.</summary>
    /// <param name="path">A path as <see cref="Path"/> writes them.</param>
    public ConfigurationNode Nearest(string path)
    {
        ConfigurationNode nearest = this;
        if (Kind == JsonValueKind.Array)
            return ItemOn(path)?.Nearest(path) ?? this;
        foreach ((_, ConfigurationNode child) in _members)
            nearest = Better(nearest, child, path);
        return nearest;
    }

    internal void Set(string key, ConfigurationNode value)
    {
        if (_places.TryAdd(key, _members.Count))
            _members.Add(new(key, value));
        else
            _members[_places[key]] = new(key, value);
    }

    internal void Remove(string key)
    {
        if (!_places.Remove(key, out int gone))
            return;
        _members.RemoveAt(gone);
        for (int index = gone; index < _members.Count; index++)
            _places[_members[index].Key] = index;
    }

    internal void Append(ConfigurationNode item) => _items.Add(item);

    internal void Replace(int index, ConfigurationNode item) => _items[index] = item;

    private static ConfigurationNode Better(ConfigurationNode soFar, ConfigurationNode child, string path)
    {
        bool leadsThere = path.StartsWith(child.Path, StringComparison.Ordinal)
            && (path.Length == child.Path.Length || path[child.Path.Length] is '.' or '[');
        return leadsThere ? child.Nearest(path) : soFar;
    }

    /// <summary>The item that a path leads through, by its number: a list may have thousands, each of which is looked for.</summary>
    private ConfigurationNode? ItemOn(string path)
    {
        if (!path.StartsWith(Path, StringComparison.Ordinal) || path.Length <= Path.Length || path[Path.Length] != '[')
            return null;
        ReadOnlySpan<char> rest = path.AsSpan(Path.Length + 1);
        int end = rest.IndexOf(']');
        return end > 0 && int.TryParse(rest[..end], NumberStyles.None, CultureInfo.InvariantCulture, out int index) && index < _items.Count ? _items[index] : null;
    }
}
