using System.Text;
using System.Text.RegularExpressions;
using Tessera.Packages.Tests.Support;

namespace Tessera.Packages.Tests;

/// <summary>
/// docs/tutorial.md, typed line by line: its commands end well, and print the figures it shows where these are the same everywhere.
/// </summary>
[NonParallelizable]
internal sealed partial class TutorialTests
{
    private const string Prompt = "$ ";
    private const string LeftOut = "…";

    [Test]
    public void Its_lines_work_and_show_what_the_page_shows()
    {
        if (!Directory.Exists(Path.Combine(SourceTree.Root, "artifacts", "plotting")))
            Assert.Ignore("Built without the plotting library, so reports cannot be drawn; run .ci/plotting-library and build again.");
        string home = NewHome();
        StringBuilder script = new();
        List<(string Command, List<string> Shown)> steps = [];
        string removed = "";
        foreach (string line in File.ReadLines(Path.Combine(SourceTree.Root, "docs", "tutorial.md")).Where(IsTypedOrShown()))
        {
            if (line.StartsWith(Prompt, StringComparison.Ordinal))
            {
                string command = line[Prompt.Length..];
                steps.Add((command, []));
                script.Append("echo '").Append(line).AppendLine("'").AppendLine(Shortened(command));
            }
            else if (line.StartsWith('-'))
                removed = line[1..].Trim();
            else if (line.StartsWith('+'))
                script.AppendLine(Edit("MyPolicy/MyPolicyScheduler.cs", removed, line[1..].Trim()));
            else
                steps[^1].Shown.Add(Squeezed(line));
        }

        Ended typed = PackedOnce.Shell.Bash(home, $"exec 2>&1; chmod +x tessera/tessera\n{script}");
        Assert.That(typed.Code, Is.Zero, typed.ToString());
        ILookup<string, string> printed = typed.Output.Split($"\n{Prompt}").Select(part => part.Split('\n'))
            .SelectMany(lines => lines.Select(line => (Command: lines[0], Line: Squeezed(line))))
            .ToLookup(pair => pair.Command, pair => pair.Line);
        (string Command, List<string> Shown)[] exact = [.. steps.Where(step => IsTheSameEverywhere(step.Command))];
        Assert.That(exact, Has.Length.EqualTo(4));
        Assert.Multiple(() =>
        {
            foreach ((string command, List<string> shown) in exact)
                Assert.That(shown.Except(printed[command]), Is.Empty, string.Join('\n', printed[command]));
        });
    }

    private static bool IsTheSameEverywhere(string command) =>
        command.StartsWith("tessera simulate", StringComparison.Ordinal) || command.Contains("--time virtual", StringComparison.Ordinal);

    /// <summary>A home folder with what a clone has in it after the build: the command and, for `dotnet pack`, the packages.</summary>
    private static string NewHome()
    {
        string home = PackedOnce.NewFolder();
        string clone = Directory.CreateDirectory(Path.Combine(home, "tessera", "artifacts")).Parent!.FullName;
        File.CreateSymbolicLink(Path.Combine(clone, "artifacts", "packages"), PackedOnce.Feed);
        File.WriteAllText(Path.Combine(clone, "tessera"), $"#!/bin/sh\nexec dotnet '{SourceTree.CommandLine}' \"$@\"\n");

        // Where NuGet looks is the user's own matter.
        string nuget = Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "NuGet");
        if (Directory.Exists(nuget))
            File.CreateSymbolicLink(Path.Combine(Directory.CreateDirectory(Path.Combine(home, ".nuget")).FullName, "NuGet"), nuget);
        return home;
    }

    /// <summary>Whether a line is inside of a code block and whole.</summary>
    private static Func<string, bool> IsTypedOrShown()
    {
        bool inside = false;
        return line =>
        {
            bool isFence = line.StartsWith("```", StringComparison.Ordinal);
            inside ^= isFence;
            bool isTyped = line.StartsWith(Prompt, StringComparison.Ordinal);
            return inside && !isFence && (isTyped || !(line.Contains(LeftOut, StringComparison.Ordinal) || line.StartsWith('─')));
        };
    }

    /// <summary>What was cloned and packed before is not cloned and packed again; runs in real time are shorter.</summary>
    private static string Shortened(string command) =>
        command.StartsWith("git clone", StringComparison.Ordinal) || command.StartsWith("dotnet pack", StringComparison.Ordinal) ? ":"
        : command.StartsWith("tessera compare", StringComparison.Ordinal) ? Seconds.Replace(command, "--seconds 0.3")
        : command.StartsWith("tessera run", StringComparison.Ordinal) && !Seconds.IsMatch(command) ? $"{command} --seconds 1"
        : command;

    private static string Edit(string file, string removed, string added) => $$"""
        text=$(<{{file}}); echo "${text/'{{removed}}'/'{{added}}'}" >{{file}}; grep -qF '{{added}}' {{file}}
        """;

    private static string Squeezed(string line) => Spaces.Replace(line.Trim(), " ");

    [GeneratedRegex(@"--seconds \S+")]
    private static partial Regex Seconds { get; }

    [GeneratedRegex(" +")]
    private static partial Regex Spaces { get; }
}
