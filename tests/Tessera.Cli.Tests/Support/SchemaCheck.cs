using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Tessera.Cli.Tests.Support;

/// <summary>Validates JSON against a schema that uses the keywords ours does; an unknown keyword fails, so that nothing goes unchecked.</summary>
internal sealed class SchemaCheck(JsonObject root)
{
    private static readonly string[] Annotations = ["$schema", "$defs", "title", "description", "default", "examples"];

    public static readonly JsonDocumentOptions Lenient = new() { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true };

    /// <summary>What is wrong, a line each.</summary>
    public List<string> Validate(JsonNode? instance)
    {
        List<string> problems = [];
        Check(root, instance, "", problems);
        return problems;
    }

    private void Check(JsonObject schema, JsonNode? instance, string path, List<string> problems)
    {
        foreach ((string keyword, JsonNode? value) in schema)
        {
            if (Annotations.Contains(keyword))
                continue;
            Keyword(schema, keyword, value!, instance, path, problems);
        }
    }

    private void Keyword(JsonObject schema, string keyword, JsonNode value, JsonNode? instance, string path, List<string> problems)
    {
        JsonValueKind kind = instance?.GetValueKind() ?? JsonValueKind.Null;
        switch (keyword)
        {
            case "$ref":
                string name = value.GetValue<string>()["#/$defs/".Length..];
                Check(root["$defs"]![name]!.AsObject(), instance, path, problems);
                break;
            case "type":
                bool fits = value.GetValue<string>() switch
                {
                    "object" => kind == JsonValueKind.Object,
                    "array" => kind == JsonValueKind.Array,
                    "string" => kind == JsonValueKind.String,
                    "integer" => kind == JsonValueKind.Number && instance!.GetValue<double>() % 1 == 0,
                    _ => throw new InvalidOperationException($"type {value}"),
                };
                Say(fits, $"{path}: not of type {value}");
                break;
            case "const":
                Say(JsonNode.DeepEquals(value, instance), $"{path}: not {value}");
                break;
            case "anyOf":
                Say(value.AsArray().Any(one => Passes(one!, instance)), $"{path}: none of anyOf");
                break;
            case "oneOf":
                Say(value.AsArray().Count(one => Passes(one!, instance)) == 1, $"{path}: not exactly one of oneOf");
                break;
            case "required" when kind == JsonValueKind.Object:
                foreach (JsonNode? key in value.AsArray())
                    Say(instance!.AsObject().ContainsKey(key!.GetValue<string>()), $"{path}: {key} is missing");
                break;
            case "properties" when kind == JsonValueKind.Object:
                foreach ((string key, JsonNode? member) in instance!.AsObject())
                {
                    if (value[key] is JsonObject property)
                        Check(property, member, $"{path}/{key}", problems);
                }

                break;
            case "additionalProperties" when kind == JsonValueKind.Object:
                foreach ((string key, _) in instance!.AsObject())
                    Say(schema["properties"]![key] is not null, $"{path}: {key} is unknown");
                break;
            case "items" when kind == JsonValueKind.Array:
                int index = 0;
                foreach (JsonNode? item in instance!.AsArray())
                    Check(value.AsObject(), item, $"{path}[{index++}]", problems);
                break;
            case "uniqueItems" when kind == JsonValueKind.Array:
                string[] items = [.. instance!.AsArray().Select(item => item!.ToJsonString())];
                Say(items.Distinct().Count() == items.Length, $"{path}: repeated items");
                break;
            case "minItems" when kind == JsonValueKind.Array:
                Say(instance!.AsArray().Count >= value.GetValue<int>(), $"{path}: too few");
                break;
            case "pattern" when kind == JsonValueKind.String:
                Say(Regex.IsMatch(instance!.GetValue<string>(), value.GetValue<string>()), $"{path}: does not match {value}");
                break;
            case "minLength" when kind == JsonValueKind.String:
                Say(instance!.GetValue<string>().Length >= value.GetValue<int>(), $"{path}: too short");
                break;
            case "maxLength" when kind == JsonValueKind.String:
                Say(instance!.GetValue<string>().Length <= value.GetValue<int>(), $"{path}: too long");
                break;
            case "minimum" when kind == JsonValueKind.Number:
                Say(instance!.GetValue<double>() >= value.GetValue<double>(), $"{path}: below {value}");
                break;
            case "maximum" when kind == JsonValueKind.Number:
                Say(instance!.GetValue<double>() <= value.GetValue<double>(), $"{path}: above {value}");
                break;
            case "required" or "properties" or "additionalProperties" or "items" or "uniqueItems" or "minItems" or "pattern" or "minLength" or "maxLength" or "minimum" or "maximum":
                break;
            default:
                throw new InvalidOperationException($"The keyword {keyword} is not checked here.");
        }

        void Say(bool good, string problem)
        {
            if (!good)
                problems.Add(problem);
        }
    }

    private bool Passes(JsonNode schema, JsonNode? instance)
    {
        List<string> problems = [];
        Check(schema.AsObject(), instance, "", problems);
        return problems.Count == 0;
    }
}
