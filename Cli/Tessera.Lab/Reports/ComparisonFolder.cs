using System.Text;
using System.Text.Json;
using Tessera.Lab.Comparisons;
using Tessera.Lab.Folders;

namespace Tessera.Lab.Reports;

/// <summary>A comparison's folder, read.</summary>
/// <param name="Files">Its files.</param>
/// <param name="Document">comparison.json.</param>
internal sealed record ComparisonFolder(UntrustedFolder Files, ComparisonDocument Document)
{
    /// <summary>The comparison's file.</summary>
    public const string ResultFile = "comparison.json";

    /// <summary>Reads a folder.</summary>
    /// <exception cref="ReportException">The file is not a comparison.</exception>
    public static ComparisonFolder Read(UntrustedFolder files)
    {
        string file = Path.Combine(files.Path, ResultFile);
        try
        {
            ComparisonDocument document = ComparisonJson.Read(Encoding.UTF8.GetString(files.ReadBytes(ResultFile)));
            return document.Schema == ComparisonDocument.Format
                ? new ComparisonFolder(files, document)
                : throw new ReportException($"{file}: its \"schema\" is \"{document.Schema}\"; a comparison has \"{ComparisonDocument.Format}\".");
        }
        catch (JsonException e)
        {
            throw new ReportException($"{file}: not a comparison: {e.Message}", e);
        }
    }

    /// <summary>The folders of runs that are there, as paths from the comparison's; none that leads out of it, which no comparison wrote.</summary>
    public IReadOnlyList<string> RunFolders =>
        [.. Document.Runs.Select(run => run.Folder).Where(folder => Files.HasFile($"{folder}/{RunFolder.ResultFile}")).Distinct()];

    /// <summary>The values of one metric, of one scheduler in one cell.</summary>
    public IReadOnlyList<double?> Values(MetricDefinition metric, string engine, string scheduler, IReadOnlyList<FactorValue> cell) =>
    [
        .. Document.Runs
            .Where(run => run.Outcome == "completed" && run.Engine == engine && run.Scheduler == scheduler && run.Cell.SequenceEqual(cell))
            .OrderBy(run => run.Repetition)
            .Select(metric.Of),
    ];

    /// <summary>What distinguishes a row: the varied values and, where both ran, the engine.</summary>
    public string RowName(string engine, string scheduler, IReadOnlyList<FactorValue> cell)
    {
        string title = string.Join(", ", cell.Select(value => $"{value.Path[(value.Path.LastIndexOf('.') + 1)..]} {value.Value}"));
        return string.Join(" · ", new[] { scheduler, title, Document.Engines.Count > 1 ? engine : "" }.Where(part => part.Length > 0));
    }
}
