namespace Tessera.Cli.Control;

/// <summary>Files that only this user can use.</summary>
internal static class PrivateFiles
{
    private const string NeedsLinux = "Control sockets need Linux.";

    /// <summary>Makes a folder unless there is one.</summary>
    public static void MakeFolder(string path)
    {
        if (!OperatingSystem.IsLinux())
            throw new PlatformNotSupportedException(NeedsLinux);
        Directory.CreateDirectory(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    /// <summary>Takes everybody else's rights to a file.</summary>
    public static void Protect(string path)
    {
        if (!OperatingSystem.IsLinux())
            throw new PlatformNotSupportedException(NeedsLinux);
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }
}
