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
        if (JsonFaults.Of(root, typeof(ResultDocument), Reading) is { } fault)
            throw new JsonException($"{fault.Place.TrimStart('.')} {fault.What}.");
    }

    /// <summary>What may be null may be missing: within a format keys are only ever added, and older folders stay readable.</summary>
    private static void LetNullsBeMissing(JsonTypeInfo type)
    {
        foreach (JsonPropertyInfo property in type.Properties)
            property.IsRequired &= !property.IsSetNullable;
    }
}
