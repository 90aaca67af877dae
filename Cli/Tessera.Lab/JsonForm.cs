using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Tessera.Lab;

/// <summary>How all JSON of the command line looks: camelCase, indented, text readable as it is (it is never embedded in HTML).</summary>
public static class JsonForm
{
    /// <summary>Fresh options for a generated context.</summary>
    public static JsonSerializerOptions Options() => new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        Converters = { new CamelCaseEnums() },
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    private sealed class CamelCaseEnums() : JsonStringEnumConverter(JsonNamingPolicy.CamelCase);
}
