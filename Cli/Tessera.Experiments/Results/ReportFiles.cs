using Tessera.Experiments.Hosts;
using Tessera.Lab.Reports;

namespace Tessera.Experiments.Results;

/// <summary>The report of a folder that was just written.</summary>
public static class ReportFiles
{
    /// <summary>Draws it. What went well has not failed because its report could not be drawn: that is said, and the files are there to draw it from.</summary>
    /// <param name="host">Where to say so.</param>
    /// <param name="folder">The folder of results.</param>
    /// <param name="quiet">Whether to be silent about a report that is there.</param>
    public static void Write(IExperimentHost host, string folder, bool quiet)
    {
        try
        {
            _ = ReportWriter.Write(folder);
            if (!quiet)
                host.Error.WriteLine($"tessera: report: {Path.Combine(folder, ReportWriter.PageFile)}");
        }
        catch (ReportException problem)
        {
            host.Error.WriteLine($"tessera: {problem.Message}");
        }
    }
}
