using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.RegularExpressions;
using Tessera.Lab;
using Tessera.Lab.Comparisons;
using Tessera.Lab.Folders;

namespace Tessera.Experiments.Comparisons;

/// <summary>A finished run as its folder keeps it.</summary>
/// <param name="Schema">Always <see cref="StoredRun.Format"/>.</param>
/// <param name="Fingerprint">What made it.</param>
/// <param name="Row">What it gave.</param>
public sealed record StoredRun(string Schema, IReadOnlyDictionary<string, string> Fingerprint, RunRow Row)
{
    /// <summary>The file's format.</summary>
    public const string Format = "tessera.comparison-run/1";
}

/// <summary>Serialisation of <see cref="StoredRun"/>.</summary>
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, RespectNullableAnnotations = true)]
[JsonSerializable(typeof(StoredRun))]
[JsonSerializable(typeof(SimulationCosts))]
public sealed partial class StoredRunJson : JsonSerializerContext
{
    public static StoredRunJson Context { get; } = new(new JsonSerializerOptions(JsonForm.Options()) { RespectNullableAnnotations = true });
}

/// <summary>
/// The runs of a comparison's folder, DIR/runs/NNN-…: a run is finished when its run.json is there, which is written last and put in place
/// by renaming. So a comparison that was interrupted in any way goes on where it stopped. The folder is not trusted: a run is where it was found,
/// whatever its file says, and only folders that could be a run's are ever removed.
/// </summary>
public sealed partial class RunStore(UntrustedFolder files)
{
    private const string Runs = "runs";
    private const string RunFile = "run.json";

    /// <summary>Of a folder's name and of a part of it; a file system takes 255 bytes.</summary>
    private const int LongestName = 200;
    private const int LongestPart = 24;

    /// <summary>Every finished run.</summary>
    public IReadOnlyList<StoredRun> Load()
    {
        List<StoredRun> stored = [];
        foreach (string folder in files.FoldersOf(Runs).Where(name => RunName().IsMatch(name)).Select(name => $"{Runs}/{name}"))
        {
            string file = $"{folder}/{RunFile}";
            if (!files.HasFile(file))
                continue;
            try
            {
                if (JsonSerializer.Deserialize(files.ReadBytes(file), StoredRunJson.Context.StoredRun) is not { Schema: StoredRun.Format } run)
                    continue;
                // A key that is missing is null all the same.
                if (run is not { Fingerprint: not null, Row: not null })
                    throw new JsonException("It has no \"fingerprint\" or no \"row\".");
                stored.Add(run with { Row = run.Row with { Folder = folder } });
            }
            catch (JsonException e)
            {
                throw new UsageException($"{Path.Combine(files.Path, file)}: this is not a run of a comparison: {e.Message} Remove its folder, and the run will be repeated.");
            }
        }

        return stored;
    }

    /// <summary>Forgets every run. What else is in the folder of runs stays.</summary>
    public void Clear()
    {
        foreach (string name in files.FoldersOf(Runs).Where(name => RunName().IsMatch(name)))
            files.RemoveFolder($"{Runs}/{name}");
    }

    /// <summary>An empty folder for a run, relative to the comparison's; what an unfinished run left there is removed.</summary>
    public string Begin(PlannedRun run)
    {
        // The values are what tells one run from another: each keeps its place in a long name, of paths only the last part stays.
        string cell = string.Concat(run.Cell.Select(value => $"-{Cut(FactorialDesign.LastPart(value.Path), LongestPart)}={Cut(value.Value, LongestPart)}"));
        string name = $"{run.Place.ToString("000", CultureInfo.InvariantCulture)}-{run.Engine}-{Cut(run.Scheduler, LongestPart)}{cell}";
        name = string.Concat(name.Select(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '.' or '=' or '_' ? c : '_'));
        string relative = $"{Runs}/{Cut(name, LongestName)}-r{run.Repetition}";
        Drop(relative);
        files.MakeFolder(relative);
        return relative;
    }

    /// <summary>Keeps a finished run.</summary>
    public void Finish(StoredRun run) =>
        files.WriteText($"{run.Row.Folder}/{RunFile}", JsonSerializer.Serialize(run, StoredRunJson.Context.StoredRun) + "\n");

    /// <summary>Removes a run's folder.</summary>
    /// <param name="relative">As <see cref="Begin"/> or <see cref="Load"/> gave it.</param>
    public void Drop(string relative) => files.RemoveFolder(relative);

    private static string Cut(string text, int length) => text.Length > length ? text[..length] : text;

    /// <summary>The name of a folder that <see cref="Begin"/> made.</summary>
    [GeneratedRegex("^[0-9]{3,}-(machine|simulated)-.+-r[0-9]+$")]
    private static partial Regex RunName();
}
