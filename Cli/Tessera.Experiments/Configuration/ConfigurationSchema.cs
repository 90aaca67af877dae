using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Tessera.Experiments.Configuration;

/// <summary>The JSON Schema (draft 2020-12) that <see cref="Experiment"/> makes, published as docs/tessera.schema.json.</summary>
public static class ConfigurationSchema
{
    private static readonly JsonSerializerOptions Form = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Every object of a configuration, the document first.</summary>
    internal static IReadOnlyList<ConfigurationSection> Sections { get; } = ConfigurationSection.Of(typeof(Experiment));

    /// <summary>The document itself.</summary>
    internal static ConfigurationSection Document => Sections[0];

    /// <summary>The schema's text.</summary>
    public static string Text()
    {
        JsonObject schema = new()
        {
            ["$schema"] = "https://json-schema.org/draft/2020-12/schema",
            ["title"] = "Tessera experiment",
        };
        Document.Describe(schema);
        JsonObject definitions = [];
        foreach (ConfigurationSection section in Sections.Skip(1))
        {
            JsonObject definition = [];
            section.Describe(definition);
            definitions[section.Name] = definition;
        }

        definitions["domain"]!["oneOf"] = new JsonArray(Needs(nameof(DomainSettings.Guest)), Needs(nameof(DomainSettings.Kernel)));
        schema["$defs"] = definitions;
        return schema.ToJsonString(Form) + "\n";
    }

    private static JsonObject Needs(string property) => new() { ["required"] = new JsonArray(Hosting.OptionEntry.KeyOf(property)) };
}
