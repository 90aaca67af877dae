using System.Text.Json;

namespace Tessera.Linux.Tests.Support;

/// <summary>`tessera run` of a sample, in a process of its own and a folder of its own.</summary>
internal sealed class SampleRun : IDisposable
{
    private SampleRun(string sample, Func<string, string> change)
    {
        Folder = Directory.CreateTempSubdirectory("tessera-sample-").FullName;
        File.WriteAllText(At(sample), change(File.ReadAllText(Path.Combine(TesseraProcess.Root(), "samples", sample))));
    }

    /// <summary>Where the sample lies and its files go.</summary>
    public string Folder { get; }

    /// <summary>Its result.json.</summary>
    public JsonElement Result { get; private set; }

    /// <summary>Runs one.</summary>
    /// <param name="sample">The file's name.</param>
    /// <param name="change">Changes its text.</param>
    /// <param name="arguments">More for the command line.</param>
    public static SampleRun Of(string sample, Func<string, string> change, params string[] arguments)
    {
        SampleRun run = new(sample, change);
        using TesseraProcess process = new(["run", run.At(sample), "--quiet", "--out", run.At("out"), .. arguments]);
        if (!process.EndsWell())
        {
            string consoles = string.Join('\n', Directory.GetFiles(run.Folder, "console-*.log", SearchOption.AllDirectories).Select(file => $"{Path.GetFileName(file)}:\n{Tail(File.ReadAllText(file))}"));
            run.Dispose();
            throw new AssertionException($"{sample} did not end well.\n{process.Said}\n{consoles}");
        }

        run.Result = JsonDocument.Parse(File.ReadAllText(run.At("out", "result.json"))).RootElement;
        return run;
    }

    /// <summary>A file in the folder.</summary>
    public string At(params string[] path) => Path.Combine([Folder, .. path]);

    /// <summary>A domain's console.</summary>
    public string Console(string domain) => File.ReadAllText(At("out", $"console-{domain}.log"));

    /// <summary>A domain's result.</summary>
    public JsonElement Domain(string name) => Result.GetProperty("domains").EnumerateArray().First(domain => domain.GetProperty("name").GetString() == name);

    public void Dispose() => Directory.Delete(Folder, recursive: true);

    private static string Tail(string text) => text[^Math.Min(text.Length, 1500)..];
}
