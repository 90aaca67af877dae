using System.Globalization;

namespace Tessera.Lab.Comparisons;

/// <summary>comparison.csv: one row a run, with its varied values and metrics; RFC 4180.</summary>
public static class ComparisonCsv
{
    /// <summary>Writes all runs of a comparison.</summary>
    public static void Write(TextWriter writer, ComparisonDocument document)
    {
        IReadOnlyList<MetricDefinition> metrics = document.Metrics;
        Line(writer, ["place", "repetition", "engine", "scheduler", .. document.Factors.Select(FactorialDesign.ColumnOf), "outcome", "wall_seconds", .. metrics.Select(metric => metric.Key), "folder"]);
        foreach (RunRow run in document.Runs)
        {
            Line(writer,
            [
                Text(run.Place), Text(run.Repetition), run.Engine, run.Scheduler, .. run.Cell.Select(value => value.Value), run.Outcome, Text(run.WallSeconds),
                .. metrics.Select(metric => metric.Of(run) is { } value ? Text(value) : ""), run.Folder,
            ]);
        }
    }

    private static string Text(double value) => value.ToString("R", CultureInfo.InvariantCulture);

    private static void Line(TextWriter writer, IEnumerable<string> fields) => writer.Write(string.Join(',', fields.Select(Quoted)) + "\r\n");

    private static string Quoted(string field) =>
        field.AsSpan().IndexOfAny(",\"\r\n") < 0 ? field : $"\"{field.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";
}
