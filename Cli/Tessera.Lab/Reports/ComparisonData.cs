using System.Text;
using System.Text.Json;
using Tessera.Lab.Comparisons;
using Tessera.Lab.Statistics;

namespace Tessera.Lab.Reports;

/// <summary>What the scripts of a comparison's report draw, as JSON.</summary>
internal static class ComparisonData
{
    /// <summary>The JSON.</summary>
    public static string Of(ComparisonFolder folder)
    {
        ComparisonDocument document = folder.Document;
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream))
        {
            json.WriteStartObject();
            json.WriteString("kind", "comparison");
            json.WriteStartArray("schedulers");
            foreach (string scheduler in document.Schedulers)
                json.WriteStringValue(scheduler);
            json.WriteEndArray();
            json.WriteStartArray("metrics");
            foreach (MetricDefinition metric in document.Metrics)
                Metric(json, folder, metric);
            json.WriteEndArray();
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(stream.GetBuffer(), 0, (int)stream.Length);
    }

    private static void Metric(Utf8JsonWriter json, ComparisonFolder folder, MetricDefinition metric)
    {
        // A part is drawn in per cent.
        double scale = metric.Unit == "part" ? 100 : 1;
        json.WriteStartObject();
        json.WriteString("key", metric.Key);
        json.WriteString("name", metric.Title);
        json.WriteString("unit", metric.Unit switch { "part" => "%", "count" => "", _ => metric.Unit });
        json.WriteStartArray("cells");
        foreach (CellResult cell in folder.Document.Cells)
        {
            foreach (SchedulerResult scheduler in cell.Schedulers)
            {
                if (!scheduler.Metrics.TryGetValue(metric.Key, out Summary? summary))
                    continue;
                json.WriteStartObject();
                json.WriteString("name", folder.RowName(cell.Engine, scheduler.Scheduler, cell.Cell));
                json.WriteString("scheduler", scheduler.Scheduler);
                json.WriteNumber("mean", summary.Mean * scale);
                json.WriteNumber("median", summary.Median * scale);
                json.WriteStartArray("interval");
                json.WriteNumberValue(summary.MeanInterval.Low * scale);
                json.WriteNumberValue(summary.MeanInterval.High * scale);
                json.WriteEndArray();
                json.WriteStartArray("values");
                foreach (double? value in folder.Values(metric, cell.Engine, scheduler.Scheduler, cell.Cell))
                {
                    if (value is { } number)
                        json.WriteNumberValue(number * scale);
                    else
                        json.WriteNullValue();
                }

                json.WriteEndArray();
                json.WriteEndObject();
            }
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }
}
