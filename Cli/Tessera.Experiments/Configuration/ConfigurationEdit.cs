using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Tessera.Experiments.Configuration;

/// <summary>One `--set path=value`: `domains[0].weight=512`, `domains[*].memory=64 MiB`, `scheduler.options.mcu=100 us`.</summary>
/// <remarks>Missing objects on the way are made; the index just past a list's end appends; `[*]` means every item.</remarks>
internal sealed partial class ConfigurationEdit
{
    private const string Form = "An edit is path=value, for example domains[0].weight=512 or \"duration=5 s\".";

    private readonly SourcePosition _origin;
    private readonly string[] _steps;
    private readonly string _value;
    private readonly List<ConfigurationError> _errors;

    private ConfigurationEdit(SourcePosition origin, Match path, string value, List<ConfigurationError> errors)
    {
        (_origin, _value, _errors) = (origin, value, errors);
        _steps = [.. path.Groups["step"].Captures.Select(step => step.Value)];
    }

    /// <summary>Keys, and after each any number of `[0]` and `[*]`.</summary>
    [GeneratedRegex(@"^(?:(?:^|(?!^)\.)(?<step>[^.\[]+)(?<step>\[(?:\*|[0-9]{1,9})\])*)+$")]
    private static partial Regex PathForm { get; }

    /// <summary>Applies one edit to a document in place.</summary>
    /// <param name="document">The document.</param>
    /// <param name="edit">The edit.</param>
    /// <param name="errors">Gets what is wrong with it.</param>
    /// <param name="option">The option that it was given with, for messages.</param>
    public static void Apply(ConfigurationNode document, string edit, List<ConfigurationError> errors, string option = "--set")
    {
        SourcePosition origin = new($"{option} {edit}", 0, 0);
        int equals = edit.IndexOf('=', StringComparison.Ordinal);
        Match path = PathForm.Match(edit[..Math.Max(equals, 0)].Trim());
        if (path.Success)
            new ConfigurationEdit(origin, path, edit[(equals + 1)..].Trim(), errors).Descend(document, 0);
        else
            errors.Add(new(origin, "", "The path of this edit cannot be read.", Form));
    }

    private bool IsLast(int depth) => depth == _steps.Length - 1;

    private bool IsIndex(int depth) => _steps[depth][0] == '[';

    private ConfigurationNode Value(string path) => ConfigurationParser.ParseEdit(_origin, _value, path);

    private void Descend(ConfigurationNode node, int depth)
    {
        string step = _steps[depth];
        if (IsIndex(depth))
            DescendItems(node, step[1..^1], depth);
        else if (node.Kind != JsonValueKind.Object)
            Fail(node, $"This is {node.Description}, which has no keys.", "Name a list's item by its index, such as domains[0].");
        else if (IsLast(depth))
            node.Set(step, Value(node.PathOf(step)));
        else
            Descend(node.Find(step) is { Kind: JsonValueKind.Object or JsonValueKind.Array } on ? on : Make(node, step, depth), depth + 1);
    }

    private void DescendItems(ConfigurationNode list, string index, int depth)
    {
        if (list.Kind != JsonValueKind.Array)
        {
            Fail(list, $"This is {list.Description}, which has no items.", "Only lists take an index.");
            return;
        }

        int count = list.Items.Count;
        bool isAll = index == "*";
        int first = isAll ? 0 : int.Parse(index, CultureInfo.InvariantCulture);
        if (first > count)
        {
            Fail(list, $"There is no item {first}.", $"Items are numbered from 0; this list has {count}, and index {count} appends one.");
            return;
        }

        if (!isAll && first == count)
            list.Append(new ConfigurationNode(JsonValueKind.Object, $"{list.Path}[{first}]", _origin));
        for (int item = first; item < (isAll ? count : first + 1); item++)
        {
            if (IsLast(depth))
                list.Replace(item, Value($"{list.Path}[{item}]"));
            else
                Descend(list.Items[item], depth + 1);
        }
    }

    /// <summary>
    /// Makes an object or a list on the way. A name standing for its object ("scheduler": "bvt") keeps its meaning when an edit goes
    /// below it.
    /// </summary>
    private ConfigurationNode Make(ConfigurationNode parent, string key, int depth)
    {
        ConfigurationNode? before = parent.Find(key);
        string path = parent.PathOf(key);
        bool isName = key == "scheduler" && before is { Kind: JsonValueKind.String };
        ConfigurationNode made = new(IsIndex(depth + 1) && !isName ? JsonValueKind.Array : JsonValueKind.Object, path, _origin);
        if (isName)
            made.Set("name", new(JsonValueKind.String, made.PathOf("name"), before!.Position, before.Text));
        parent.Set(key, made);
        return made;
    }

    private void Fail(ConfigurationNode at, string message, string cure) => _errors.Add(new(_origin, at.Path, message, cure));
}
