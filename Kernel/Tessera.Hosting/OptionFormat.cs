using System.Globalization;
using System.Net;
using System.Numerics;
using System.Text.Json;
using System.Text.Json.Nodes;
using Tessera.Sdk;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Hosting;

/// <summary>
/// How the values of one .NET type stand in JSON: read, written, compared with bounds, described by a schema. The same for options
/// of plugins and keys of a configuration.
/// </summary>
public abstract class OptionFormat
{
    /// <summary>The types that have one, in words.</summary>
    internal const string Types =
        "bool, int, long, ulong, double, string, an enum, Nanoseconds, ByteSize, MacAddress, IPAddress or DateTimeOffset";

    private static readonly string[] Dates = ["yyyy-MM-dd'T'HH:mm:ssK", "yyyy-MM-dd'T'HH:mm:ss.fffffffK"];

    private protected OptionFormat(OptionType type) => Type = type;

    /// <summary>What JSON value it takes.</summary>
    public OptionType Type { get; }

    /// <summary>The units a value may be written in; empty for a plain value.</summary>
    public virtual string Unit => "";

    /// <summary>The values of a choice; empty for others.</summary>
    public virtual IReadOnlyList<string> Choices => [];

    /// <summary>What a value is, as "It must be …" goes on.</summary>
    public abstract string Wanted { get; }

    /// <summary>What to write in place of a text that is none; empty when <see cref="Wanted"/> says it.</summary>
    public virtual string Cure => "";

    /// <summary>The bound that holds when the author names none.</summary>
    internal virtual object? ImplicitMin => null;

    /// <summary>The format of a property's type; null when there is none.</summary>
    public static OptionFormat? For(Type type) =>
        type == typeof(bool) ? new BooleanFormat()
        : type == typeof(int) ? Whole<int>()
        : type == typeof(long) ? Whole<long>()
        : type == typeof(ulong) ? Whole<ulong>()
        : type == typeof(double) ? new NumberFormat<double>(OptionType.Number, NumberStyles.Float, "a number")
        : type == typeof(string) ? new TextFormat()
        : type == typeof(Nanoseconds) ? new UnitFormat<Nanoseconds>(
            OptionType.Duration, NanosecondsText.Units, "ms", NanosecondsText.TryParse, time => time.Value, NanosecondsText.Format,
            "a time with its unit, such as \"5 ms\"",
            """
            {"type":"string","pattern":"^\\s*(0|never|[0-9]+(\\.[0-9]+)?\\s*(ns|us|µs|μs|ms|s|min))\\s*$","examples":["10 s","5 ms","250 us"]}
            """)
        : type == typeof(ByteSize) ? new UnitFormat<ByteSize>(
            OptionType.Size, ByteSizeText.Units, "MiB", ByteSizeText.TryParse, size => size.Bytes, size => size.ToString(),
            "a size with its unit, such as \"256 MiB\"",
            """{"type":"string","pattern":"^\\s*[0-9]+(\\.[0-9]+)?\\s*(B|KiB|MiB|GiB|TiB)\\s*$","examples":["256 MiB","1 GiB"]}""")
        : type == typeof(MacAddress) ? new ParsedFormat(
            "the address of a single station",
            "Write six bytes such as 00:16:3e:00:00:01, the first of them even.",
            text => MacAddress.TryParse(text, out MacAddress address) && !address.IsGroup && address.Value != 0 ? address : null,
            """{"type":"string","pattern":"^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$"}""")
        // An IPv4 address in fewer than four parts is read as another than one would think.
        : type == typeof(IPAddress) ? new ParsedFormat(
            "an IP address such as \"10.0.0.1\"",
            "",
            text => (text.Contains(':') || text.Count(letter => letter == '.') == 3) && IPAddress.TryParse(text, out IPAddress? address)
                ? address : null,
            """{"type":"string"}""")
        : type == typeof(DateTimeOffset) ? new ParsedFormat(
            "a date and time from 1970 on",
            "Write one such as \"2026-01-01T00:00:00Z\".",
            text => DateTimeOffset.TryParseExact(text, Dates, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var at)
                && at >= DateTimeOffset.UnixEpoch ? at.ToUniversalTime() : null,
            """{"type":"string","format":"date-time"}""")
        : type.IsEnum ? new ChoiceFormat(type)
        : null;

