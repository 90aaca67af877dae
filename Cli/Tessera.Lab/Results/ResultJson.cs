using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;

namespace Tessera.Lab.Results;

/// <summary>Results as JSON, generated at build: no reflection, the same keys everywhere.</summary>
[JsonSourceGenerationOptions(
    WriteIndented = true,
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    UseStringEnumConverter = true)]
[JsonSerializable(typeof(ResultDocument))]
public sealed partial class ResultJson : JsonSerializerContext
{
    private static readonly ResultJson Writing = new(JsonForm.Options());

    private static readonly JsonSerializerOptions Reading = new(JsonForm.Options())
    {
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
        TypeInfoResolver = new ResultJson().WithAddedModifier(LetNullsBeMissing),
    };

    /// <summary>The document as text, ending with a line feed.</summary>
    public static string Write(ResultDocument document) => JsonSerializer.Serialize(document, Writing.ResultDocument) + "\n";

    /// <summary>Reads a document back. It may be anybody's.</summary>
    /// <exception cref="JsonException">
    /// It is no result: not JSON, of another format, or a key is missing or of another kind; the message says which.
    /// </exception>
    public static ResultDocument Read(string text) => Read(Encoding.UTF8.GetBytes(text));

    /// <inheritdoc cref="Read(string)"/>
    public static ResultDocument Read(byte[] text)
    {
        try
        {
            Check(text);
            return JsonSerializer.Deserialize(text, (JsonTypeInfo<ResultDocument>)Reading.GetTypeInfo(typeof(ResultDocument)))!;
        }
        catch (InvalidOperationException e)
        {
            // Half a surrogate pair, which is JSON and no text.
            throw new JsonException(e.Message, e);
        }
    }

    /// <summary>What the serialiser does not look at: the format, of which it says less than the first key that is missing, lists and texts.</summary>
    private static void Check(byte[] text)
    {
        using JsonDocument document = JsonDocument.Parse(text);
        JsonElement root = document.RootElement;
        string? schema = root.ValueKind == JsonValueKind.Object && root.TryGetProperty("schema", out JsonElement value)
            ? value.ToString()
            : null;
        if (schema != Results.ResultDocument.Format)
            throw new JsonException($"its \"schema\" is \"{schema}\"; a run's result has \"{Results.ResultDocument.Format}\".");
        if (FaultOf(root, typeof(ResultDocument)) is { } fault)
            throw new JsonException($"{fault.Place.TrimStart('.')} {fault.What}.");
    }

    /// <summary>
    /// The first fault of what is read: an item of a list that is null, half a surrogate pair, a number without a place among the doubles. A member
    /// that is null is the serialiser's to judge, and what a newer version added is nobody's.
    /// </summary>
    /// <returns>Where, below the element, and what it is; null for none. The place is put together only then: names may be millions of letters.</returns>
    private static (string Place, string What)? FaultOf(JsonElement element, Type type)
    {
        JsonTypeInfo info = Reading.GetTypeInfo(type);
        // The configuration is any JSON.
        bool isFree = type == typeof(JsonElement);
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                foreach (JsonProperty member in element.EnumerateObject())
                {
                    Type? inner = isFree ? type : info.ElementType ?? info.Properties.FirstOrDefault(property => member.NameEquals(property.Name))?.PropertyType;
                    if (inner is not null && FaultOf(member.Value, inner) is { } fault)
                        return ($".{member.Name}{fault.Place}", fault.What);
                }

                return null;
            case JsonValueKind.Array:
                foreach ((int index, JsonElement item) in element.EnumerateArray().Index())
                {
                    if (item.ValueKind == JsonValueKind.Null && !isFree)
                        return ($"[{index}]", "is null");
                    Type? inner = isFree ? type : info.ElementType;
                    if (inner is not null && FaultOf(item, inner) is { } fault)
                        return ($"[{index}]{fault.Place}", fault.What);
                }

                return null;
            case JsonValueKind.String:
                _ = element.GetString();
                return null;
            case JsonValueKind.Number when !double.IsFinite(element.GetDouble()):
                return ("", "is too large a number");
            default:
                return null;
        }
    }

    /// <summary>What may be null may be missing: within a format keys are only ever added, and older folders stay readable.</summary>
    private static void LetNullsBeMissing(JsonTypeInfo type)
    {
        foreach (JsonPropertyInfo property in type.Properties)
            property.IsRequired &= !property.IsSetNullable;
    }
}
