using System.Text;
using Tmds.Linux;

namespace Tessera.Lab.Folders;

/// <summary>
/// Brings what was written into a folder to the disk, so that a folder renamed into its place is whole after a power cut too.
/// </summary>
internal static class SettledFolder
{
    /// <summary>Settles every file of a folder, and the folder's list of them; no folders in it.</summary>
    /// <exception cref="IOException">The disk refused.</exception>
    public static void Settle(string folder)
    {
        foreach (FileInfo file in new DirectoryInfo(folder).EnumerateFiles())
        {
            if (file.LinkTarget is not null)
                continue;
            using FileStream stream = new(file.FullName, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
            stream.Flush(flushToDisk: true);
        }

        SettleNames(folder);
    }

    /// <summary>
    /// Settles the names in a folder. File systems that cannot do that for folders (some of a network) do it of themselves.
    /// </summary>
    public static unsafe void SettleNames(string folder)
    {
        int descriptor;

        // SAFETY: a path that ends with a zero, pinned for the call.
        fixed (byte* name = Encoding.UTF8.GetBytes(folder + '\0'))
            descriptor = LibC.open(name, LibC.O_RDONLY | LibC.O_DIRECTORY | LibC.O_CLOEXEC);
        if (descriptor < 0)
            return;
        _ = LibC.fsync(descriptor);
        _ = LibC.close(descriptor);
    }
}
