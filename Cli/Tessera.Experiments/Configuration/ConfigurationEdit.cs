using System.Globalization;
using System.Text.Json;

namespace Tessera.Experiments.Configuration;

/// <summary>One `--set path=value`: `domains[0].weight=512`, `domains[*].memory=64 MiB`, `scheduler.options.mcu=100 us`.</summary>
/// <remarks>Missing objects on the way are made; the index just past a list's end appends; `[*]` means every item.</remarks>
internal static class ConfigurationEdit
{
    private const string Form = "An edit is path=value, for example domains[0].weight=512 or \"duration=5 s\".";

    /// <summary>Applies one edit to a document in place.</summary>
    /// <param name="document">The document.</param>
    /// <param name="edit">The edit.</param>
    /// <param name="errors">Gets what is wrong with it.</param>
    /// <param name="option">The option that it was given with, for messages.</param>
    public static void Apply(ConfigurationNode document, string edit, List<ConfigurationError> errors, string option = "--set")
    {
        SourcePosition origin = new($"{option} {edit}", 0, 0);
        int equals = edit.IndexOf('=', StringComparison.Ordinal);
        List<Step>? steps = equals > 0 ? ParsePath(edit[..equals].Trim()) : null;
        if (steps is null)
        {
            errors.Add(new(origin, "", "The path of this edit cannot be read.", Form));
            return;
        }

        Descend(document, steps, 0, origin, edit[(equals + 1)..].Trim(), errors);
    }

    private static void Descend(
        ConfigurationNode node, List<Step> steps, int depth, SourcePosition origin, string value, List<ConfigurationError> errors)
    {
        Step step = steps[depth];
        bool last = depth == steps.Count - 1;
        if (step.Key is { } key)
        {
            if (node.Kind != JsonValueKind.Object)
            {
                errors.Add(new(origin, node.Path, $"This is {node.Description}, which has no keys.", "Name a list's item by its index, such as domains[0]."));
                return;
            }

            ConfigurationNode? member = node.Find(key);
            if (last)
                node.Set(key, ConfigurationParser.ParseEdit(origin, value, node.PathOf(key)));
            else if (member is { Kind: JsonValueKind.Object or JsonValueKind.Array })
                Descend(member, steps, depth + 1, origin, value, errors);
            else
                node.Set(key, Fresh(Promote(key, member, origin, node.PathOf(key)), node.PathOf(key), steps, depth, origin, value, errors));
            return;
        }

        if (node.Kind != JsonValueKind.Array)
        {
            errors.Add(new(origin, node.Path, $"This is {node.Description}, which has no items.", "Only lists take an index."));
            return;
        }

        if (step.Index is null)
        {
            for (int item = 0; item < node.Items.Count; item++)
                DescendItem(node, item, last, steps, depth, origin, value, errors);
            return;
        }

        int index = step.Index.Value;
        if (index > node.Items.Count)
        {
            errors.Add(new(origin, node.Path, $"There is no item {index}.", $"Items are numbered from 0; this list has {node.Items.Count}, and index {node.Items.Count} appends one."));
            return;
        }

        if (index == node.Items.Count)
            node.Append(new ConfigurationNode(JsonValueKind.Object, $"{node.Path}[{index}]", origin));
        DescendItem(node, index, last, steps, depth, origin, value, errors);
    }

    private static void DescendItem(
        ConfigurationNode list, int index, bool last, List<Step> steps, int depth, SourcePosition origin, string value, List<ConfigurationError> errors)
    {
        if (last)
            list.Replace(index, ConfigurationParser.ParseEdit(origin, value, $"{list.Path}[{index}]"));
        else
            Descend(list.Items[index], steps, depth + 1, origin, value, errors);
    }

    /// <summary>A name standing for its object ("scheduler": "bvt") keeps its meaning when an edit goes below it.</summary>
    private static ConfigurationNode? Promote(string key, ConfigurationNode? member, SourcePosition origin, string path)
    {
        if (key != "scheduler" || member is not { Kind: JsonValueKind.String })
            return null;
        ConfigurationNode promoted = new(JsonValueKind.Object, path, origin);
        promoted.Set("name", new(JsonValueKind.String, promoted.PathOf("name"), member.Position, member.Text));
        return promoted;
    }

    private static ConfigurationNode Fresh(
        ConfigurationNode? promoted, string path, List<Step> steps, int depth, SourcePosition origin, string value, List<ConfigurationError> errors)
    {
        JsonValueKind kind = steps[depth + 1].Key is null ? JsonValueKind.Array : JsonValueKind.Object;
        ConfigurationNode fresh = promoted ?? new ConfigurationNode(kind, path, origin);
        Descend(fresh, steps, depth + 1, origin, value, errors);
        return fresh;
    }

    private static List<Step>? ParsePath(string path)
    {
        List<Step> steps = [];
        foreach (string part in path.Split('.'))
        {
            int bracket = part.IndexOf('[', StringComparison.Ordinal);
            string key = bracket < 0 ? part : part[..bracket];
            if (key.Length == 0)
                return null;
            steps.Add(new(key, null));
            while (bracket >= 0)
            {
                int end = part.IndexOf(']', bracket);
                if (end < 0)
                    return null;
                string inside = part[(bracket + 1)..end];
                if (inside == "*")
                    steps.Add(new(null, null));
                else if (int.TryParse(inside, NumberStyles.None, CultureInfo.InvariantCulture, out int index))
                    steps.Add(new(null, index));
                else
                    return null;
                if (end + 1 < part.Length && part[end + 1] != '[')
                    return null;
                bracket = end + 1 < part.Length ? end + 1 : -1;
            }
        }

        return steps;
    }

    /// <summary>One step of a path: a key, an index, or (both null) every item.</summary>
    private readonly record struct Step(string? Key, int? Index);
}
