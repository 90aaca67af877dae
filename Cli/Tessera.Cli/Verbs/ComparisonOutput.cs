using Tessera.Cli.Terminal;
using Tessera.Cli.Views;
using Tessera.Experiments.Results;
using Tessera.Lab.Comparisons;
using Tessera.Lab.Folders;
using Tessera.Lab.Metrics;

namespace Tessera.Cli.Verbs;

/// <summary>What a comparison leaves in its folder and says on the terminal, whoever made its runs.</summary>
internal sealed class ComparisonOutput(CliHost host)
{
    /// <summary>Writes comparison.json, comparison.csv and the report, and shows the figures.</summary>
    /// <param name="files">The comparison's folder.</param>
    /// <param name="document">What it came to.</param>
    /// <param name="metrics">The keys of the metrics to show; none for all of the whole machine.</param>
    /// <param name="json">Whether the document goes to standard output.</param>
    /// <param name="quiet">Whether to be silent about a report that is there.</param>
    /// <returns>The exit code.</returns>
    public int Write(UntrustedFolder files, ComparisonDocument document, IReadOnlyList<string> metrics, bool json, bool quiet)
    {
        files.WriteText("comparison.json", ComparisonJson.Write(document));
        files.WriteText("comparison.csv", csv => ComparisonCsv.Write(csv, document));
        Show(document, metrics, json);
        ReportFiles.Write(host, files.Path, quiet);
        return document.Outcome == "completed" ? ExitCode.Good : ExitCode.Failed;
    }

    private void Show(ComparisonDocument document, IReadOnlyList<string> metrics, bool json)
    {
        if (json)
            host.Out.Write(ComparisonJson.Write(document));
        else
            host.OutConsole.Write(ComparisonViews.Of(document, host.OutConsole.Profile.Width, metrics));
        double withheld = document.Runs.Where(run => run.Metrics.ContainsKey(MetricCatalogue.Withheld))
            .Select(run => run.Metrics[MetricCatalogue.Withheld]).DefaultIfEmpty().Average();
        if (withheld >= HostLoad.BusyPercent)
            host.Error.WriteLine($"tessera: {HostLoad.Sentence(withheld)}");
        int failed = document.Runs.Count(run => run.Outcome != "completed");
        if (failed > 0)
            host.Error.WriteLine(
                $"tessera: {failed} of {document.Runs.Count} runs failed and are in no statistic; the same command repeats them.");
        if (document.Blocking is { } blocking)
            host.Error.WriteLine($"tessera: {blocking}");
        if (document.Missing.Count > 0)
            host.Error.WriteLine($"tessera: {document.Missing.Count} of {document.Missing.Count + document.Runs.Count} runs are missing; "
                + "the figures are those of the others.");
        if (document.Outcome == "interrupted")
            host.Error.WriteLine(
                "tessera: interrupted; the figures are those until then. The same command goes on where this one stopped.");
    }
}
