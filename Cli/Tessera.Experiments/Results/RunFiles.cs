using Tessera.Experiments.Configuration;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Runs;
using Tessera.Lab.Folders;
using Tessera.Lab.Recording;
using Tessera.Lab.Reports;
using Tessera.Lab.Results;

namespace Tessera.Experiments.Results;

/// <summary>The files of a run's folder (docs/results.md); consoles are written while it runs.</summary>
public static class RunFiles
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

    /// <summary>Writes what a run left behind: the result first, since a disk that fills up must not cost that for the sake of a recording.</summary>
    /// <returns>What could not be written and why; null when all was.</returns>
    public static string? Write(string folder, PreparedExperiment prepared, RunRecord record, ResultDocument result)
    {
        UntrustedFolder files = new(folder);
        List<string> missing = [];
        string reason = "";
        Try("result.json", writer => writer.Write(ResultJson.Write(result)));
        Try("configuration.json", writer => writer.Write(ConfigurationWriter.Text(prepared.Resolved)));
        if (record.Counters.Count > 0)
            Try("counters.csv", writer => CounterSamples.Write(writer, record.Counters));
        if (record.Recording is { } recording)
            Try("schedule.csv", writer => ScheduleCsv.Write(writer, recording));
        return missing.Count == 0 ? null : $"{string.Join(", ", missing)} could not be written: {reason} The other files are there.";

        void Try(string name, Action<TextWriter> write)
        {
            try
            {
                files.WriteText(name, write);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                missing.Add(name);
                reason = e.Message;
            }
        }
    }
}
