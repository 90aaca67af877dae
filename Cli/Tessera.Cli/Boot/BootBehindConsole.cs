using System.Diagnostics;
using Tessera.Cli.Control;
using Tessera.Cli.Terminal;

namespace Tessera.Cli.Boot;

/// <summary>
/// `tessera boot` on a terminal: the machine in a process of its own, and its console here. So the user can leave the console, or lose the terminal,
/// and the domain goes on.
/// </summary>
internal sealed class BootBehindConsole(CliHost host)
{
    /// <summary>How the other process says that it listens; what follows is the socket's path.</summary>
    public const string Announcement = "tessera: control socket ";

    /// <summary>What tells that process to listen instead of using a terminal.</summary>
    public const string ServeOption = "--serve";

    private const string NewSession = "/usr/bin/setsid";
    private readonly Lock _gate = new();
    private readonly List<string> _said = [];
    private bool _isShown = true;

    /// <summary>Boots and shows the console.</summary>
    /// <param name="arguments">The command line's words.</param>
    /// <param name="domain">The domain's name.</param>
    /// <param name="detach">Whether to leave at once.</param>
    /// <returns>The exit code.</returns>
    public int Boot(IReadOnlyList<string> arguments, string domain, bool detach)
    {
        using Process machine = Process.Start(StartInfo(arguments))!;
        machine.StandardInput.Close();
        string? socket = Socket(machine);
        if (socket is null)
            return End(machine);
        if (!detach)
        {
            _isShown = false;
            ConsoleEnd end = ConsoleClient.Show(host, socket, domain);
            if (end is ConsoleEnd.Ended)
                return End(machine);
        }

        host.Error.WriteLine($"tessera: {ConsoleClient.HowToComeBack(domain, socket)}");
        return ExitCode.Good;
    }

    private static ProcessStartInfo StartInfo(IReadOnlyList<string> arguments)
    {
        string program = Environment.ProcessPath!;
        string[] ours = Path.GetFileNameWithoutExtension(program) == "dotnet" ? [program, typeof(BootBehindConsole).Assembly.Location] : [program];
        string[] all = [.. File.Exists(NewSession) ? [NewSession] : Array.Empty<string>(), .. ours, .. arguments, ServeOption];
        return new ProcessStartInfo(all[0], all[1..]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
    }

    /// <summary>Waits for the socket; null when the process ended without one.</summary>
    private string? Socket(Process machine)
    {
        TaskCompletionSource<string?> socket = new();
        machine.ErrorDataReceived += (_, line) =>
        {
            if (line.Data is null)
                _ = socket.TrySetResult(null);
            else if (line.Data.StartsWith(Announcement, StringComparison.Ordinal))
                _ = socket.TrySetResult(line.Data[Announcement.Length..]);
            else
                Say(line.Data);
        };
        machine.OutputDataReceived += static (_, _) => { };
        machine.BeginErrorReadLine();
        machine.BeginOutputReadLine();
        return socket.Task.GetAwaiter().GetResult();
    }

    /// <summary>What it complains of is shown, but not in the middle of the console.</summary>
    private void Say(string line)
    {
        lock (_gate)
        {
            if (_isShown)
                host.Error.WriteLine(line);
            else
                _said.Add(line);
        }
    }

    private int End(Process machine)
    {
        machine.WaitForExit();
        lock (_gate)
        {
            foreach (string line in _said)
                host.Error.WriteLine(line);
        }

        return machine.ExitCode;
    }
}
