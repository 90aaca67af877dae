using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Tessera.Hosting;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Experiments.Configuration;

/// <summary>A value that is no object and no list: read and written as plugins' options are, refused in a configuration's words.</summary>
/// <param name="type">The property's type, or a list's item's.</param>
/// <param name="key">What else the key has.</param>
/// <param name="option">Its bounds; null for an item of a list.</param>
internal sealed class ScalarValue(Type type, KeyAttribute key, OptionEntry? option) : ConfigurationValue
{
    private const int FrameBytes = 4096;

    private readonly OptionFormat _format = OptionFormat.For(type)!;
    private readonly bool _isText = type == typeof(string);
    private Regex? _pattern;

    /// <summary>What is said after a string that is none.</summary>
    private string? Refusal => key.Refusal ?? (_format.Cure.Length == 0 ? null : $"is not {_format.Wanted}");

    public override JsonObject Schema
    {
        get
        {
            JsonObject schema = _format.Schema(option?.Min, option?.Max);
            if (key.MaxLength > 0)
                schema["maxLength"] = key.MaxLength;
            if (key.Pattern is { } pattern)
                schema["pattern"] = pattern;
            else if (_isText && !key.MayBeEmpty)
                schema["minLength"] = 1;
            return schema;
        }
    }

    public override bool TryRead(ConfigurationNode node, string summary, Reading reading, out object? value)
    {
        value = null;
        if (_format.Type == OptionType.Duration && node.Kind != JsonValueKind.String)
            return reading.Refuse(node, "A duration is a string with its unit, such as \"10 s\" or \"250 us\".");
        if (_format.Type == OptionType.Size && node.Kind != JsonValueKind.String)
            return reading.Refuse(node, "A size is a string with its unit, such as \"256 MiB\".");
        if (!_format.TryRead(node.Kind, node.Text, out object read, out string problem) || !IsRight(node.Text))
            return Refuse(node, problem, summary, reading);
        if (Broken(node, read) is { } broken)
            return reading.Refuse(node, broken);
        value = IsFile(node.Text) ? Path.GetFullPath(node.Text, reading.BaseDirectory) : read;
        return true;
    }

    public override void Write(Utf8JsonWriter writer, object value, IReadOnlyDictionary<string, object?> options) =>
        _format.Write(writer, value);

    private static string Sentence(string problem) => $"{char.ToUpperInvariant(problem[0])}{problem[1..]}.";

    private bool IsFile(string text) =>
        option is { IsPath: true } || (key.IsPlugin && text.EndsWith(".dll", StringComparison.OrdinalIgnoreCase));

    private bool IsRight(string text) =>
        !_isText || ((text.Length > 0 || key.MayBeEmpty)
            && (key.Pattern is null || (_pattern ??= new Regex(key.Pattern)).Match(text).Length == text.Length));

    private bool Refuse(ConfigurationNode node, string problem, string summary, Reading reading)
    {
        if (Refusal is not null && node is { Kind: JsonValueKind.String, Text.Length: > 0 })
            return reading.Fail(node, $"\"{node.Text}\" {Refusal}.", key.Cure ?? _format.Cure);
        return reading.Refuse(node, _format.Type switch
        {
            OptionType.Duration or OptionType.Size => Sentence(problem),
            OptionType.Integer => Whole(),
            _ when _isText || Refusal is not null => Refusal is null && key.Cure is { } cure ? cure : $"It must be a string. {summary}",
            _ => $"It must be {_format.Wanted}.",
        });
    }

    /// <summary>What a value breaks; null for nothing.</summary>
    private string? Broken(ConfigurationNode node, object value)
    {
        bool isInside = option?.IsInRange(value) ?? true;
        return value switch
        {
            Nanoseconds time when time < Nanoseconds.Zero && !isInside => "It must not be negative.",
            Nanoseconds time when time == Nanoseconds.Zero && !isInside => "It must be longer than zero.",
            // Without end is a value only where a key says so by its greatest.
            Nanoseconds time when time == Nanoseconds.Never && option is { Max: null } => "It must not be \"never\".",
            ByteSize { Bytes: 0 } when !isInside => "It must be more than zero.",
            ByteSize size when key.IsOfFrames && size.Bytes % FrameBytes != 0 =>
                $"\"{node.Text}\" is not a multiple of {FrameBytes} bytes, a frame.",
            _ when isInside => null,
            _ => _format.Type == OptionType.Integer ? Whole() : $"It must be {option!.Range}.",
        };
    }

    private string Whole() => option switch
    {
        { Min: { } min, Max: { } max } when _format.Compare(min, max) == 0 => $"It can only be {_format.Format(min)} in this version.",
        { Range: { Length: > 0 } range } => $"It must be a whole number {range}.",
        _ => $"It must be {_format.Wanted}.",
    };
}
