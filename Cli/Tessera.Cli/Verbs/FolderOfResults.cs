using Tessera.Experiments;

namespace Tessera.Cli.Verbs;

/// <summary>A folder of results that a verb reads.</summary>
internal static class FolderOfResults
{
    /// <summary>A folder's files may have come from anybody: what is not as a run writes it is theirs to answer for, not the program's.</summary>
    /// <param name="path">The folder.</param>
    /// <param name="read">What is done with it.</param>
    /// <exception cref="UsageException">A file in it is not what it should be.</exception>
    public static T Read<T>(string path, Func<string, T> read)
    {
        try
        {
            return read(path);
        }
        catch (Exception e) when (e is InvalidOperationException or KeyNotFoundException or FormatException or OverflowException)
        {
            throw new UsageException($"{path}: a file in it is not what a run or a comparison writes: {e.Message}");
        }
    }
}
