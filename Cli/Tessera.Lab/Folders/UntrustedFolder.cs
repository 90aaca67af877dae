using Tessera.Common;

namespace Tessera.Lab.Folders;

/// <summary>A folder holds something that nothing may be read or written through.</summary>
public sealed class FolderException : IOException
{
    /// <summary>With what is wrong and what helps.</summary>
    public FolderException(string message)
        : base(message)
    {
    }

    /// <summary>For serialisers; says nothing.</summary>
    public FolderException()
    {
    }

    /// <summary>With its cause.</summary>
    public FolderException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}

/// <summary>
/// A folder whose contents may have come from anybody, such as a folder of results. Nothing is read or written through a symbolic link below it, no
/// path leads out of it, and a file is written beside its place and renamed into it, so that whatever bore its name before is replaced, not
/// followed. The folder itself is the user's choice and may be reached by links. Links are looked for before use: against somebody who changes
/// the folder at the same time only the rights of the file system help.
/// </summary>
/// <param name="path">The folder.</param>
public sealed class UntrustedFolder(string path)
{
    private const string Unfinished = ".new";

    /// <summary>Where it is.</summary>
    public string Path => path;

    /// <summary>Whether a path stays below the folder that it is relative to.</summary>
    /// <param name="relative">A path as some data has it, with '/' between its parts.</param>
    public static bool IsBelow(string relative) =>
        !relative.Contains('\0', StringComparison.Ordinal) && relative.Split('/').All(part => part is not ("" or "." or ".."));

    /// <summary>Whether a path is a symbolic link, to whatever or nothing.</summary>
    public static bool IsLink(string path) => new FileInfo(path).LinkTarget is not null;

    /// <summary>Whether it has a file there; not one reached by a link, nor one that is a link.</summary>
    /// <param name="relative">The path from this folder.</param>
    public bool HasFile(string relative) => Find(relative) is { } file && File.Exists(file);

    /// <summary>Whether it has a folder there; not one reached by a link, nor one that is a link.</summary>
    /// <param name="relative">The path from this folder.</param>
    public bool HasFolder(string relative) => Find(relative) is { } folder && Directory.Exists(folder);

    /// <summary>The names of the folders in one of its folders, in order, links left out; none when that is not there.</summary>
    /// <param name="relative">The path from this folder.</param>
    public IReadOnlyList<string> FoldersOf(string relative) =>
        HasFolder(relative) ? [.. new DirectoryInfo(Resolve(relative)).EnumerateDirectories().Where(folder => folder.LinkTarget is null).Select(folder => folder.Name).Order(StringComparer.Ordinal)] : [];

    /// <summary>Opens a file for reading.</summary>
    /// <param name="relative">The path from this folder.</param>
    /// <exception cref="FolderException">The path leads out of this folder, or there is a link on it.</exception>
    /// <exception cref="IOException">It is not there, cannot be read, or is a device or a pipe.</exception>
    public FileStream OpenRead(string relative) => OrdinaryFile.Open(NoLink(Resolve(relative)));

    /// <summary>Reads a file whole; errors as <see cref="OpenRead"/>.</summary>
    /// <param name="relative">The path from this folder.</param>
    public byte[] ReadBytes(string relative) => OrdinaryFile.Read(NoLink(Resolve(relative)));

    /// <summary>Writes a file, all or nothing.</summary>
    /// <param name="relative">The path from this folder.</param>
    /// <param name="write">Writes its contents.</param>
    /// <exception cref="FolderException">The path leads out of this folder, or one of its folders is a link.</exception>
    /// <exception cref="IOException">It cannot be written.</exception>
    public void Write(string relative, Action<Stream> write)
    {
        string file = Resolve(relative);
        string unfinished = file + Unfinished;
        File.Delete(unfinished);
        try
        {
            using (FileStream stream = new(unfinished, FileMode.CreateNew, FileAccess.Write))
                write(stream);
            File.Move(unfinished, file, overwrite: true);
        }
        catch
        {
            File.Delete(unfinished);
            throw;
        }
    }

