using System.Globalization;

namespace Tessera.Common;

/// <summary>Opens files that may be anything: a device gives bytes for ever, and a pipe that nobody writes keeps its reader waiting for ever.</summary>
internal static class OrdinaryFile
{
    /// <summary>The most bytes that are read whole: any plugin and any result that was ever written is far smaller.</summary>
    private const long Most = 512L << 20;

    /// <summary>Opens it for reading.</summary>
    /// <exception cref="IOException">It is not there, or no file; the message names it.</exception>
    public static FileStream Open(string path)
    {
        Check(path);
        return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read);
    }

    /// <summary>Reads it whole.</summary>
    /// <exception cref="IOException">It is not there, no file, or too large; the message names it.</exception>
    public static byte[] Read(string path)
    {
        using FileStream file = Open(path);
        if (file.Length > Most)
            throw new IOException($"{path} has more than {(Most >> 20).ToString(CultureInfo.InvariantCulture)} MiB, more than any file of its kind needs.");
        byte[] whole = new byte[file.Length];
        file.ReadExactly(whole);
        return whole;
    }

    /// <summary>Looks whether it is a file, or a link to one.</summary>
    /// <exception cref="IOException">It is neither; the message names it.</exception>
    public static void Check(string path)
    {
        FileFacts? facts = FileFacts.Of(File.ResolveLinkTarget(path, returnFinalTarget: true) is { Exists: true } target ? target.FullName : path);
        if (facts is { IsFolder: true })
            throw new IOException($"{path} is a folder, not a file.");
        if (facts is { IsFile: false })
            throw new IOException($"{path} is a device, a pipe or a socket, not a file.");
    }
}
