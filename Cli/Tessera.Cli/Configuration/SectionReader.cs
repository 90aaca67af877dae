using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Tessera.Hosting;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Cli.Configuration;

/// <summary>
/// Reads one object's keys into values of the right kind and collects everything wrong; a value that is wrong gives its
/// default, so that reading goes on and finds the rest.
/// </summary>
internal sealed class SectionReader
{
    private const int FrameBytes = 4096;

    private readonly ConfigurationSection _section;
    private readonly ConfigurationNode _node;
    private readonly List<ConfigurationError> _errors;

    /// <summary>Takes an object and reports unknown and missing keys at once; anything else is an error and reads as empty.</summary>
    public SectionReader(ConfigurationSection section, ConfigurationNode node, List<ConfigurationError> errors)
    {
        _section = section;
        _errors = errors;
        if (node.Kind == JsonValueKind.Object)
        {
            _node = node;
        }
        else
        {
            _node = new ConfigurationNode(JsonValueKind.Object, node.Path, node.Position);
            Fail(node, $"This is {node.Description}.", $"It must be an object with keys of: {string.Join(", ", section.Keys.Select(key => key.Name))}.");
            return;
        }

        foreach ((string key, ConfigurationNode value) in node.Members)
        {
            if (!section.Has(key))
                Fail(value, $"There is no key \"{key}\" here.", Suggest(key, section.Keys.Select(known => known.Name)));
        }

        foreach (string key in section.Required)
        {
            if (node.Find(key) is null)
                Fail(node, $"The key \"{key}\" is missing.", Summary(key));
        }
    }

    /// <summary>The path of the object.</summary>
    public string Path => _node.Path;

    /// <summary>The object's node.</summary>
    public ConfigurationNode Node => _node;

    /// <summary>The path of a key, written or not.</summary>
    public string PathOf(string key) => _node.PathOf(key);

    /// <summary>The value of a key, or null when it is not there.</summary>
    public ConfigurationNode? Find(string key)
    {
        Debug.Assert(_section.Has(key), $"{_section.Name} has no key {key} in ConfigurationKeys");
        return _node.Find(key);
    }

    /// <summary>A string that says something.</summary>
    public string? Text(string key)
    {
        if (Find(key) is not { } value)
            return null;
        if (value.Kind == JsonValueKind.String && value.Text.Length > 0)
            return value.Text;
        Fail(value, $"This is {value.Description}.", $"It must be a string. {Summary(key)}");
        return null;
    }

    /// <summary>A whole number between bounds.</summary>
    public int Integer(string key, int otherwise, int min, int max)
    {
        if (Find(key) is not { } value)
            return otherwise;
        if (value.Kind == JsonValueKind.Number && int.TryParse(value.Text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int number)
            && number >= min && number <= max)
            return number;
        string range = min == max ? $"It can only be {min} in this version." : $"It must be a whole number from {min} to {max}.";
        Fail(value, $"This is {value.Description}.", range);
        return otherwise;
    }

    /// <summary>True or false.</summary>
    public bool Flag(string key, bool otherwise = false)
    {
        if (Find(key) is not { } value)
            return otherwise;
        if (value.Kind is not (JsonValueKind.True or JsonValueKind.False))
            Fail(value, $"This is {value.Description}.", "It must be true or false.");
        return value.Kind == JsonValueKind.True;
    }

    /// <summary>A list's items; none when it is not there.</summary>
    public IReadOnlyList<ConfigurationNode> List(string key)
    {
        if (Find(key) is not { } value)
            return [];
        if (value.Kind == JsonValueKind.Array)
            return value.Items;
        Fail(value, $"This is {value.Description}.", "It must be a list.");
        return [];
    }

    /// <summary>A list of strings that may be empty, each a line; none when it is not there.</summary>
    public IReadOnlyList<string> Lines(string key)
    {
        IReadOnlyList<ConfigurationNode> items = List(key);
        foreach (ConfigurationNode item in items)
        {
            if (item.Kind != JsonValueKind.String)
                Fail(item, $"This is {item.Description}.", "Each line must be a string.");
        }

        return [.. items.Where(item => item.Kind == JsonValueKind.String).Select(item => item.Text)];
    }

