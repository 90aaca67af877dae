using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Tessera.Experiments.Configuration;

/// <summary>The published JSON Schema (draft 2020-12), made from <see cref="ConfigurationKeys"/> and written to docs/tessera.schema.json.</summary>
public static class ConfigurationSchema
{
    private static readonly JsonSerializerOptions Form = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The schema's text.</summary>
    public static string Text()
    {
        JsonObject schema = new()
        {
            ["$schema"] = "https://json-schema.org/draft/2020-12/schema",
            ["title"] = "Tessera experiment",
        };
        Describe(schema, ConfigurationKeys.Document);
        JsonObject definitions = [];
        foreach (ConfigurationSection section in ConfigurationKeys.Sections)
        {
            JsonObject definition = [];
            Describe(definition, section);
            definitions[section.Name] = definition;
        }

        JsonObject domain = definitions[ConfigurationKeys.DomainSection.Name]!.AsObject();
        domain["oneOf"] = new JsonArray(Needs(ConfigurationKeys.Guest), Needs(ConfigurationKeys.Kernel));
        schema["$defs"] = definitions;
        return schema.ToJsonString(Form) + "\n";
    }

    private static JsonObject Needs(string key) => new() { ["required"] = new JsonArray(key) };

    private static void Describe(JsonObject target, ConfigurationSection section)
    {
        target["description"] = section.Summary;
        target["type"] = "object";
        JsonObject properties = [];
        foreach (ConfigurationKey key in section.Keys)
        {
            JsonObject property = new() { ["description"] = key.Summary };
            foreach ((string name, JsonNode? value) in JsonNode.Parse(key.Schema)!.AsObject())
                property[name] = value?.DeepClone();
            if (key.Default is not null)
                property["default"] = JsonNode.Parse(key.Default);
            properties[key.Name] = property;
        }

        target["properties"] = properties;
        if (section.Required.Length > 0)
            target["required"] = new JsonArray([.. section.Required.Select(key => JsonValue.Create(key))]);
        target["additionalProperties"] = false;
    }
}
