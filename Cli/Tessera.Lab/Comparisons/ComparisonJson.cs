using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Tessera.Lab.Comparisons;

/// <summary>Comparisons as JSON, generated at build.</summary>
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, RespectNullableAnnotations = true)]
[JsonSerializable(typeof(ComparisonDocument))]
public sealed partial class ComparisonJson : JsonSerializerContext
{
    private static ComparisonJson Context { get; } = new(new JsonSerializerOptions
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        RespectNullableAnnotations = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    });

    /// <summary>The document as text, ending with a line feed.</summary>
    public static string Write(ComparisonDocument document) => JsonSerializer.Serialize(document, Context.ComparisonDocument) + "\n";

    /// <summary>Reads a document back.</summary>
    /// <exception cref="JsonException">Not a comparison, or keys are missing.</exception>
    public static ComparisonDocument Read(string text)
    {
        JsonFaults.Check(Encoding.UTF8.GetBytes(text), typeof(ComparisonDocument), Context.Options);
        return JsonSerializer.Deserialize(text, Context.ComparisonDocument) ?? throw new JsonException("The file holds null instead of a comparison.");
    }
}
