using System.Globalization;
using System.Text;
using System.Text.Json;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Hosting;

/// <summary>How the values of one .NET type stand in a configuration.</summary>
internal abstract class OptionFormat(OptionType type)
{
    public OptionType Type { get; } = type;

    public virtual string Unit => "";

    public virtual IReadOnlyList<string> Choices => [];

    /// <summary>The bound that holds when the author names none.</summary>
    public virtual object? ImplicitMin => null;

    /// <summary>The format of a property's type, or null when there is none.</summary>
    public static OptionFormat? For(Type type) =>
        type == typeof(bool) ? new BooleanFormat()
        : type == typeof(int) ? new IntegerFormat<int>()
        : type == typeof(long) ? new IntegerFormat<long>()
        : type == typeof(double) ? new DoubleFormat()
        : type == typeof(string) ? new TextFormat()
        : type == typeof(Nanoseconds) ? new DurationFormat()
        : type == typeof(ByteSize) ? new SizeFormat()
        : type.IsEnum ? new ChoiceFormat(type)
        : null;

    /// <summary>Reads a JSON value; else says what is wrong.</summary>
    public abstract bool TryRead(JsonElement json, out object value, out string problem);

    /// <summary>Reads a bound of an attribute; false when the text is wrong or the type has no order.</summary>
    public virtual bool TryParseBound(string text, out object value)
    {
        value = text;
        return false;
    }

    public virtual int Compare(object left, object right) => 0;

    public virtual string Format(object? value) => value?.ToString() ?? "";

    protected static string Shown(JsonElement json) => json.ValueKind switch
    {
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => "an array",
        JsonValueKind.Null => "null",
        JsonValueKind.String => $"the string \"{json.GetString()}\"",
        _ => json.GetRawText(),
    };

    private sealed class BooleanFormat() : OptionFormat(OptionType.Boolean)
    {
        public override bool TryRead(JsonElement json, out object value, out string problem)
        {
            value = json.ValueKind == JsonValueKind.True;
            bool good = json.ValueKind is JsonValueKind.True or JsonValueKind.False;
            problem = good ? "" : $"must be true or false, not {Shown(json)}";
            return good;
        }

        public override string Format(object? value) => value is true ? "true" : "false";
    }

    private sealed class IntegerFormat<T>() : OptionFormat(OptionType.Integer)
        where T : struct, System.Numerics.IBinaryInteger<T>, System.Numerics.IMinMaxValue<T>
    {
        public override bool TryRead(JsonElement json, out object value, out string problem)
        {
            value = T.Zero;
            if (json.ValueKind == JsonValueKind.Number && T.TryParse(json.GetRawText(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out T number))
            {
                value = number;
                problem = "";
                return true;
            }

            problem = $"must be a whole number from {T.MinValue} to {T.MaxValue}, not {Shown(json)}";
            return false;
        }

        public override bool TryParseBound(string text, out object value)
        {
            bool good = T.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out T number);
            value = number;
            return good;
        }

        public override int Compare(object left, object right) => ((T)left).CompareTo((T)right);
    }

    private sealed class DoubleFormat() : OptionFormat(OptionType.Number)
    {
        public override bool TryRead(JsonElement json, out object value, out string problem)
        {
            double number = 0;
            bool good = json.ValueKind == JsonValueKind.Number && json.TryGetDouble(out number) && double.IsFinite(number);
            value = number;
            problem = good ? "" : $"must be a number, not {Shown(json)}";
            return good;
        }

        public override bool TryParseBound(string text, out object value)
        {
            bool good = double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && double.IsFinite(number);
            value = number;
            return good;
        }

        public override int Compare(object left, object right) => ((double)left).CompareTo((double)right);

        public override string Format(object? value) => ((double)value!).ToString("R", CultureInfo.InvariantCulture);
    }

