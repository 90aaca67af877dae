namespace Tessera.Hosting;

/// <summary>Where plugins are looked for.</summary>
public static class PluginFolders
{
    /// <summary>The environment variable with folders of one's own, separated by colons.</summary>
    public const string Variable = "TESSERA_PLUGINS";

    /// <summary>
    /// The folders of this installation: the built-in plugins next to the command line, those of <see cref="Variable"/>, and
    /// ~/.local/share/tessera/plugins (or its place under XDG_DATA_HOME).
    /// </summary>
    /// <param name="applicationFolder">Where the command line's own DLL lies; null means this process's.</param>
    /// <param name="environment">Reads an environment variable; null means this process's.</param>
    /// <returns>Full paths in order of search. Those of the variable are given even when they do not exist, so that a typing error is reported.</returns>
    public static IReadOnlyList<string> Default(string? applicationFolder = null, Func<string, string?>? environment = null)
    {
        environment ??= Environment.GetEnvironmentVariable;
        List<string> folders = [];
        AddIfPresent(folders, Path.Combine(applicationFolder ?? AppContext.BaseDirectory, "..", "plugins"));
        foreach (string folder in (environment(Variable) ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
            Add(folders, folder);

        string? data = environment("XDG_DATA_HOME");
        string? home = environment("HOME");
        if (string.IsNullOrEmpty(data) && !string.IsNullOrEmpty(home))
            data = Path.Combine(home, ".local", "share");
        if (!string.IsNullOrEmpty(data))
            AddIfPresent(folders, Path.Combine(data, "tessera", "plugins"));
        return folders;
    }

    private static void AddIfPresent(List<string> folders, string folder)
    {
        if (Directory.Exists(folder))
            Add(folders, folder);
    }

    private static void Add(List<string> folders, string folder)
    {
        string full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder));
        if (!folders.Contains(full))
            folders.Add(full);
    }
}
