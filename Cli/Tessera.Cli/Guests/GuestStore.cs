using System.Text.RegularExpressions;

namespace Tessera.Cli.Guests;

/// <summary>
/// The library's folder: one folder a guest. A guest is made under a name that begins with a dot and moved into place when it is complete;
/// the one it replaces is moved aside first and put back by the next use if the process dies between the two moves.
/// </summary>
internal sealed partial class GuestStore(string root)
{
    private const string NewPrefix = ".new-";
    private const string PreviousPrefix = ".previous-";

    public string Root { get; } = Path.GetFullPath(root);

    /// <summary>Where the library is: TESSERA_CACHE, else tessera/guests in the user's cache folder (XDG base directory specification).</summary>
    public static string DefaultRoot(Func<string, string?> environment)
    {
        if (Value("TESSERA_CACHE") is string cache)
            return Path.Combine(cache, "guests");
        // The specification: a relative XDG path is to be ignored.
        string caches = Value("XDG_CACHE_HOME") is string xdg && Path.IsPathRooted(xdg)
            ? xdg
            : Path.Combine(Value("HOME") ?? Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache");
        return Path.Combine(caches, "tessera", "guests");

        string? Value(string name) => environment(name) is { Length: > 0 } value ? value : null;
    }

    public static void CheckName(string name)
    {
        if (!NamePattern().IsMatch(name))
            throw new GuestException($"\"{name}\" is not a guest name: lower-case letters, digits, '.', '_' and '-', beginning with a letter or digit, at most 64 characters.") { IsMisuse = true };
    }

    public string FolderOf(string name) => Path.Combine(Root, name);

    public IEnumerable<string> Names()
    {
        if (!Directory.Exists(Root))
            return [];
        Recover();
        return Directory.EnumerateDirectories(Root).Select(d => Path.GetFileName(d)).Where(n => NamePattern().IsMatch(n)).Order(StringComparer.Ordinal);
    }

    public bool Contains(string name)
    {
        if (Directory.Exists(Root))
            Recover();
        return Directory.Exists(FolderOf(name));
    }

    /// <summary>Takes the library for writing and clears up what a process that died left half done.</summary>
    /// <exception cref="GuestException">Another process has it, or the folder is not usable.</exception>
    public IDisposable Lock()
    {
        FileStream held;
        try
        {
            Directory.CreateDirectory(Root);
            held = new FileStream(Path.Combine(Root, ".lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new GuestException($"{Root} cannot be written: {e.Message.TrimEnd('.')}. Set TESSERA_CACHE to a folder you own.", e);
        }
        catch (IOException e) when (!GuestLibrary.IsDiskFull(e))
        {
            throw new GuestException($"{Root} cannot be locked: another tessera is getting or adding a guest, or the folder is not usable ({e.Message.TrimEnd('.')}). Wait for it, or set TESSERA_CACHE.", e);
        }
        foreach (string folder in Directory.GetDirectories(Root, NewPrefix + "*"))
            Drop(folder);
        foreach (string previous in Directory.GetDirectories(Root, PreviousPrefix + "*"))
        {
            if (Directory.Exists(Successor(previous)))
                Drop(previous);
            else
                Directory.Move(previous, Successor(previous));
        }
        return held;
    }

    /// <summary>An empty folder to make a guest in, or to work in. Needs the lock.</summary>
    public string Fresh(string name)
    {
        string folder = Path.Combine(Root, NewPrefix + name);
        Directory.CreateDirectory(folder);
        return folder;
    }

    /// <summary>Puts a complete folder in place of the guest's, all or nothing. Needs the lock.</summary>
    public void Publish(string folder, string name)
    {
        string target = FolderOf(name);
        string previous = Path.Combine(Root, PreviousPrefix + name);
        if (Directory.Exists(target))
            Directory.Move(target, previous);
        Directory.Move(folder, target);
        Drop(previous);
    }

    public static void Drop(string folder)
    {
        if (Directory.Exists(folder))
            Directory.Delete(folder, recursive: true);
    }

    private string Successor(string previous) => FolderOf(Path.GetFileName(previous)[PreviousPrefix.Length..]);

    private void Recover()
    {
        if (Directory.GetDirectories(Root, PreviousPrefix + "*").All(p => Directory.Exists(Successor(p))))
            return;
        try
        {
            Lock().Dispose();
        }
        catch (GuestException)
        {
            // A living process is between its two moves; it will finish them.
        }
    }

    [GeneratedRegex("^[a-z0-9][a-z0-9._-]{0,63}$")]
    private static partial Regex NamePattern();
}
