using System.Text.Json.Nodes;
using Tessera.GuestLibrary;
using Tessera.Linux.Tests.Support;

namespace Tessera.Linux.Tests.Kill;

/// <summary>`tessera run` in a process of its own, which ends by SIGKILL.</summary>
internal sealed class KilledMachine : IDisposable
{
    private readonly KillFolder _folder;
    private readonly TesseraProcess _process;
    private readonly string _output;

    public KilledMachine(string engine, KillFolder folder, KillDisk disk)
    {
        _folder = folder;
        _output = folder.At("out");
        if (Directory.Exists(_output))
            Directory.Delete(_output, recursive: true);
        folder.Verdict = "";
        File.WriteAllText(folder.At("machine.json"), Configuration(engine, folder, disk).ToJsonString());
        _process = new TesseraProcess("run", folder.At("machine.json"), "--quiet", "--out", _output);
    }

    /// <summary>Waits until the guest has looked at what the last one left; its verdict.</summary>
    public string WaitForVerdict()
    {
        WaitUntil(() => _folder.Verdict.Length > 0, "looked at its disk");
        return _folder.Verdict;
    }

    /// <summary>Waits for acknowledgements.</summary>
    public void WaitFor(long records, long passes) =>
        WaitUntil(() => _folder.Records >= records && _folder.Passes >= passes, $"acknowledged {records} records and {passes} passes of fio (but {_folder.Records} and {_folder.Passes})");

    /// <summary>Kills it in the middle of whatever it does.</summary>
    public void Kill() => _process.Kill();

    public void Dispose() => _process.Dispose();

    private static JsonObject Configuration(string engine, KillFolder folder, KillDisk disk) => new()
    {
        ["machine"] = new JsonObject { ["engine"] = engine, ["pcpus"] = 1 },
        ["duration"] = "never",
        ["domains"] = new JsonArray(new JsonObject
        {
            ["name"] = "victim",
            ["guest"] = "debian",
            ["memory"] = "256 MiB",
            ["cmdline"] = $"root=/dev/xvda rw {GuestInit.ExecArgument("python3 /dev/xvdc")}",
            ["disks"] = new JsonArray(
                new JsonObject { ["name"] = "xvda", ["backend"] = "copy-on-write", ["options"] = new JsonObject { ["base"] = "guest:debian" } },
                disk.Configuration,
                new JsonObject { ["name"] = "xvdc", ["backend"] = "raw-file", ["options"] = new JsonObject { ["path"] = folder.Script }, ["readOnly"] = true },
                new JsonObject { ["name"] = "xvdd", ["backend"] = "raw-file", ["options"] = new JsonObject { ["path"] = folder.Ledger } }),
        }),
    };

    private void WaitUntil(Func<bool> condition, string what)
    {
        if (SpinWait.SpinUntil(() => condition() || _process.HasExited, Hang.Limit) && condition())
            return;
        string console = Path.Combine(_output, "console-victim.log");
        string[] lines = File.Exists(console) ? File.ReadAllLines(console) : [];
        throw new AssertionException($"The guest has not {what}. {_process.Said}\nIts console:\n{string.Join('\n', lines[^Math.Min(lines.Length, 40)..])}");
    }
}
