using System.Globalization;

namespace Tessera.Lab.Comparisons;

/// <summary>comparison.csv: one row a run, with its varied values, metrics, and figures of each item of the configuration; RFC 4180.</summary>
public static class ComparisonCsv
{
    /// <summary>The figures of an item of the configuration, as columns NAME.KEY.</summary>
    private static readonly (string Key, Func<GroupFigures, double?> Value)[] Figures =
    [
        ("share", group => group.Share),
        ("idealShare", group => group.IdealShare),
        ("lateP50", group => group.LateP50Ns),
        ("lateP99", group => group.LateP99Ns),
        ("wakeP50", group => group.WakeP50Ns),
        ("wakeP99", group => group.WakeP99Ns),
        ("responseP50", group => group.ResponseP50Ns),
        ("responseP99", group => group.ResponseP99Ns),
        ("missed", group => group.Missed),
        ("work", group => group.Work),
    ];

    /// <summary>Writes all runs of a comparison.</summary>
    public static void Write(TextWriter writer, ComparisonDocument document)
    {
        string[] metrics = [.. document.Metrics.Select(metric => metric.Key)];
        (string Group, string Key, Func<GroupFigures, double?> Value)[] columns =
        [
            .. document.Runs.SelectMany(run => run.Groups.Select(group => group.Name)).Distinct()
                .SelectMany(name => Figures.Select(figure => (name, figure.Key, figure.Value)))
                .Where(column => document.Runs.Any(run => Of(run, column.name, column.Value) is not null)),
        ];
        Line(writer, ["place", "repetition", "engine", "scheduler", .. document.Factors.Select(factor => factor.Path), "outcome", "wall_seconds", .. metrics, .. columns.Select(column => $"{column.Group}.{column.Key}"), "folder"]);
        foreach (RunRow run in document.Runs)
        {
            Line(writer,
            [
                Text(run.Place), Text(run.Repetition), run.Engine, run.Scheduler, .. run.Cell.Select(value => value.Value), run.Outcome, Text(run.WallSeconds),
                .. metrics.Select(metric => run.Metrics.TryGetValue(metric, out double value) ? Text(value) : ""),
                .. columns.Select(column => Of(run, column.Group, column.Value) is { } value ? Text(value) : ""), run.Folder,
            ]);
        }
    }

    private static double? Of(RunRow run, string name, Func<GroupFigures, double?> value) => run.Groups.FirstOrDefault(group => group.Name == name) is { } group ? value(group) : null;

    private static string Text(double value) => value.ToString("R", CultureInfo.InvariantCulture);

    private static void Line(TextWriter writer, IEnumerable<string> fields) => writer.Write(string.Join(',', fields.Select(Quoted)) + "\r\n");

    private static string Quoted(string field) =>
        field.AsSpan().IndexOfAny(",\"\r\n") < 0 ? field : $"\"{field.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";
}
