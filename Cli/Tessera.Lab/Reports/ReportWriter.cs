using Tessera.Lab.Folders;

namespace Tessera.Lab.Reports;

/// <summary>Writes the report of a folder of results, from that folder's files alone.</summary>
public static class ReportWriter
{
    /// <summary>The page's file name.</summary>
    public const string PageFile = "report.html";

    /// <summary>Whether this build can write pages: it could fetch the plotting library.</summary>
    public static bool CanDraw => PlottingLibrary.IsThere;

    /// <summary>Writes series/*.csv, trace.json and report.html of a run, or those of each of a comparison's runs and report.html of it.</summary>
    /// <param name="folder">The folder that <c>--out</c> named.</param>
    /// <returns>What was written, as paths from the folder.</returns>
    /// <exception cref="ReportException">
    /// The folder has no results, a file in it is not what it should be or cannot be written, or this build has no plotting library; the CSV and trace
    /// files are written before that is looked for.
    /// </exception>
    public static IReadOnlyList<string> Write(string folder)
    {
        try
        {
            UntrustedFolder results = new(folder);
            return results.HasFile(ComparisonFolder.ResultFile) ? WriteComparison(results)
                : results.HasFile(RunFolder.ResultFile) ? WriteRun(results, "")
                : throw new ReportException($"{folder}: has neither {RunFolder.ResultFile} nor {ComparisonFolder.ResultFile}. Name a folder that --out of tessera run, simulate or compare wrote.");
        }
        catch (FolderException e)
        {
            throw new ReportException(e.Message, e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ReportException($"{folder}: {e.Message}", e);
        }
    }

    /// <summary>A run's report.</summary>
    /// <param name="results">The folder that was named.</param>
    /// <param name="below">The run's folder below that, with a '/' behind it; empty when it is that.</param>
    private static List<string> WriteRun(UntrustedFolder results, string below)
    {
        RunFolder run = RunFolder.Read(results, below);
        List<string> written = [.. SeriesFiles.Write(run)];
        if (TraceEvents.Write(run))
            written.Add(below + TraceEvents.FileName);
        results.WriteText(below + PageFile, RunPage.Of(run));
        written.Add(below + PageFile);
        return written;
    }

    /// <summary>The reports of a comparison's runs first, since its page links to those that are there.</summary>
    private static List<string> WriteComparison(UntrustedFolder results)
    {
        ComparisonFolder comparison = ComparisonFolder.Read(results);
        List<string> written = [];
        foreach (string run in comparison.RunFolders)
            written.AddRange(WriteRun(results, run + "/"));
        results.WriteText(PageFile, ComparisonPage.Of(comparison));
        written.Add(PageFile);
        return written;
    }
}
