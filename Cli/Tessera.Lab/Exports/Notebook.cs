using System.Text;
using System.Text.Json;
using Tessera.Lab.Comparisons;
using Tessera.Lab.Results;

namespace Tessera.Lab.Exports;

/// <summary>A Jupyter notebook (nbformat 4.5) that loads the exported tables with pandas and draws the report's main plots with matplotlib.</summary>
internal static class Notebook
{
    private const string Load = """
        import pathlib

        import matplotlib.pyplot as plt
        import pandas as pd


        def load(name):
            # Parquet needs pyarrow; the CSV beside it has the same rows.
            try:
                return pd.read_parquet(name + ".parquet")
            except ImportError:
                return pd.read_csv(name + ".csv")
        """;

    private const string Metrics = """
        def draw(metric):
            # Each run a pale dot; mean and 95 % interval by scheduler and combination.
            some = summaries[summaries.metric == metric]
            if some.empty:
                return
            figure, axes = plt.subplots(figsize=(8, 0.6 + 0.4 * len(some)))
            labels = []
            for row, (_, cell) in enumerate(some.iterrows()):
                made = runs[(runs.outcome == "completed") & (runs.engine == cell.engine) & (runs.scheduler == cell.scheduler)]
                for factor in factors:
                    made = made[made[factor].astype(str) == str(cell[factor])]
                axes.plot(made[metric], [row] * len(made), "o", alpha=0.3, color="tab:gray", markersize=4)
                axes.errorbar(cell["mean"], row, xerr=[[max(0, cell["mean"] - cell.mean_low)], [max(0, cell.mean_high - cell["mean"])]], fmt="o", capsize=4)
                labels.append(" · ".join([cell.scheduler, *(str(cell[factor]) for factor in factors)] + ([cell.engine] if summaries.engine.nunique() > 1 else [])))
            axes.set_yticks(range(len(labels)), labels)
            axes.invert_yaxis()
            unit = some.unit.iloc[0]
            axes.set_xlabel(some.title.iloc[0] + (f" ({unit})" if isinstance(unit, str) and unit else ""))
            figure.tight_layout()
            plt.show()


        for metric in summaries.metric.unique():
            draw(metric)
        """;

    private const string Shares = """
        figure, axes = plt.subplots(figsize=(9, 4))
        if not shares.empty:
            window = max(int(shares.length_ns.iloc[0]), 100_000_000)
            grouped = shares.assign(at=shares.at_ns // window * window / 1e9).groupby(["domain", "at"], sort=False)[["share", "ideal_share"]].mean().reset_index()
            for number, (name, one) in enumerate(grouped.groupby("domain", sort=False)):
                axes.plot(one["at"], one.share * 100, color=f"C{number % 10}", label=name)
                axes.plot(one["at"], one.ideal_share * 100, "--", color=f"C{number % 10}", linewidth=1)
            axes.legend(title="dashed: ideal")
        axes.set_xlabel("time (s)")
        axes.set_ylabel("share of all pCPU time (%)")
        figure.tight_layout()
        plt.show()
        """;

    private const string Latencies = """
        figure, axes = plt.subplots(figsize=(9, 4))
        for name, one in wakes.groupby("domain", sort=False):
            latency = one.latency_ns.clip(lower=1).sort_values().reset_index(drop=True)
            axes.step(latency / 1e3, (latency.index + 1) / len(latency) * 100, where="post", label=f"{name} ({len(latency)})")
        if len(wakes):
            axes.set_xscale("log")
            axes.legend()
        axes.set_xlabel("from a wake to running (µs)")
        axes.set_ylabel("wakes (%)")
        figure.tight_layout()
        plt.show()
        """;

    /// <summary>Of a comparison.</summary>
    public static string OfComparison(ComparisonDocument document) => Write(
    [
        (false, $"# {document.Configuration}\n\n{string.Join(", ", document.Schedulers)} compared with Tessera {document.Version} on {document.Host}, {document.Repeat} repetitions, seed {document.Seed}. "
            + "The tables and their columns are described in docs/export.md."),
        (true, Load),
        (true, "runs, summaries, verdicts = load(\"runs\"), load(\"summaries\"), load(\"verdicts\")\nfactors = " + JsonSerializer.Serialize(document.Factors.Select(FactorialDesign.ColumnOf).ToArray(), StringsJson.Default.StringArray)),
        (false, "## Verdicts\n\nThe differences that were shown."),
        (true, "pd.set_option(\"display.max_colwidth\", None)\nverdicts[verdicts.is_shown.astype(bool)][[\"engine\", *factors, \"metric\", \"sentence\"]]"),
        (false, "## Metrics"),
        (true, Metrics),
    ]);

    /// <summary>Of a run.</summary>
    public static string OfRun(ResultDocument result) => Write(
    [
        (false, $"# A run under {result.Scheduler.Name}\n\nTessera {result.Version}, engine {result.Engine.Name}, {result.StartedAt.ToUniversalTime():yyyy-MM-dd HH:mm} UTC. The tables and their columns are described in docs/export.md."),
        (true, Load),
        (true, "domains, shares, stints, wakes = load(\"domains\"), load(\"shares\"), load(\"stints\"), load(\"wakes\")\ndomains"),
        (false, "## Shares over time"),
        (true, Shares),
        (false, "## Wake latency"),
        (true, Latencies),
    ]);

    private static string Write(IEnumerable<(bool IsCode, string Text)> cells)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream, new JsonWriterOptions { Indented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteNumber("nbformat", 4);
            json.WriteNumber("nbformat_minor", 5);
            json.WriteStartObject("metadata");
            json.WriteStartObject("kernelspec");
            json.WriteString("name", "python3");
            json.WriteString("display_name", "Python 3");
            json.WriteString("language", "python");
            json.WriteEndObject();
            json.WriteEndObject();
            json.WriteStartArray("cells");
            int number = 0;
            foreach ((bool isCode, string text) in cells)
            {
                json.WriteStartObject();
                json.WriteString("id", $"cell-{++number}");
                json.WriteString("cell_type", isCode ? "code" : "markdown");
                json.WriteStartObject("metadata");
                json.WriteEndObject();
                if (isCode)
                {
                    json.WriteNull("execution_count");
                    json.WriteStartArray("outputs");
                    json.WriteEndArray();
                }

                json.WriteString("source", text);
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(stream.ToArray()) + "\n";
    }
}
