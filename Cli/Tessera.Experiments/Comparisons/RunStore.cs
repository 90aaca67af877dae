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
/// The runs of a comparison's folder, DIR/runs/NAME. A run is written beside its place, settled on the disk and renamed into it, with
/// run.json in it; so a run that is there is whole, one that was interrupted in any way is not there, and of two processes that make the
/// same run at once one has made it. The folder is not trusted: a run is where it was found, whatever its file says, and only folders that
/// could be a run's are ever removed.
/// </summary>
public sealed partial class RunStore(UntrustedFolder files)
{
    /// <summary>The longest that a run can take: some thirty years.</summary>
    public const double MostSeconds = 1e9;

    private const string Runs = "runs";
    private const string RunFile = "run.json";
    private const string Completed = "completed";

    /// <summary>Of a folder's name and of a part of it; a file system takes 255 bytes.</summary>
    private const int LongestName = 200;
    private const int LongestPart = 24;

    /// <summary>How often a place is cleared for a run before somebody else is taken to be at work there.</summary>
    private const int Attempts = 8;

    /// <summary>Every finished run.</summary>
    public IReadOnlyList<StoredRun> Load() =>
        [.. files.FoldersOf(Runs).Where(name => RunName().IsMatch(name)).Select(Find).OfType<StoredRun>()];

    /// <summary>A finished run by its folder's name; null when it is not there.</summary>
    public StoredRun? Find(string name)
    {
        string folder = $"{Runs}/{name}";
        string file = $"{folder}/{RunFile}";
        if (!files.HasFile(file))
            return null;
        try
        {
            byte[] text = files.ReadBytes(file);
            JsonFaults.Check(text, typeof(StoredRun), StoredRunJson.Context.Options);
            if (JsonSerializer.Deserialize(text, StoredRunJson.Context.StoredRun) is not { Schema: StoredRun.Format } run)
                return null;
            // A key that is missing is null all the same.
            if (run is not { Fingerprint: not null, Row: not null })
                throw new JsonException("It has no \"fingerprint\" or no \"row\".");
            if (run.Row.Groups.Any(group => group.Name is null))
                throw new JsonException("One of its \"groups\" has no \"name\".");
            if (run.Row.WallSeconds is not (>= 0 and <= MostSeconds))
                throw new JsonException("Its \"wallSeconds\" are out of range.");
            RunHost? host = run.Row.Host is { Name: not null, Cpu: not null, Engine: not null } whole
                ? whole with { Name = Plain(whole.Name), Cpu = Plain(whole.Cpu), Engine = Plain(whole.Engine) }
                : null;
            IReadOnlyList<string> failures = [.. run.Row.Failures.Select(Plain)];
            return run with { Row = run.Row with { Folder = folder, Failures = failures, Host = host } };
        }
        catch (JsonException e)
        {
            throw new UsageException($"{Path.Combine(files.Path, file)}: this is not a run of a comparison: {Plain(e.Message)} Remove its "
                + "folder, and the run will be repeated.");
        }
    }

    /// <summary>Forgets every run. What else is in the folder of runs stays.</summary>
    public void Clear()
    {
        foreach (string name in files.FoldersOf(Runs).Where(name => RunName().IsMatch(name)))
            files.RemoveFolder($"{Runs}/{name}");
    }

    /// <summary>The name of a comparison's run: its place, and what tells it from others.</summary>
    public static string NameOf(PlannedRun run) => $"{run.Place.ToString("000", CultureInfo.InvariantCulture)}-{Title(run)}";

    /// <summary>
    /// The name of a sweep's run: what tells it from others, and its content, so that it is the same in every plan that has this run.
    /// </summary>
    /// <param name="run">The run.</param>
    /// <param name="content">The hash of what makes it, <see cref="Fingerprint.ContentOf"/>.</param>
    public static string NameOf(PlannedRun run, string content) => $"{Title(run)}-{content}";

    /// <summary>Whether a text is a name as <see cref="NameOf(PlannedRun, string)"/> gives one.</summary>
    public static bool IsName(string text) => text.Length <= byte.MaxValue && RunName().IsMatch(text);

    /// <summary>An empty folder to write a run into, relative to the comparison's, with a name that no other process uses.</summary>
    public string Begin()
    {
        string relative = $"{Runs}/{UnfinishedRuns.NewName()}";
        files.MakeFolder(relative);
        return relative;
    }

    /// <summary>
    /// Puts a finished run into its place. A run that failed makes way; one that is there and good stays, and this one is dropped.
    /// </summary>
    /// <param name="unfinished">Its folder, as <see cref="Begin"/> gave it.</param>
    /// <param name="name">Its name.</param>
    /// <param name="run">What made it, and what it gave.</param>
    /// <returns>The run that is there now.</returns>
    /// <exception cref="FailedException">Its place cannot be had.</exception>
    public StoredRun Finish(string unfinished, string name, StoredRun run)
    {
        string folder = $"{Runs}/{name}";
        StoredRun finished = run with { Row = run.Row with { Folder = folder } };
        files.WriteText($"{unfinished}/{RunFile}", JsonSerializer.Serialize(finished, StoredRunJson.Context.StoredRun) + "\n");
        for (int attempt = 0; attempt < Attempts; attempt++)
        {
            if (files.MoveFolder(unfinished, folder))
                return finished;
            if (Find(name) is { Row.Outcome: Completed } other && !Fingerprint.Differences(other.Fingerprint, run.Fingerprint).Any())
            {
                Drop(unfinished);
                return other;
            }

            Drop(folder);
        }

        throw new FailedException($"{Path.Combine(files.Path, folder)}: this run was made and cannot be put there, since something else "
            + "is there again and again. Let one process at a time clear this folder.");
    }

    /// <summary>Removes a run's folder.</summary>
    /// <param name="relative">As <see cref="Begin"/> or <see cref="Load"/> gave it.</param>
    public void Drop(string relative) => files.RemoveFolder(relative);

    /// <summary>Removes what processes of this host left unfinished when they were killed; what others are writing stays.</summary>
    public void DropUnfinished()
    {
        foreach (string name in files.FoldersOf(Runs).Where(UnfinishedRuns.IsAbandoned))
            files.RemoveFolder($"{Runs}/{name}");
    }

    /// <summary>How many runs are being written, or were when their process was killed.</summary>
    public int Unfinished => files.FoldersOf(Runs).Count(UnfinishedRuns.IsName);

    /// <summary>A text that a terminal shows and does not obey.</summary>
    internal static string Plain(string? text) => string.Concat((text ?? "").Where(static c => !char.IsControl(c)));

    /// <summary>
    /// The values are what tells one run from another: each keeps its place in a long name, of paths only the last part stays.
    /// </summary>
    private static string Title(PlannedRun run)
    {
        string cell = string.Concat(
            run.Cell.Select(value => $"-{Cut(FactorialDesign.LastPart(value.Path), LongestPart)}={Cut(value.Value, LongestPart)}"));
        string name = $"{run.Engine}-{Cut(run.Scheduler, LongestPart)}{cell}";
        name = string.Concat(name.Select(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '.' or '=' or '_' ? c : '_'));
        return $"{Cut(name, LongestName)}-r{run.Repetition}";
    }

    private static string Cut(string text, int length) => text.Length > length ? text[..length] : text;

    /// <summary>The name of a finished run's folder, a comparison's or a sweep's.</summary>
    [GeneratedRegex("^([0-9]{3,}-)?(machine|simulated)-[A-Za-z0-9.=_-]+-r[0-9]+(-[0-9a-f]{16})?$")]
    private static partial Regex RunName();
}
