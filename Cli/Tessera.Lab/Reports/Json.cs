using System.Text.Json;

namespace Tessera.Lab.Reports;

/// <summary>
/// Reads documents of any version: a key that is missing reads as nothing, since within a format keys are only ever added and older folders stay
/// readable.
/// </summary>
public static class Json
{
    /// <summary>The value below some keys; null when a key is missing or the value is null.</summary>
    public static JsonElement? At(this JsonElement element, params ReadOnlySpan<string> keys)
    {
        foreach (string key in keys)
        {
            if (element.ValueKind != JsonValueKind.Object || !element.TryGetProperty(key, out element))
                return null;
        }

        return element.ValueKind == JsonValueKind.Null ? null : element;
    }

    /// <summary>A text below some keys.</summary>
    public static string? Text(this JsonElement element, params ReadOnlySpan<string> keys) =>
        element.At(keys) is { } value ? value.ValueKind == JsonValueKind.String ? value.GetString() : value.GetRawText() : null;

    /// <summary>A number below some keys.</summary>
    public static double? Number(this JsonElement element, params ReadOnlySpan<string> keys) =>
        element.At(keys) is { ValueKind: JsonValueKind.Number } value ? value.GetDouble() : null;

    /// <summary>A list below some keys; empty when it is missing.</summary>
    public static IReadOnlyList<JsonElement> List(this JsonElement element, params ReadOnlySpan<string> keys) =>
        element.At(keys) is { ValueKind: JsonValueKind.Array } value ? [.. value.EnumerateArray()] : [];

    /// <summary>Keys and values below some keys; empty when they are missing.</summary>
    public static IReadOnlyList<JsonProperty> Entries(this JsonElement element, params ReadOnlySpan<string> keys) =>
        element.At(keys) is { ValueKind: JsonValueKind.Object } value ? [.. value.EnumerateObject()] : [];
}
