using System.Diagnostics;

namespace Tessera.Cli.Tests.Support;

/// <summary>The command line in a process of its own.</summary>
internal static class Child
{
    /// <summary>The program as built beside the tests.</summary>
    public static string Program => Path.Combine(AppContext.BaseDirectory, "tessera.dll");

    public static (int Code, string Output, string Error) Run(string folder, Dictionary<string, string> environment, params string[] arguments) =>
        Run("dotnet", folder, environment, "", [Program, .. arguments]);

    public static (int Code, string Output, string Error) Run(
        string program, string folder, Dictionary<string, string> environment, string input, params string[] arguments)
    {
        ProcessStartInfo start = new(program, arguments)
        {
            WorkingDirectory = folder,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["TESSERA_PLUGINS"] = Repository.Plugins;
        foreach ((string name, string value) in environment)
            start.Environment[name] = value;
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> error = process.StandardError.ReadToEndAsync();
        process.StandardInput.Write(input);
        process.StandardInput.Close();
        if (!process.WaitForExit(Hang.Limit))
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail($"{program} did not end within {Hang.Limit.TotalMinutes:0} minutes.");
        }

        return (process.ExitCode, output.Result, error.Result);
    }
}
