namespace Tessera.Architecture.Tests;

/// <summary>The source tree these tests were built from.</summary>
internal static class Repository
{
    /// <summary>The rooms that are delivered: no tests, no benches.</summary>
    public static readonly string[] Rooms = ["Sdk", "Kernel", "Plugins", "Cli"];

    public static string Root { get; } = FindRoot();

    /// <summary>Files of some rooms as paths below the root; build output is left out.</summary>
    public static IReadOnlyList<string> Files(string pattern, params IEnumerable<string> rooms) =>
    [
        .. rooms.Select(room => Path.Combine(Root, room)).Where(Directory.Exists)
            .SelectMany(room => Directory.GetFiles(room, pattern, SearchOption.AllDirectories))
            .Select(file => Path.GetRelativePath(Root, file))
            .Where(file => !file.Split('/').Any(part => part is "obj" or "bin" or "artifacts" or "TestResults"))
            .Order(StringComparer.Ordinal),
    ];

    public static string[] Lines(string file) => File.ReadAllLines(Path.Combine(Root, file));

    /// <summary>A file's lines of code, without line comments (and so without XML documentation).</summary>
    public static IEnumerable<string> Code(string file) => Lines(file)
        .Select(line => line.IndexOf("//", StringComparison.Ordinal) is var comment and >= 0 ? line[..comment] : line);

    private static string FindRoot()
    {
        string? folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "Tessera.slnx")))
            folder = Path.GetDirectoryName(folder);
        return folder ?? throw new InvalidOperationException($"Tessera.slnx is in no folder above {AppContext.BaseDirectory}.");
    }
}
