using System.Diagnostics;

namespace Tessera.Packages.Tests.Support;

/// <summary>How a program ended.</summary>
internal sealed record Ended(string Command, int Code, string Output, string Error)
{
    /// <summary>For assertions: everything there is to know.</summary>
    public override string ToString() => $"{Command}\nexit code {Code}\n{Output}\n{Error}";
}

/// <summary>Runs programs as a stranger on this machine would, with a package cache and templates of their own.</summary>
/// <param name="folder">Where the cache and the templates are kept.</param>
internal sealed class Shell(string folder)
{
    /// <summary>What the test runner's own .NET tells its children, and must not tell these.</summary>
    private static readonly string[] Inherited = ["MSBuildSDKsPath", "MSBuildExtensionsPath", "MSBUILD_EXE_PATH", "MSBuildLoadMicrosoftTargetsReadOnly", "DOTNET_CLI_CONTEXT_ANSI_PASS_THRU"];

    /// <summary>`dotnet new`, with templates installed for these tests only.</summary>
    public Ended New(string workingFolder, params string[] arguments) => Dotnet(workingFolder, ["new", .. arguments, "--debug:custom-hive", Path.Combine(folder, "templates")]);

    /// <summary>`tessera`.</summary>
    public Ended Tessera(string workingFolder, params string[] arguments) => Dotnet(workingFolder, [SourceTree.CommandLine, .. arguments]);

    public Ended Dotnet(string workingFolder, params string[] arguments) => Run("dotnet", workingFolder, null, arguments);

    /// <summary>A script of bash, which ends with the first line that fails.</summary>
    /// <param name="home">The home folder of whoever types it, where it begins.</param>
    public Ended Bash(string home, string script) => Run("bash", home, home, ["-e", "-c", script]);

    private Ended Run(string program, string workingFolder, string? home, string[] arguments)
    {
        ProcessStartInfo start = new(program, arguments)
        {
            WorkingDirectory = workingFolder,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (string name in Inherited)
            start.Environment.Remove(name);

        // An own cache: a Tessera package of the same version that the user has restored before would be served instead.
        start.Environment["NUGET_PACKAGES"] = Path.Combine(folder, "packages");
        start.Environment["TESSERA_PLUGINS"] = SourceTree.Plugins;
        if (home is not null)
            start.Environment["HOME"] = home;

        // Servers that outlive the build would keep its output open.
        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
        start.Environment["DOTNET_CLI_USE_MSBUILD_SERVER"] = "0";
        start.Environment["UseSharedCompilation"] = "false";
        start.Environment["DOTNET_NOLOGO"] = "1";
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> error = process.StandardError.ReadToEndAsync();
        process.StandardInput.Close();
        string command = $"{program} {string.Join(' ', arguments)}";
        if (!process.WaitForExit(Hang.Limit))
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail($"{command} did not end within {Hang.Limit.TotalMinutes:0} minutes.");
        }

        return new(command, process.ExitCode, output.Result, error.Result);
    }
}