    /// <summary>Reads a JSON value.</summary>
    /// <param name="kind">What it is.</param>
    /// <param name="text">The value of a string, the digits of a number, else empty.</param>
    /// <param name="value">The value; some other of the type when it cannot be read.</param>
    /// <param name="problem">What is wrong and what would be right; empty when nothing is.</param>
    public abstract bool TryRead(JsonValueKind kind, string text, out object value, out string problem);

    /// <summary>A value as a configuration would write it, without quotes.</summary>
    public virtual string Format(object? value) => value?.ToString() ?? "";

    /// <summary>Writes a value.</summary>
    public virtual void Write(Utf8JsonWriter writer, object value) => writer.WriteStringValue(Format(value));

    /// <summary>What JSON Schema says of the values.</summary>
    /// <param name="min">The least; null for no bound.</param>
    /// <param name="max">The greatest; null for no bound.</param>
    public abstract JsonObject Schema(object? min, object? max);

    /// <summary>The order of two values; 0 for types without one.</summary>
    public virtual int Compare(object left, object right) => 0;

    /// <summary>Reads a bound of an attribute; false when the text is wrong or the type has no order.</summary>
    internal virtual bool TryParseBound(string text, out object value)
    {
        value = text;
        return false;
    }

    private protected static string Shown(JsonValueKind kind, string text) => kind switch
    {
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => "an array",
        JsonValueKind.String => $"the string \"{text}\"",
        JsonValueKind.Number => text,
        _ => kind.ToString().ToLowerInvariant(),
    };

    private protected bool Answer(bool isGood, JsonValueKind kind, string text, out string problem)
    {
        problem = isGood ? "" : $"must be {Wanted}, not {Shown(kind, text)}";
        return isGood;
    }

    private sealed class BooleanFormat() : OptionFormat(OptionType.Boolean)
    {
        public override string Wanted => "true or false";

        public override bool TryRead(JsonValueKind kind, string text, out object value, out string problem)
        {
            value = kind == JsonValueKind.True;
            return Answer(kind is JsonValueKind.True or JsonValueKind.False, kind, text, out problem);
        }

        public override string Format(object? value) => value is true ? "true" : "false";

        public override void Write(Utf8JsonWriter writer, object value) => writer.WriteBooleanValue(value is true);

        public override JsonObject Schema(object? min, object? max) => new() { ["type"] = "boolean" };
    }

    private sealed class NumberFormat<T>(OptionType type, NumberStyles style, string wanted) : OptionFormat(type)
        where T : struct, INumber<T>
    {
        public override string Wanted => wanted;

        public override bool TryRead(JsonValueKind kind, string text, out object value, out string problem)
        {
            bool good = TryParseBound(text, out value) && kind == JsonValueKind.Number;
            return Answer(good, kind, text, out problem);
        }

        public override string Format(object? value) => ((T)value!).ToString(null, CultureInfo.InvariantCulture);

        public override void Write(Utf8JsonWriter writer, object value) => writer.WriteRawValue(Format(value));

        public override JsonObject Schema(object? min, object? max)
        {
            JsonObject schema = new() { ["type"] = Type.ToString().ToLowerInvariant() };
            if (min is not null)
                schema["minimum"] = JsonNode.Parse(Format(min));
            if (max is not null)
                schema["maximum"] = JsonNode.Parse(Format(max));
            return schema;
        }

        public override int Compare(object left, object right) => ((T)left).CompareTo((T)right);

        internal override bool TryParseBound(string text, out object value)
        {
            bool good = T.TryParse(text, style, CultureInfo.InvariantCulture, out T number) && T.IsFinite(number);
            value = number;
            return good;
        }
    }

    private sealed class TextFormat() : OptionFormat(OptionType.Text)
    {
        public override string Wanted => "a string";

        public override bool TryRead(JsonValueKind kind, string text, out object value, out string problem)
        {
            value = text;
            return Answer(kind == JsonValueKind.String, kind, text, out problem);
        }

