using System.Diagnostics;
using System.Text;

namespace Tessera.Linux.Tests.Support;

/// <summary>`tessera` in a process of its own; what it says is kept for failures.</summary>
internal sealed class TesseraProcess : IDisposable
{
    private readonly Process _process;
    private readonly StringBuilder _said = new();

    public TesseraProcess(params string[] arguments)
    {
        ProcessStartInfo start = new("dotnet", [Path.Combine(AppContext.BaseDirectory, "tessera.dll"), .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["TESSERA_PLUGINS"] = Path.Combine(Root(), "artifacts", "plugins");
        _process = Process.Start(start)!;
        _process.OutputDataReceived += Keep;
        _process.ErrorDataReceived += Keep;
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    public bool HasExited => _process.HasExited;

    /// <summary>Everything on both of its streams.</summary>
    public string Said
    {
        get
        {
            lock (_said)
                return _said.ToString();
        }
    }

    /// <summary>Runs one to its end, which must be a good one.</summary>
    public static void Do(params string[] arguments)
    {
        using TesseraProcess process = new(arguments);
        Assert.That(process.EndsWell(), process.Said);
    }

    /// <summary>Waits for its end, and kills it when that takes too long.</summary>
    /// <returns>Whether it ended by itself and with 0.</returns>
    public bool EndsWell()
    {
        if (_process.WaitForExit(Hang.Limit))
        {
            // Now also for the rest of what it says.
            _process.WaitForExit();
            return _process.ExitCode == 0;
        }

        Kill();
        return false;
    }

    /// <summary>Kills it in the middle of whatever it does.</summary>
    public void Kill()
    {
        _process.Kill(entireProcessTree: true);
        _process.WaitForExit();
    }

    public void Dispose()
    {
        if (!_process.HasExited)
            Kill();
        _process.Dispose();
    }

    /// <summary>Of the repository.</summary>
    public static string Root()
    {
        string? root = AppContext.BaseDirectory;
        while (root is not null && !File.Exists(Path.Combine(root, "Tessera.slnx")))
            root = Path.GetDirectoryName(root);
        return root ?? throw new InvalidOperationException($"Tessera.slnx is in no folder above {AppContext.BaseDirectory}.");
    }

    private void Keep(object sender, DataReceivedEventArgs line)
    {
        lock (_said)
            _said.AppendLine(line.Data);
    }
}
