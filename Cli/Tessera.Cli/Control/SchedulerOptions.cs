using System.Buffers;
using System.Text.Json;
using System.Text.Json.Nodes;
using Tessera.Experiments.Configuration;
using Tessera.Hosting;

namespace Tessera.Cli.Control;

/// <summary>A scheduler's options between their records and what people write.</summary>
internal static class SchedulerOptions
{
    /// <summary>A record as a configuration would write it; its defaults for null.</summary>
    public static JsonObject Written(Type type, object? options)
    {
        ArrayBufferWriter<byte> buffer = new();
        using (Utf8JsonWriter writer = new(buffer))
            OptionBinder.Write(writer, options ?? OptionBinder.Bind(type, default, "", [])!);
        return JsonNode.Parse(buffer.WrittenSpan)!.AsObject();
    }

    /// <summary>A value as it was typed: JSON where it is JSON, else a text.</summary>
    public static JsonNode? Typed(string value) =>
        JsonNode.Parse(ConfigurationParser.ParseEdit(new SourcePosition("ctl", 0, 0), value, "").ToElement().GetRawText());

    /// <summary>A record of what was written.</summary>
    /// <param name="type">The record's type; null when there are no options.</param>
    /// <param name="written">The options.</param>
    /// <param name="path">Where they stand, for messages.</param>
    /// <param name="problems">Gets what is wrong, a sentence each.</param>
    public static object? Bind(Type? type, JsonObject written, string path, List<string> problems)
    {
        List<ConfigurationProblem> found = [];
        using JsonDocument document = JsonDocument.Parse(written.ToJsonString());
        object? options = OptionBinder.Bind(type, document.RootElement, path, found);
        problems.AddRange(found.Select(problem => $"{problem.Path} {problem.Message}"));
        return options;
    }

    /// <summary>Refuses when something is wrong.</summary>
    /// <exception cref="ControlException">Something is.</exception>
    public static void Require(List<string> problems)
    {
        if (problems.Count > 0)
            throw new ControlException(ControlCode.Refused, $"{string.Join("; ", problems)}. Nothing was changed.");
    }
}
