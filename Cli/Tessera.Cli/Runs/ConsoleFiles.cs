namespace Tessera.Cli.Runs;

/// <summary>Writes console-NAME.log files, on a thread of its own so that no guest waits for the disk.</summary>
internal sealed class ConsoleFiles : IDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(250);
    private readonly List<(ConsoleLog Log, FileStream File)> _files = [];
    private readonly ManualResetEventSlim _stop = new();
    private readonly Thread _thread;

    /// <summary>Opens the files and begins.</summary>
    /// <param name="folder">Where; exists.</param>
    /// <param name="logs">The consoles to record.</param>
    public ConsoleFiles(string folder, IEnumerable<ConsoleLog> logs)
    {
        foreach (ConsoleLog log in logs)
        {
            _files.Add((log, File.Create(Path.Combine(folder, $"console-{log.Name}.log"))));
            log.IsRecorded = true;
        }

        _thread = new Thread(Write) { Name = "console files", IsBackground = true };
        _thread.Start();
    }

    /// <summary>Writes what is left and closes the files.</summary>
    public void Dispose()
    {
        _stop.Set();
        _thread.Join();
        foreach ((ConsoleLog log, FileStream file) in _files)
        {
            log.IsRecorded = false;
            log.Drain(file);
            file.Dispose();
        }

        _stop.Dispose();
    }

    private void Write()
    {
        while (!_stop.Wait(Interval))
        {
            foreach ((ConsoleLog log, FileStream file) in _files)
                log.Drain(file);
        }
    }
}