    /// <summary>Writes a file of text (UTF-8), all or nothing; errors as <see cref="Write"/>.</summary>
    /// <param name="relative">The path from this folder.</param>
    /// <param name="write">Writes its contents.</param>
    public void WriteText(string relative, Action<TextWriter> write) => Write(relative, stream =>
    {
        using StreamWriter writer = new(stream, leaveOpen: true);
        write(writer);
    });

    /// <summary>The same with a text that is at hand.</summary>
    /// <param name="relative">The path from this folder.</param>
    /// <param name="text">Its contents.</param>
    public void WriteText(string relative, string text) => WriteText(relative, writer => writer.Write(text));

    /// <summary>A new file in the place of whatever has its name, for what grows while somebody reads it; errors as <see cref="Write"/>.</summary>
    /// <param name="relative">The path from this folder.</param>
    public FileStream Create(string relative)
    {
        string file = Resolve(relative);
        File.Delete(file);
        return new FileStream(file, FileMode.CreateNew, FileAccess.Write, FileShare.Read, bufferSize: 0);
    }

    /// <summary>Makes one of its folders, and those above it, unless they are there.</summary>
    /// <param name="relative">The path from this folder.</param>
    /// <exception cref="FolderException">The path leads out of this folder, or there is a link on it.</exception>
    public void MakeFolder(string relative) => Directory.CreateDirectory(NoLink(Resolve(relative)));

    /// <summary>Gives one of its folders another name, after all that was written into it is on the disk.</summary>
    /// <param name="from">The path from this folder.</param>
    /// <param name="to">Its new path from this folder.</param>
    /// <returns>Whether it has that name now; false when something else does, which stays.</returns>
    /// <exception cref="FolderException">A path leads out of this folder, or there is a link on it.</exception>
    /// <exception cref="IOException">It is not there, or the disk refused.</exception>
    public bool MoveFolder(string from, string to)
    {
        string source = NoLink(Resolve(from));
        string target = Resolve(to);
        SettledFolder.Settle(source);
        try
        {
            Directory.Move(source, target);
        }
        catch (IOException) when (Directory.Exists(target) || File.Exists(target) || IsLink(target))
        {
            return false;
        }

        SettledFolder.SettleNames(System.IO.Path.GetDirectoryName(target)!);
        return true;
    }

    /// <summary>Removes a file; of a link, the link.</summary>
    /// <param name="relative">The path from this folder.</param>
    /// <exception cref="FolderException">The path leads out of this folder, or one of its folders is a link.</exception>
    public void RemoveFile(string relative)
    {
        if (File.Exists(Resolve(relative)) || IsLink(Resolve(relative)))
            File.Delete(Resolve(relative));
    }

    /// <summary>Removes one of its folders with everything in it; of links, there and in it, the links alone.</summary>
    /// <param name="relative">The path from this folder.</param>
    /// <exception cref="FolderException">The path leads out of this folder, or one of the folders above is a link.</exception>
    public void RemoveFolder(string relative)
    {
        string folder = Resolve(relative);
        if (IsLink(folder))
            File.Delete(folder);
        else if (Directory.Exists(folder))
            Directory.Delete(folder, recursive: true);
    }

    private static string NoLink(string file) => IsLink(file)
        ? throw new FolderException($"{file} is a symbolic link. Nothing is read or written through links in a folder of data; put what it points to in its place, or remove it.")
        : file;

    private string? Find(string relative)
    {
        if (!IsBelow(relative))
            return null;
        string found = path;
        foreach (string part in relative.Split('/'))
        {
            found = System.IO.Path.Combine(found, part);
            if (IsLink(found))
                return null;
        }

        return found;
    }

    /// <summary>The whole path, of which no folder is a link; its last part may be one.</summary>
    private string Resolve(string relative)
    {
        if (!IsBelow(relative))
            throw new FolderException($"{path}: \"{relative}\" is not a path below this folder. It must be relative, without \".\" and \"..\".");
        string[] parts = relative.Split('/');
        string folder = path;
        foreach (string part in parts[..^1])
            folder = NoLink(System.IO.Path.Combine(folder, part));
        return System.IO.Path.Combine(folder, parts[^1]);
    }
}
