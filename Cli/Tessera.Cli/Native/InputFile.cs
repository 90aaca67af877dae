using System.Globalization;
using Tessera.Common;

namespace Tessera.Cli.Native;

/// <summary>Reads files that a user or a file of a user's names, whole: no device that never ends, nothing larger than its kind can be.</summary>
internal static class InputFile
{
    /// <summary>The most bytes of a configuration, a scenario or another text that people write.</summary>
    public const long MostText = 64L << 20;

    /// <summary>The most bytes of a kernel's file or an initial RAM disk.</summary>
    public const long MostImage = 1L << 30;

    private const int LeastRoom = 1 << 16;

    /// <summary>Reads a file.</summary>
    /// <param name="path">Its path, as the user wrote it.</param>
    /// <param name="most">The most bytes it may have.</param>
    /// <param name="mayBePipe">Whether a pipe will do, as a shell makes for a command.</param>
    /// <exception cref="IOException">It is not there, no file or too large; the message names it.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read.</exception>
    public static byte[] Read(string path, long most, bool mayBePipe = false)
    {
        if (path.Contains('\0', StringComparison.Ordinal))
            throw new IOException("A path with the character U+0000 in it names no file.");
        FileFacts? facts = FileFacts.Of(File.ResolveLinkTarget(path, returnFinalTarget: true) is { Exists: true } target ? target.FullName : path);
        if (facts is { IsFolder: true })
            throw new IOException($"{path} is a folder, not a file.");
        bool isPipe = mayBePipe && (facts is { IsPipe: true } || path.StartsWith("/dev/fd/", StringComparison.Ordinal) || path is "/dev/stdin");
        if (facts is { IsFile: false } && !isPipe)
            throw new IOException($"{path} is a device, a pipe or a socket, not a file.");
        using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
        // A large file is read where it stays: no copies of what grew, no pages touched twice. Files of /proc say that they are empty.
        byte[] read = GC.AllocateUninitializedArray<byte>((int)Math.Min(file.CanSeek ? file.Length : 0, most));
        int count = 0;
        while (true)
        {
            if (count == read.Length)
            {
                int next = file.ReadByte();
                if (next < 0)
                    return read;
                if (count == most)
                    throw new IOException($"{path} has more than {(most >> 20).ToString(CultureInfo.InvariantCulture)} MiB, more than any file of its kind needs.");
                Array.Resize(ref read, (int)Math.Min(Math.Max(2L * count, LeastRoom), most));
                read[count++] = (byte)next;
            }

            int more = file.Read(read, count, read.Length - count);
            if (more == 0)
            {
                Array.Resize(ref read, count);
                return read;
            }

            count += more;
        }
    }
}
