using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace Tessera.Lab;

/// <summary>What the serialiser does not look at in a file that may be anybody's.</summary>
public static class JsonFaults
{
    /// <summary>Looks at a whole file.</summary>
    /// <exception cref="JsonException">It is no JSON, or has such a fault; the message says where.</exception>
    public static void Check(byte[] text, Type type, JsonSerializerOptions options)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(text);
            if (Of(document.RootElement, type, options) is { } fault)
                throw new JsonException($"{fault.Place.TrimStart('.')} {fault.What}.");
        }
        catch (InvalidOperationException e)
        {
            // Half a surrogate pair, which is JSON and no text.
            throw new JsonException(e.Message, e);
        }
    }

    /// <summary>
    /// The first fault of what is read: an item of a list that is null, half a surrogate pair, a number without a place among the doubles. A member
    /// that is null is the serialiser's to judge, and what a newer version added is nobody's.
    /// </summary>
    /// <param name="element">What is read.</param>
    /// <param name="type">What it is read as.</param>
    /// <param name="options">How.</param>
    /// <returns>Where, below the element, and what it is; null for none. The place is put together only then: names may be millions of letters.</returns>
    public static (string Place, string What)? Of(JsonElement element, Type type, JsonSerializerOptions options)
    {
        JsonTypeInfo info = options.GetTypeInfo(type);
        // The configuration is any JSON.
        bool isFree = type == typeof(JsonElement);
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                foreach (JsonProperty member in element.EnumerateObject())
                {
                    Type? inner = isFree ? type : info.ElementType ?? info.Properties.FirstOrDefault(property => member.NameEquals(property.Name))?.PropertyType;
                    if (inner is not null && Of(member.Value, inner, options) is { } fault)
                        return ($".{member.Name}{fault.Place}", fault.What);
                }

                return null;
            case JsonValueKind.Array:
                foreach ((int index, JsonElement item) in element.EnumerateArray().Index())
                {
                    if (item.ValueKind == JsonValueKind.Null && !isFree)
                        return ($"[{index}]", "is null");
                    Type? inner = isFree ? type : info.ElementType;
                    if (inner is not null && Of(item, inner, options) is { } fault)
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
}
