using Tessera.Lab.Comparisons;

namespace Tessera.Cli.Tests.Support;

/// <summary>A sweep in a folder of its own, and what a comparison of the same design gives beside it.</summary>
internal sealed class SweepFolder : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("tessera-sweep-").FullName;

    /// <summary>The sweep's folder.</summary>
    public string Path => System.IO.Path.Combine(_root, "sweep");

    /// <summary>The folder of finished runs.</summary>
    public string Runs => System.IO.Path.Combine(Path, "runs");

    /// <summary>A place for other files.</summary>
    public string Beside(string name) => System.IO.Path.Combine(_root, name);

    /// <summary>`sweep plan` in virtual time, with a seed in every repetition that matters.</summary>
    public void Plan(string sample, params string[] more)
    {
        using Cli cli = new();
        Assert.That(cli.Run(["sweep", "plan", .. Design(sample, more), "--out", Path]), Is.Zero, cli.Error);
    }

    /// <summary>comparison.csv of a `compare` of the same design, less what is of the run's making.</summary>
    public string[] Compared(string sample, params string[] more)
    {
        string folder = Beside("compared");
        using Cli cli = new();
        Assert.That(cli.Run(["compare", .. Design(sample, more), "--out", folder, "--quiet"]), Is.Zero, cli.Error);
        return Figures(folder);
    }

    /// <summary>comparison.csv, but for how long each run took and what its folder is called.</summary>
    public static string[] Figures(string folder)
    {
        string[] lines = File.ReadAllLines(System.IO.Path.Combine(folder, "comparison.csv"));
        string[] head = lines[0].Split(',');
        int wall = Array.IndexOf(head, "wall_seconds"), name = Array.IndexOf(head, "folder");
        Assert.That(lines, Has.All.Not.Contains("\""), "no field is quoted");
        return [.. lines.Select(line => string.Join(',', line.Split(',').Where((_, column) => column != wall && column != name)))];
    }

    /// <summary>comparison.json.</summary>
    public ComparisonDocument Document() => ComparisonJson.Read(File.ReadAllText(System.IO.Path.Combine(Path, "comparison.json")));

    /// <summary>A program of the shell's.</summary>
    public static string Program(string file, string text)
    {
        if (!OperatingSystem.IsLinux())
            throw new PlatformNotSupportedException();
        File.WriteAllText(file, $"#!/bin/sh\n{text}\n");
        File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        return file;
    }

    /// <summary>Names of finished runs.</summary>
    public IReadOnlyList<string> Finished() =>
        Directory.Exists(Runs) ? [.. Directory.GetDirectories(Runs).Select(run => System.IO.Path.GetFileName(run)!)
            .Where(name => name[0] != '.').Order(StringComparer.Ordinal)] : [];

    public void Dispose() => Directory.Delete(_root, recursive: true);

    private static string[] Design(string sample, string[] more) =>
        [Repository.Sample(sample), "--simulate-only", "--seconds", "1", "--no-schedules", .. more];
}
