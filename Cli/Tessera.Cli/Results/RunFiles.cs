using Tessera.Cli.Composition;
using Tessera.Cli.Configuration;
using Tessera.Cli.Runs;
using Tessera.Lab.Folders;
using Tessera.Lab.Recording;
using Tessera.Lab.Reports;

namespace Tessera.Cli.Results;

/// <summary>The files of a run's folder (docs/results.md); consoles are written while it runs.</summary>
internal static class RunFiles
{
    /// <summary>Makes the folder.</summary>
    /// <exception cref="UsageException">It cannot be made.</exception>
    public static void CreateFolder(string folder)
    {
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"--out {folder}: {e.Message} Name a folder that can be written.");
        }
    }

    /// <summary>Writes what a run left behind.</summary>
    public static void Write(string folder, PreparedExperiment prepared, RunRecord record, ResultDocument result)
    {
        UntrustedFolder files = new(folder);
        if (record.Recording is { } recording)
            files.WriteText("schedule.csv", schedule => ScheduleCsv.Write(schedule, recording));
        if (record.Counters.Count > 0)
            files.WriteText("counters.csv", counters => CounterSamples.Write(counters, record.Counters));
        files.WriteText("result.json", ResultJson.Write(result));
        files.WriteText("configuration.json", ConfigurationWriter.Text(prepared.Resolved));
    }
}
