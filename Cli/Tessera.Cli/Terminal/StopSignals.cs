using System.Runtime.InteropServices;

namespace Tessera.Cli.Terminal;

/// <summary>
/// SIGINT, SIGTERM and SIGHUP as one request to stop. The first is an orderly stop; a second SIGINT or SIGTERM ends the process at once, after the
/// terminal was put right.
/// </summary>
internal sealed class StopSignals : IDisposable
{
    private const string ShowCursor = "\u001b[?25h\u001b[0m";
    private readonly List<PosixSignalRegistration> _registrations = [];
    private readonly ManualResetEventSlim _stop = new();
    private readonly Action _beforeHardEnd;
    private int _count;

    private StopSignals(Action beforeHardEnd) => _beforeHardEnd = beforeHardEnd;

    /// <summary>Signals that nobody sends: for tests and for code that runs without a process of its own.</summary>
    public static StopSignals None() => new(static () => { });

    /// <summary>Listens from now on.</summary>
    /// <param name="terminal">Where to show the cursor again before a hard end; null without a terminal.</param>
    public static StopSignals Listen(TextWriter? terminal)
    {
        StopSignals signals = new(() =>
        {
            terminal?.Write(ShowCursor);
            terminal?.Flush();
        });
        foreach (PosixSignal signal in new[] { PosixSignal.SIGINT, PosixSignal.SIGTERM, PosixSignal.SIGHUP })
            signals._registrations.Add(PosixSignalRegistration.Create(signal, signals.OnSignal));
        return signals;
    }

    /// <summary>Whether a stop was asked for.</summary>
    public bool IsRequested => _stop.IsSet;

    /// <summary>Set when a stop is asked for.</summary>
    public WaitHandle Handle => _stop.WaitHandle;

    /// <summary>Asks for an orderly stop.</summary>
    public void Request() => _stop.Set();

    /// <summary>Waits at most this long.</summary>
    /// <returns>Whether a stop was asked for.</returns>
    public bool Wait(TimeSpan time) => _stop.Wait(time);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (PosixSignalRegistration registration in _registrations)
            registration.Dispose();
        _stop.Dispose();
    }

    private void OnSignal(PosixSignalContext context)
    {
        // A closed terminal sends SIGHUP, and the shell sends it once more: neither is impatience.
        if (context.Signal == PosixSignal.SIGHUP || Interlocked.Increment(ref _count) == 1)
        {
            context.Cancel = true;
            _stop.Set();
            return;
        }

        _beforeHardEnd();
        Environment.Exit(ExitCode.Failed);
    }
}
