using System.Text.Json;
using System.Text.Json.Serialization;

namespace Tessera.Lab.Results;

/// <summary>Serialisation of results, generated at build: no reflection, the same keys everywhere.</summary>
[JsonSourceGenerationOptions(
    WriteIndented = true,
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    UseStringEnumConverter = true)]
[JsonSerializable(typeof(ResultDocument))]
public sealed partial class ResultJson : JsonSerializerContext
{
    public static ResultJson Context { get; } = new(JsonForm.Options());

    /// <summary>The document as text, ending with a line feed.</summary>
    public static string Write(ResultDocument document) => JsonSerializer.Serialize(document, Context.ResultDocument) + "\n";

    /// <summary>Reads a document back.</summary>
    /// <exception cref="JsonException">Not a result, or keys are missing.</exception>
    public static ResultDocument Read(string text) => JsonSerializer.Deserialize(text, Context.ResultDocument)
        ?? throw new JsonException("The file holds null instead of a result.");
}
