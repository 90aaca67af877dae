using System.CommandLine;
using Tessera.Cli.Terminal;
using Tessera.Experiments;
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
            foreach (string file in Write(path))
                host.Out.WriteLine(Path.Combine(path, file));
            return ExitCode.Good;
        });
        return report;
    }

    /// <summary>
    /// A folder's files may have come from anybody: what is not as a run writes it is theirs to answer for, not the program's.
    /// </summary>
    private static IReadOnlyList<string> Write(string path)
    {
        try
        {
            return ReportWriter.Write(path);
        }
        catch (Exception e) when (e is InvalidOperationException or KeyNotFoundException or FormatException or OverflowException)
        {
            throw new UsageException($"{path}: a file in it is not what a run or a comparison writes: {e.Message}");
        }
    }
}