    private sealed class TextFormat() : OptionFormat(OptionType.Text)
    {
        public override bool TryRead(JsonElement json, out object value, out string problem)
        {
            bool good = json.ValueKind == JsonValueKind.String;
            value = good ? json.GetString()! : "";
            problem = good ? "" : $"must be a string, not {Shown(json)}";
            return good;
        }
    }

    private sealed class DurationFormat() : OptionFormat(OptionType.Duration)
    {
        public override string Unit => NanosecondsText.Units;

        public override object ImplicitMin => Nanoseconds.Zero;

        public override bool TryRead(JsonElement json, out object value, out string problem)
        {
            value = Nanoseconds.Zero;
            switch (json.ValueKind)
            {
                case JsonValueKind.String:
                    bool good = NanosecondsText.TryParse(json.GetString(), out Nanoseconds time, out problem);
                    value = time;
                    return good;
                case JsonValueKind.Number when json.GetRawText() == "0":
                    problem = "";
                    return true;
                case JsonValueKind.Number:
                    problem = $"{json.GetRawText()} has no unit; write a string with one of {Unit}, such as \"{json.GetRawText()} ms\"";
                    return false;
                default:
                    problem = $"must be a time with its unit, such as \"5 ms\", not {Shown(json)}";
                    return false;
            }
        }

        public override bool TryParseBound(string text, out object value)
        {
            bool good = NanosecondsText.TryParse(text, out Nanoseconds time);
            value = time;
            return good;
        }

        public override int Compare(object left, object right) => ((Nanoseconds)left).CompareTo((Nanoseconds)right);

        public override string Format(object? value) => NanosecondsText.Format((Nanoseconds)value!);
    }

    private sealed class SizeFormat() : OptionFormat(OptionType.Size)
    {
        public override string Unit => ByteSizeText.Units;

        public override object ImplicitMin => default(ByteSize);

        public override bool TryRead(JsonElement json, out object value, out string problem)
        {
            value = default(ByteSize);
            if (json.ValueKind == JsonValueKind.String)
            {
                bool good = ByteSizeText.TryParse(json.GetString(), out ByteSize size, out problem);
                value = size;
                return good;
            }

            problem = json.ValueKind == JsonValueKind.Number
                ? $"{json.GetRawText()} has no unit; write a string with one of {Unit}, such as \"{json.GetRawText()} MiB\""
                : $"must be a size with its unit, such as \"256 MiB\", not {Shown(json)}";
            return false;
        }

        public override bool TryParseBound(string text, out object value)
        {
            bool good = ByteSizeText.TryParse(text, out ByteSize size);
            value = size;
            return good;
        }

        public override int Compare(object left, object right) => ((ByteSize)left).Bytes.CompareTo(((ByteSize)right).Bytes);
    }

    private sealed class ChoiceFormat(Type enumeration) : OptionFormat(OptionType.Choice)
    {
        public override IReadOnlyList<string> Choices { get; } = [.. Enum.GetNames(enumeration).Select(JsonNamingPolicy.CamelCase.ConvertName)];

        public override bool TryRead(JsonElement json, out object value, out string problem)
        {
            problem = "";
            string? text = json.ValueKind == JsonValueKind.String ? json.GetString() : null;
            foreach (string name in Enum.GetNames(enumeration))
            {
                if (text == JsonNamingPolicy.CamelCase.ConvertName(name) || text == JsonNamingPolicy.KebabCaseLower.ConvertName(name))
                {
                    value = Enum.Parse(enumeration, name);
                    return true;
                }
            }

            value = Enum.ToObject(enumeration, 0);
            string choices = string.Join(", ", Choices.Select(choice => $"\"{choice}\""));
            string nearest = text is not null && Suggestion.Nearest(text, Choices) is { } near ? $"; did you mean \"{near}\"?" : "";
            problem = $"must be one of {choices}, not {Shown(json)}{nearest}";
            return false;
        }

        public override string Format(object? value) => JsonNamingPolicy.CamelCase.ConvertName(value!.ToString()!);
    }
}
