using System.Diagnostics;
using System.Globalization;
using Tessera.Cli.Terminal;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Sweeps;
using Tessera.Lab.Comparisons;

namespace Tessera.Cli.Verbs;

/// <summary>
/// Makes cells in processes of their own, so many at once: a thread here for each, which hands it one number of a cell after another. A
/// process that dies costs the cell it was at, which another makes again.
/// </summary>
/// <param name="host">This process.</param>
/// <param name="folder">The sweep's folder.</param>
/// <param name="jobs">How many at once.</param>
/// <param name="find">The run of a cell, good or failed.</param>
/// <param name="finished">Told of each cell's run; one at a time.</param>
internal sealed class SweepWorkers(CliHost host, string folder, int jobs, Func<SweepCell, RunRow?> find, Action<SweepCell, RunRow> finished)
{
    /// <summary>How many processes a cell may cost before it is left alone.</summary>
    private const int MostDeaths = 3;

    private static readonly TimeSpan BetweenLooks = TimeSpan.FromMilliseconds(100);

    /// <summary>What of this process's environment a worker must see alike.</summary>
    private static readonly string[] Variables =
        ["TESSERA_PLUGINS", "TESSERA_CACHE", "TESSERA_KVM_DEVICE", HostFactsReader.NameVariable, "XDG_RUNTIME_DIR"];

    private readonly Lock _gate = new();
    private readonly Dictionary<SweepCell, int> _deaths = [];
    private readonly HashSet<Process> _running = [];
    private LinkedList<SweepCell> _waiting = new();
    private int _code;

    /// <summary>Makes cells, in their order.</summary>
    /// <returns>An exit code: good unless none of them can be made here, or the user wants to stop.</returns>
    public int Make(IReadOnlyList<SweepCell> cells)
    {
        _waiting = new LinkedList<SweepCell>(cells);
        Thread[] threads =
        [
            .. Enumerable.Range(1, Math.Min(jobs, cells.Count))
                .Select(number => new Thread(Serve) { Name = string.Create(CultureInfo.InvariantCulture, $"sweep {number}") }),
        ];
        foreach (Thread thread in threads)
            thread.Start();
        while (threads.Any(thread => thread.IsAlive))
        {
            if (host.Stop.Wait(BetweenLooks))
                End(ExitCode.Failed);
        }

        return _code;
    }

    /// <summary>One worker after another, as long as there are cells.</summary>
    private void Serve()
    {
        Process? worker = null;
        try
        {
            while (Next() is { } cell)
            {
                worker ??= Start();
                if (Ask(worker, cell) && find(cell) is { } row)
                {
                    lock (_gate)
                        finished(cell, row);
                    continue;
                }

                Bury(worker, cell);
                worker = null;
            }
        }
        catch (Exception e) when (e is System.ComponentModel.Win32Exception or IOException or Experiments.UsageException)
        {
            // No further process can be started, or what one wrote cannot be read.
            host.Error.WriteLine($"tessera: {e.Message}");
            End(ExitCode.Failed);
        }

        if (worker is null)
            return;
        worker.StandardInput.Close();
        worker.WaitForExit();
        Forget(worker);
    }

    private SweepCell? Next()
    {
        lock (_gate)
        {
            if (_code != ExitCode.Good || _waiting.First is not { } first)
                return null;
            _waiting.RemoveFirst();
            return first.Value;
        }
    }

    private Process Start()
    {
        // A build for one system is a program of its own, others are run by dotnet.
        string program = Environment.ProcessPath!;
        bool isDotnet = Path.GetFileNameWithoutExtension(program) == "dotnet";
        ProcessStartInfo start = new(program)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        if (isDotnet)
            start.ArgumentList.Add(typeof(SweepWorkers).Assembly.Location);
        foreach (string argument in new[] { "sweep", "run", folder, "--worker" })
            start.ArgumentList.Add(argument);
        foreach (string variable in Variables)
        {
            if (host.Environment(variable) is { } value)
                start.Environment[variable] = value;
        }

        lock (_gate)
        {
            Process worker = Process.Start(start)!;
            _running.Add(worker);
            worker.ErrorDataReceived += (_, line) =>
            {
                if (line.Data is { } text)
                    host.Error.WriteLine(text);
            };
            worker.BeginErrorReadLine();
            if (_code != ExitCode.Good)
                worker.Kill();
            return worker;
        }
    }

    /// <summary>
    /// Gives a worker a cell and waits for its answer; whatever a plugin writes to standard output meanwhile is passed on.
    /// </summary>
    private bool Ask(Process worker, SweepCell cell)
    {
        string number = cell.Number.ToString(CultureInfo.InvariantCulture);
        try
        {
            worker.StandardInput.WriteLine(number);
            worker.StandardInput.Flush();
            while (worker.StandardOutput.ReadLine() is { } line)
            {
                if (line == number)
                    return true;
                if (line.Length > 0)
                    host.Out.WriteLine(line);
            }

            return false;
        }
        catch (IOException)
        {
            return false;
        }
    }

    /// <summary>After a worker's end: the cell comes first again, unless this host or this plan cannot have it made.</summary>
    private void Bury(Process worker, SweepCell cell)
    {
        if (!worker.WaitForExit(BetweenLooks))
            worker.Kill();
        worker.WaitForExit();
        int code = worker.ExitCode;
        Forget(worker);
        if (code is ExitCode.Usage or ExitCode.HostCannot)
        {
            End(code);
            return;
        }

        lock (_gate)
        {
            if (_code != ExitCode.Good)
                return;
            int deaths = _deaths[cell] = _deaths.GetValueOrDefault(cell) + 1;
            string then = deaths < MostDeaths ? "; another makes it again" : $", the {MostDeaths}rd that did: the cell is left out";
            host.Error.WriteLine($"tessera: the process that made cell {cell.Number} ended with {code}{then}.");
            if (deaths < MostDeaths)
                _waiting.AddFirst(cell);
        }
    }

    private void End(int code)
    {
        lock (_gate)
        {
            if (_code == ExitCode.Good)
                _code = code;
            foreach (Process worker in _running)
                worker.Kill();
        }
    }

    private void Forget(Process worker)
    {
        lock (_gate)
            _running.Remove(worker);
        worker.Dispose();
    }
}
