using System.Globalization;
using Tessera.Common;
using Tessera.Lab.Folders;

namespace Tessera.Cli.Results;

/// <summary>
/// The folder that --out names, while one process writes into it: whatever results were there before are kept unless --force says otherwise, and
/// nobody else writes there at the same time.
/// </summary>
internal sealed class OutputFolder : IDisposable
{
    /// <summary>What the lock is called; it is gone when the folder is let go.</summary>
    private const string LockFile = ".tessera.lock";

    /// <summary>What a run leaves behind. What a comparison leaves is never replaced by a run.</summary>
    private static readonly string[] OfRuns = ["result.json", "configuration.json", "schedule.csv", "counters.csv", "trace.json", "report.html", "console-*.log"];
    private static readonly string[] OfComparisons = ["comparison.json", "comparison.csv", "calibration.json"];
    private const string SeriesOfRuns = "series";
    private const string RunsOfComparisons = "runs";

    private readonly FileStream _lock;

    private OutputFolder(string path)
    {
        RunFiles.CreateFolder(path);
        string file = Path.Combine(path, LockFile);
        if (UntrustedFolder.IsLink(file))
            throw new UsageException($"--out {path}: {LockFile} in it is a symbolic link, which is not followed. Remove it, or name another folder.");
        if (FileFacts.Of(file) is { IsFile: false })
            throw new UsageException($"--out {path}: {LockFile} in it is not a file. Remove it, or name another folder.");
        try
        {
            _lock = new FileStream(file, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1, FileOptions.DeleteOnClose);
        }
        catch (IOException e) when (e.HResult == TryAgain)
        {
            throw new UsageException($"--out {path}: another tessera is writing into this folder. Name another folder, or wait until it has ended.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"--out {path}: {e.Message} Name a folder that can be written.");
        }
    }

    /// <summary>EWOULDBLOCK, what a lock that somebody has answers.</summary>
    private const int TryAgain = 11;

    /// <summary>Takes a folder for one run's results.</summary>
    /// <param name="path">The folder; made when it is not there.</param>
    /// <param name="force">Whether another run's results go.</param>
    /// <exception cref="UsageException">It has results already, somebody writes there, or it cannot be written.</exception>
    public static OutputFolder ForRun(string path, bool force)
    {
        OutputFolder folder = new(path);
        try
        {
            if (HasComparison(path))
                throw new UsageException($"--out {path}: a comparison is there, which a run never replaces. Name another folder.");
            string[] old = [.. OfRuns.SelectMany(name => Directory.GetFiles(path, name))];
            if (old.Length > 0 && !force)
                throw new UsageException($"--out {path}: results of another run are there ({Path.GetFileName(old[0])} of {File.GetLastWriteTime(old[0]).ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture)}). Name another folder, or replace them with --force.");
            foreach (string file in old)
                File.Delete(file);
            RemoveSeries(Path.Combine(path, SeriesOfRuns));
            return folder;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            folder.Dispose();
            throw new UsageException($"--out {path}: {e.Message} Name a folder that can be written.");
        }
        catch
        {
            folder.Dispose();
            throw;
        }
    }

    /// <summary>Takes a folder for a comparison, which goes on with what of it is there already.</summary>
    /// <param name="path">The folder; made when it is not there.</param>
    /// <exception cref="UsageException">A single run's results are there, somebody writes there, or it cannot be written.</exception>
    public static OutputFolder ForComparison(string path)
    {
        OutputFolder folder = new(path);
        if (!HasComparison(path) && File.Exists(Path.Combine(path, OfRuns[0])))
        {
            folder.Dispose();
            throw new UsageException($"--out {path}: the results of a single run are there. Name another folder for the comparison.");
        }

        return folder;
    }

    /// <inheritdoc/>
    public void Dispose() => _lock.Dispose();

    private static bool HasComparison(string path) =>
        Directory.Exists(Path.Combine(path, RunsOfComparisons)) || OfComparisons.Any(name => File.Exists(Path.Combine(path, name)));

    /// <summary>The series of the run before: CSV files, and the folder when nothing else is in it. Not through a link.</summary>
    private static void RemoveSeries(string folder)
    {
        DirectoryInfo series = new(folder);
        if (!series.Exists || series.LinkTarget is not null)
            return;
        foreach (FileInfo file in series.GetFiles("*.csv"))
            file.Delete();
        if (!series.EnumerateFileSystemInfos().Any())
            series.Delete();
    }
}
