using System.CommandLine;
using Tessera.Cli.Terminal;
using Tessera.Lab.Reports;

namespace Tessera.Cli.Verbs;

/// <summary>`tessera report DIR`: makes the report of a run or a comparison anew from its files.</summary>
internal sealed class ReportVerb(CliHost host) : IVerb
{
    /// <inheritdoc/>
    public Command Build()
    {
        Argument<string> folder = new("dir") { Description = "The folder that --out of run, simulate or compare named." };
        Command report = new("report", "Draw report.html, series/*.csv and trace.json anew from a folder of results (docs/report.md).") { folder };
        report.SetAction(parsed =>
        {
            string path = parsed.GetRequiredValue(folder);
            foreach (string file in FolderOfResults.Read(path, ReportWriter.Write))
                host.Out.WriteLine(Path.Combine(path, file));
            return ExitCode.Good;
        });
        return report;
    }
}
