namespace Tessera.Packages.Tests.Support;

/// <summary>The source tree these tests were built from.</summary>
internal static class SourceTree
{
    public static string Root { get; } = FindRoot();

    /// <summary>The configuration the tests were built in, and so everything they use: their folder is bin/CONFIGURATION/net10.0.</summary>
    public static string Configuration { get; } = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name;

    public static string Plugins => Path.Combine(Root, "artifacts", "plugins");

    public static string CommandLine => Path.Combine(Root, "Cli", "Tessera.Cli", "bin", Configuration, "net10.0", "linux-x64", "tessera.dll");

    private static string FindRoot()
    {
        string? folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "Tessera.slnx")))
            folder = Path.GetDirectoryName(folder);
        return folder ?? throw new InvalidOperationException($"Tessera.slnx is in no folder above {AppContext.BaseDirectory}.");
    }
}
