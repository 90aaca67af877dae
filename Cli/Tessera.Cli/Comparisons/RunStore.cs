using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using Tessera.Lab.Comparisons;

namespace Tessera.Cli.Comparisons;

/// <summary>A finished run as its folder keeps it.</summary>
/// <param name="Schema">Always <see cref="StoredRun.Format"/>.</param>
/// <param name="Fingerprint">What made it.</param>
/// <param name="Row">What it gave.</param>
internal sealed record StoredRun(string Schema, IReadOnlyDictionary<string, string> Fingerprint, RunRow Row)
{
    /// <summary>The file's format.</summary>
    public const string Format = "tessera.comparison-run/1";
}

/// <summary>Serialisation of <see cref="StoredRun"/>.</summary>
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(StoredRun))]
[JsonSerializable(typeof(SimulationCosts))]
internal sealed partial class StoredRunJson : JsonSerializerContext
{
    public static StoredRunJson Context { get; } = new(JsonForm.Options());
}

/// <summary>
/// The runs of a comparison's folder, DIR/runs/NNN-…: a run is finished when its run.json is there, which is written last and put in place
/// by renaming. So a comparison that was interrupted in any way goes on where it stopped.
/// </summary>
internal sealed class RunStore(string folder)
{
    private const string RunFile = "run.json";
    private const int LongestName = 100;
    private readonly string _runs = Path.Combine(folder, "runs");

    /// <summary>Every finished run.</summary>
    public IReadOnlyList<StoredRun> Load()
    {
        List<StoredRun> stored = [];
        if (!Directory.Exists(_runs))
            return stored;
        foreach (string file in Directory.GetDirectories(_runs).Order(StringComparer.Ordinal).Select(run => Path.Combine(run, RunFile)).Where(File.Exists))
        {
            try
            {
                if (JsonSerializer.Deserialize(File.ReadAllText(file), StoredRunJson.Context.StoredRun) is { Schema: StoredRun.Format } run)
                    stored.Add(run);
            }
            catch (JsonException e)
            {
                throw new UsageException($"{file}: this is not a run of a comparison: {e.Message} Remove its folder, and the run is made again.");
            }
        }

        return stored;
    }

    /// <summary>Forgets every run.</summary>
    public void Clear()
    {
        if (Directory.Exists(_runs))
            Directory.Delete(_runs, recursive: true);
    }

    /// <summary>An empty folder for a run, relative to the comparison's; what an unfinished run left there is removed.</summary>
    public string Begin(PlannedRun run)
    {
        string name = $"{run.Place.ToString("000", CultureInfo.InvariantCulture)}-{run.Engine}-{run.Scheduler}{string.Concat(run.Cell.Select(value => $"-{value.Path}={value.Value}"))}";
        name = string.Concat(name.Select(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '.' or '=' or '_' ? c : '_'));
        string relative = Path.Combine("runs", $"{(name.Length > LongestName ? name[..LongestName] : name)}-r{run.Repetition}");
        Drop(relative);
        Directory.CreateDirectory(Path.Combine(folder, relative));
        return relative;
    }

    /// <summary>Keeps a finished run.</summary>
    public void Finish(StoredRun run)
    {
        string file = Path.Combine(folder, run.Row.Folder, RunFile);
        File.WriteAllText(file + ".new", JsonSerializer.Serialize(run, StoredRunJson.Context.StoredRun) + "\n");
        File.Move(file + ".new", file, overwrite: true);
    }

    /// <summary>Removes a run's folder.</summary>
    public void Drop(string relative)
    {
        string path = Path.Combine(folder, relative);
        if (Directory.Exists(path))
            Directory.Delete(path, recursive: true);
    }
}