    /// <summary>A duration with its unit.</summary>
    public Nanoseconds Duration(string key, Nanoseconds otherwise, DurationRange range)
    {
        if (Find(key) is not { } value)
            return otherwise;
        return TryDuration(value, range, out Nanoseconds duration) ? duration : otherwise;
    }

    /// <summary>Reads a node as a duration; says what is wrong otherwise.</summary>
    public bool TryDuration(ConfigurationNode value, DurationRange range, out Nanoseconds duration)
    {
        duration = default;
        string problem = "a duration is a string with its unit, such as \"10 s\" or \"250 us\"";
        if (value.Kind != JsonValueKind.String || !NanosecondsText.TryParse(value.Text, out duration, out problem))
        {
            Fail(value, $"This is {value.Description}.", Sentence(problem));
            return false;
        }

        string? wrong = range switch
        {
            _ when duration < Nanoseconds.Zero => "It must not be negative.",
            DurationRange.Positive or DurationRange.PositiveOrNever when duration == Nanoseconds.Zero => "It must be longer than zero.",
            DurationRange.Positive or DurationRange.ZeroOrMore when duration == Nanoseconds.Never => "It must not be \"never\".",
            _ => null,
        };
        if (wrong is not null)
            Fail(value, $"This is {value.Description}.", wrong);
        return wrong is null;
    }

    /// <summary>A size with its unit, of whole frames unless said otherwise; null when it is not there.</summary>
    public ByteSize? Size(string key, int multiple = FrameBytes)
    {
        if (Find(key) is not { } value)
            return null;
        string problem = "a size is a string with its unit, such as \"256 MiB\"";
        if (value.Kind == JsonValueKind.String && ByteSizeText.TryParse(value.Text, out ByteSize size, out problem) && size.Bytes > 0)
        {
            if (size.Bytes % multiple == 0)
                return size;
            problem = $"\"{value.Text}\" is not a multiple of {multiple} bytes, a frame";
        }

        Fail(value, $"This is {value.Description}.", problem.Length == 0 ? "It must be more than zero." : Sentence(problem));
        return null;
    }

    /// <summary>A list of different CPU numbers; null for the given word, for nothing, and after an error.</summary>
    public IReadOnlyList<int>? Cpus(ConfigurationNode value, string word)
    {
        if (value.Kind == JsonValueKind.String && value.Text == word)
            return null;
        if (value.Kind != JsonValueKind.Array || value.Items.Count == 0)
        {
            Fail(value, $"This is {value.Description}.", $"It must be \"{word}\" or a list of CPU numbers that is not empty.");
            return null;
        }

        List<int> cpus = [];
        foreach (ConfigurationNode item in value.Items)
        {
            if (item.Kind != JsonValueKind.Number || !int.TryParse(item.Text, NumberStyles.None, CultureInfo.InvariantCulture, out int cpu))
                Fail(item, $"This is {item.Description}.", "A CPU is a whole number from 0.");
            else if (cpus.Contains(cpu))
                Fail(item, $"CPU {cpu} is named twice.", "Name each once.");
            else
                cpus.Add(cpu);
        }

        return cpus.Count == 0 ? null : cpus;
    }

    /// <summary>An object whose keys a plugin or guest defines; null when it is not there.</summary>
    public ConfigurationNode? Options(string key)
    {
        if (Find(key) is not { } value || value.Kind == JsonValueKind.Object)
            return Find(key);
        Fail(value, $"This is {value.Description}.", $"It must be an object. {Summary(key)}");
        return null;
    }

    /// <summary>Records that a value is wrong.</summary>
    public void Fail(ConfigurationNode at, string message, string cure) => _errors.Add(new(at.Position, at.Path, message, cure));

    private static string Sentence(string problem) => $"{char.ToUpperInvariant(problem[0])}{problem[1..]}.";

    private static string Suggest(string written, IEnumerable<string> known) =>
        Suggestion.Nearest(written, known) is { } nearest ? $"Did you mean \"{nearest}\"?" : $"Known are: {string.Join(", ", known)}.";

    private string Summary(string key) => _section.Keys.First(known => known.Name == key).Summary;
}

/// <summary>What a duration may be besides a positive time.</summary>
internal enum DurationRange
{
    /// <summary>Nothing else.</summary>
    Positive,

    /// <summary>Zero too.</summary>
    ZeroOrMore,

    /// <summary>"never" too: without end.</summary>
    PositiveOrNever,
}
