using Tessera.Lab.Folders;
using Tessera.Lab.Reports;

namespace Tessera.Lab.Exports;

/// <summary>Writes a folder's results for other programs: each table as CSV and Parquet, and a notebook that loads them.</summary>
public static class Exporter
{
    /// <summary>The folder below the results' that has them.</summary>
    public const string Folder = "export";

    /// <summary>The notebook's file name.</summary>
    public const string NotebookFile = "analysis.ipynb";

    /// <summary>Writes them.</summary>
    /// <param name="folder">The folder that <c>--out</c> named.</param>
    /// <param name="notebook">Whether the notebook is written, too.</param>
    /// <returns>What was written, as paths from the folder.</returns>
    /// <exception cref="ReportException">The folder has no results, or a file in it is not what it should be or cannot be written.</exception>
    public static IReadOnlyList<string> Write(string folder, bool notebook)
    {
        try
        {
            UntrustedFolder files = new(folder);
            (IReadOnlyList<ExportTable> tables, string cells) = Read(folder, files);
            files.MakeFolder(Folder);
            List<string> written = [];
            foreach (ExportTable table in tables)
            {
                files.WriteText(Path(table.Name + ".csv"), table.WriteCsv);
                files.Write(Path(table.Name + ".parquet"), table.WriteParquet);
            }

            if (notebook)
                files.WriteText(Path(NotebookFile), cells);
            return written;

            string Path(string name)
            {
                written.Add($"{Folder}/{name}");
                return written[^1];
            }
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

    /// <summary>Every column of a folder's tables, as docs/export.md has them.</summary>
    /// <param name="folder">The folder that <c>--out</c> named.</param>
    internal static IReadOnlyList<ExportedColumn> Columns(string folder) => [.. Read(folder, new UntrustedFolder(folder)).Tables.SelectMany(table => table.Documented)];

    private static (IReadOnlyList<ExportTable> Tables, string Notebook) Read(string folder, UntrustedFolder files)
    {
        if (files.HasFile(ComparisonFolder.ResultFile))
        {
            ComparisonFolder comparison = ComparisonFolder.Read(files);
            return (ComparisonExport.Of(comparison.Document), Notebook.OfComparison(comparison.Document));
        }

        if (!files.HasFile(RunFolder.ResultFile))
            throw new ReportException($"{folder}: has neither {RunFolder.ResultFile} nor {ComparisonFolder.ResultFile}. Name a folder that --out of tessera run, simulate or compare wrote.");
        RunFolder run = RunFolder.Read(files, "");
        return (RunExport.Of(run), Notebook.OfRun(run.Result));
    }
}