        public override JsonObject Schema(object? min, object? max) => new() { ["type"] = "string" };
    }

    private delegate bool TryParse<T>(string? text, out T value, out string problem);

    /// <summary>A number with its unit, in a string.</summary>
    private sealed class UnitFormat<T>(
        OptionType type,
        string units,
        string usual,
        TryParse<T> parse,
        Func<T, long> count,
        Func<T, string> format,
        string wanted,
        string schema)
        : OptionFormat(type)
        where T : struct
    {
        public override string Unit => units;

        public override string Wanted => wanted;

        internal override object ImplicitMin => default(T);

        public override bool TryRead(JsonValueKind kind, string text, out object value, out string problem)
        {
            value = default(T);
            if (kind == JsonValueKind.String)
            {
                bool good = parse(text, out T read, out problem);
                value = read;
                return good;
            }

            bool isZero = Type == OptionType.Duration && kind == JsonValueKind.Number && text == "0";
            Answer(isZero, kind, text, out problem);
            if (kind == JsonValueKind.Number && !isZero)
                problem = $"{text} has no unit; write a string with one of {Unit}, such as \"{text} {usual}\"";
            return isZero;
        }

        public override string Format(object? value) => format((T)value!);

        public override JsonObject Schema(object? min, object? max) => JsonNode.Parse(schema)!.AsObject();

        public override int Compare(object left, object right) => count((T)left).CompareTo(count((T)right));

        internal override bool TryParseBound(string text, out object value)
        {
            bool good = parse(text, out T read, out _);
            value = read;
            return good;
        }
    }

    private sealed class ChoiceFormat(Type enumeration) : OptionFormat(OptionType.Choice)
    {
        public override IReadOnlyList<string> Choices { get; } = [.. Enum.GetNames(enumeration).Select(JsonNamingPolicy.CamelCase.ConvertName)];

        public override string Wanted => $"one of {string.Join(", ", Choices.Select(Quoted))}";

        public override string Cure => $"Write {string.Join(" or ", Choices.Select(Quoted))}.";

        public override bool TryRead(JsonValueKind kind, string text, out object value, out string problem)
        {
            foreach (string name in kind == JsonValueKind.String ? Enum.GetNames(enumeration) : [])
            {
                if (text == JsonNamingPolicy.CamelCase.ConvertName(name) || text == JsonNamingPolicy.KebabCaseLower.ConvertName(name))
                {
                    value = Enum.Parse(enumeration, name);
                    return Answer(true, kind, text, out problem);
                }
            }

            value = Enum.ToObject(enumeration, 0);
            Answer(false, kind, text, out problem);
            if (kind == JsonValueKind.String && Suggestion.Nearest(text, Choices) is { } near)
                problem += $"; did you mean \"{near}\"?";
            return false;
        }

        public override string Format(object? value) => JsonNamingPolicy.CamelCase.ConvertName(value!.ToString()!);

        public override JsonObject Schema(object? min, object? max) =>
            new() { ["anyOf"] = new JsonArray([.. Choices.Select(choice => new JsonObject { ["const"] = choice })]) };

        private static string Quoted(string choice) => $"\"{choice}\"";
    }

    /// <summary>A string that a function reads.</summary>
    private sealed class ParsedFormat(string wanted, string cure, Func<string, object?> parse, string schema)
        : OptionFormat(OptionType.Text)
    {
        public override string Wanted => wanted;

        public override string Cure => cure;

        public override bool TryRead(JsonValueKind kind, string text, out object value, out string problem)
        {
            object? read = kind == JsonValueKind.String ? parse(text) : null;
            value = read!;
            return Answer(read is not null, kind, text, out problem);
        }

        public override string Format(object? value) => value is DateTimeOffset time
            ? time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture)
            : base.Format(value);

        public override JsonObject Schema(object? min, object? max) => JsonNode.Parse(schema)!.AsObject();
    }

    private static NumberFormat<T> Whole<T>()
        where T : struct, INumber<T>, IMinMaxValue<T> =>
        new(OptionType.Integer, NumberStyles.AllowLeadingSign, $"a whole number from {T.MinValue} to {T.MaxValue}");
}
