using Tessera.Lab.Folders;

namespace Tessera.Experiments.Runs;

/// <summary>Writes console-NAME.log files, on a thread of its own so that no guest waits for the disk.</summary>
public sealed class ConsoleFiles : IDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(250);
    private readonly List<(ConsoleLog Log, FileStream File)> _files = [];
    private readonly ManualResetEventSlim _stop = new();
    private readonly Thread _thread;

    /// <summary>Opens the files and begins.</summary>
    /// <param name="folder">Where; exists.</param>
    /// <param name="logs">The consoles to record.</param>
    /// <param name="limit">Bytes of output that each file keeps.</param>
    public ConsoleFiles(string folder, IEnumerable<ConsoleLog> logs, long limit)
    {
        UntrustedFolder files = new(folder);
        foreach (ConsoleLog log in logs)
        {
            // Without a buffer of its own, so that nothing is left to be written, and to fail, when it is closed.
            _files.Add((log, files.Create($"console-{log.Name}.log")));
            log.Record(limit);
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
