using Tessera.Lab.Comparisons;
using Tessera.Lab.Reports;

namespace Tessera.Lab.Tests.Reports;

/// <summary>The folder of a comparison that never was.</summary>
internal sealed class SampleComparison : IDisposable
{
    private static readonly string[] Metrics = ["shareError1000ms", "wakeP99", "jain", "switches"];

    public string Folder { get; } = Directory.CreateTempSubdirectory("tessera-comparison-").FullName;

    public ComparisonDocument Document { get; private init; } = null!;

    /// <summary>Two schedulers, three numbers of domains, eight runs of each; the first run left a folder of its own.</summary>
    /// <param name="withheld">What the host withheld of each run, in per cent; null for unknown.</param>
    public static SampleComparison Draw(double? withheld = null)
    {
        Drawing.Require();
        Random random = new(11);
        string[] schedulers = ["bvt", "credit2"];
        Factor[] factors = [new("domains.count", ["10", "50", "100"])];
        List<RunRow> runs = [];
        foreach (PlannedRun planned in FactorialDesign.Runs([ComparisonEngines.Machine], FactorialDesign.Variants(schedulers, FactorialDesign.Cells(factors)), repeat: 8, seed: 1))
        {
            double scale = int.Parse(planned.Cell[0].Value) * (planned.Scheduler == "bvt" ? 1 : 1.3);
            runs.Add(new RunRow
            {
                Folder = runs.Count == 0 ? "runs/001-bvt" : $"runs/{planned.Place:000}-{planned.Scheduler}",
                Place = planned.Place,
                Repetition = planned.Repetition,
                Engine = planned.Engine,
                Scheduler = planned.Scheduler,
                Cell = planned.Cell,
                Outcome = "completed",
                Failures = [],
                StartedAt = DateTimeOffset.UnixEpoch,
                WallSeconds = 10 + random.NextDouble(),
                Metrics = new Dictionary<string, double>
                {
                    ["shareError1000ms"] = scale / 300 * (1 + (random.NextDouble() * 0.3)),
                    ["wakeP99"] = scale * 1000 * (1 + random.NextDouble()),
                    ["jain"] = 1 - (random.NextDouble() * 0.01),
                    ["switches"] = 200 + (random.NextDouble() * 40),
                },
                Groups = [],
            });
            if (withheld is { } percent)
                runs[^1] = runs[^1] with { Metrics = new Dictionary<string, double>(runs[^1].Metrics) { [MetricCatalogue.Withheld] = percent } };
        }

        MetricDefinition[] metrics = [.. Metrics.Select(MetricCatalogue.Of)];
        SampleComparison made = new()
        {
            Document = new ComparisonDocument
            {
                Version = "0.1.0",
                StartedAt = DateTimeOffset.UnixEpoch,
                Outcome = "completed",
                Configuration = "<b>sample</b>.json",
                Host = "A CPU",
                Seed = 1,
                Repeat = 8,
                Engines = [ComparisonEngines.Machine],
                Schedulers = schedulers,
                Factors = factors,
                Metrics = metrics,
                Cells = ComparisonStatistics.Cells([ComparisonEngines.Machine], schedulers, FactorialDesign.Cells(factors), runs),
                Agreement = [],
                Costs = null,
                Runs = runs,
            },
        };
        File.WriteAllText(Path.Combine(made.Folder, "comparison.json"), ComparisonJson.Write(made.Document));
        using (SampleRun first = SampleRun.Write(["a", "b"]))
        {
            Directory.CreateDirectory(Path.Combine(made.Folder, "runs"));
            Directory.Move(first.Folder, Path.Combine(made.Folder, runs[0].Folder));
            Directory.CreateDirectory(first.Folder);
        }

        ReportWriter.Write(made.Folder);
        return made;
    }

    public void Dispose() => Directory.Delete(Folder, recursive: true);
}
