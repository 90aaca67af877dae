using System.Text;
using System.Text.Json;

namespace Tessera.Cli.Configuration;

/// <summary>Reads JSON with comments and trailing commas into nodes that know their line and column.</summary>
internal static class ConfigurationParser
{
    private const int MaxDepth = 32;

    /// <summary>Parses a whole file.</summary>
    /// <param name="source">The file's name for messages.</param>
    /// <param name="text">Its bytes, UTF-8 with or without a byte order mark.</param>
    /// <param name="errors">Gets what is wrong: at most one syntax error, and every key written twice.</param>
    /// <returns>The document, or null after a syntax error.</returns>
    public static ConfigurationNode? Parse(string source, ReadOnlySpan<byte> text, List<ConfigurationError> errors)
    {
        if (text.StartsWith(Encoding.UTF8.Preamble))
            text = text[Encoding.UTF8.Preamble.Length..];
        return Parse(text, new Lines(source, text.ToArray()), "", errors);
    }

    /// <summary>Parses one value of an edit: JSON if it is JSON, else the words as a string.</summary>
    /// <param name="origin">The edit as the user wrote it.</param>
    /// <param name="text">The part after the equals sign.</param>
    /// <param name="path">The path it is set at.</param>
    public static ConfigurationNode ParseEdit(SourcePosition origin, string text, string path)
    {
        List<ConfigurationError> ignored = [];
        return Parse(Encoding.UTF8.GetBytes(text), new Lines(origin), path, ignored) is { } node && ignored.Count == 0
            ? node
            : new ConfigurationNode(JsonValueKind.String, path, origin, text);
    }

    private static ConfigurationNode? Parse(ReadOnlySpan<byte> text, Lines lines, string path, List<ConfigurationError> errors)
    {
        Utf8JsonReader reader = new(text, new JsonReaderOptions
        {
            CommentHandling = JsonCommentHandling.Skip,
            AllowTrailingCommas = true,
            MaxDepth = MaxDepth,
        });
        try
        {
            reader.Read();
            ConfigurationNode document = ReadValue(ref reader, lines, path, lines.At(reader.TokenStartIndex), errors);
            reader.Read();
            return document;
        }
        catch (JsonException e)
        {
            string message = e.Message;
            int details = message.IndexOf(" LineNumber:", StringComparison.Ordinal);
            if (details > 0)
                message = message[..details];
            errors.Add(new(lines.At((int)(e.LineNumber ?? 0), (int)(e.BytePositionInLine ?? 0)), "", $"This is not JSON: {message}",
                "Comments and trailing commas are allowed, everything else is as in RFC 8259."));
            return null;
        }
    }

    private static ConfigurationNode ReadValue(
        ref Utf8JsonReader reader, Lines lines, string path, SourcePosition position, List<ConfigurationError> errors)
    {
        switch (reader.TokenType)
        {
            case JsonTokenType.StartObject:
                ConfigurationNode map = new(JsonValueKind.Object, path, position);
                while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
                {
                    SourcePosition at = lines.At(reader.TokenStartIndex);
                    string key = Text(ref reader, at, path, errors);
                    if (map.Find(key) is { } first)
                        errors.Add(new(at, map.PathOf(key), "The key is written twice.", $"It is already at line {first.Position.Line}; keep one."));
                    reader.Read();
                    map.Set(key, ReadValue(ref reader, lines, map.PathOf(key), at, errors));
                }

                return map;
            case JsonTokenType.StartArray:
                ConfigurationNode list = new(JsonValueKind.Array, path, position);
                while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
                    list.Append(ReadValue(ref reader, lines, $"{path}[{list.Items.Count}]", lines.At(reader.TokenStartIndex), errors));
                return list;
            case JsonTokenType.String:
                return new(JsonValueKind.String, path, position, Text(ref reader, lines.At(reader.TokenStartIndex), path, errors));
            case JsonTokenType.Number:
                return new(JsonValueKind.Number, path, position, Encoding.UTF8.GetString(reader.ValueSpan));
            case JsonTokenType.True:
                return new(JsonValueKind.True, path, position);
            case JsonTokenType.False:
                return new(JsonValueKind.False, path, position);
            default:
                return new(JsonValueKind.Null, path, position);
        }
    }

    /// <summary>A string, which nothing takes as anything but Unicode, nor with the character that ends a path.</summary>
    private static string Text(ref Utf8JsonReader reader, SourcePosition at, string path, List<ConfigurationError> errors)
    {
        try
        {
            string text = reader.GetString()!;
            if (!text.Contains('\0', StringComparison.Ordinal))
                return text;
            errors.Add(new(at, path, "This string has the character U+0000 in it.", "No text here can have it: leave it out."));
        }
        catch (InvalidOperationException)
        {
            errors.Add(new(at, path, "This string is not valid Unicode: it has half of a surrogate pair (\\ud800 to \\udfff), or bytes that are not UTF-8.", "Save the file as UTF-8, or write both halves."));
        }

        return "";
    }

    /// <summary>Byte offsets of a text as lines and columns; or one fixed origin for an edit.</summary>
    private sealed class Lines
    {
        private readonly SourcePosition _origin;
        private readonly byte[]? _text;
        private readonly List<int> _starts = [0];

        public Lines(string source, byte[] text)
        {
            _origin = new(source, 1, 1);
            _text = text;
            for (int index = 0; index < text.Length; index++)
            {
                if (text[index] == (byte)'\n')
                    _starts.Add(index + 1);
            }
        }

        public Lines(SourcePosition origin) => _origin = origin;

        public SourcePosition At(long offset)
        {
            if (_text is null)
                return _origin;
            int found = _starts.BinarySearch((int)offset);
            int line = found >= 0 ? found : ~found - 1;
            return At(line, (int)offset - _starts[line]);
        }

        public SourcePosition At(int line, int byteInLine)
        {
            if (_text is null)
                return _origin;
            line = Math.Clamp(line, 0, _starts.Count - 1);
            int start = _starts[line];
            int length = Math.Clamp(byteInLine, 0, _text.Length - start);
            return new(_origin.Source, line + 1, Encoding.UTF8.GetCharCount(_text, start, length) + 1);
        }
    }
}
