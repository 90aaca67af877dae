using System.CommandLine;
using Tessera.Cli.Terminal;
using Tessera.Lab.Exports;

namespace Tessera.Cli.Verbs;

/// <summary>`tessera export DIR`: the results of a run or a comparison as tables for other programs.</summary>
internal sealed class ExportVerb(CliHost host) : IVerb
{
    /// <inheritdoc/>
    public Command Build()
    {
        Argument<string> folder = new("dir") { Description = "The folder that --out of run, simulate or compare named." };
        Option<bool> notebook = new("--notebook") { Description = $"Write {Exporter.NotebookFile}, too: a Jupyter notebook that loads the tables with pandas and draws the report's main plots." };
        Command export = new("export", "Write a folder's results as CSV and Parquet tables (docs/export.md).") { folder, notebook };
        export.SetAction(parsed =>
        {
            string path = parsed.GetRequiredValue(folder);
            foreach (string file in FolderOfResults.Read(path, results => Exporter.Write(results, parsed.GetValue(notebook))))
                host.Out.WriteLine(Path.Combine(path, file));
            return ExitCode.Good;
        });
        return export;
    }
}
