using System.Runtime.InteropServices;
using Tmds.Linux;

namespace Tessera.Cli.Terminal;

/// <summary>
/// SIGINT, SIGTERM and SIGHUP as one request to stop. The first is an orderly stop, which has a minute; a second SIGINT or SIGTERM, or that minute's end, ends the process at once, whatever an
/// engine, a plugin or the terminal is stuck in, after the terminal was put right.
/// </summary>
internal sealed class StopSignals : IDisposable
{
    /// <summary>How long an orderly stop may take: more than results of any length need, less than what sends SIGTERM commonly waits before SIGKILL.</summary>
    public static readonly TimeSpan OrderlyLimit = TimeSpan.FromSeconds(60);

    /// <summary>How long the terminal may take to be put right, and the runtime to end.</summary>
    private static readonly TimeSpan LastLimit = TimeSpan.FromSeconds(5);

    private const string ShowCursor = "\u001b[?25h\u001b[0m";
    private readonly List<PosixSignalRegistration> _registrations = [];
    private readonly ManualResetEventSlim _stop = new();
    private readonly TaskCompletionSource _over = new();
    private readonly TimeSpan _limit;
    private readonly Action<string> _hardEnd;
    private int _isLimited;
    private int _count;

    /// <summary>For tests: without signals of the process's own.</summary>
    /// <param name="limit">How long an orderly stop may take.</param>
    /// <param name="hardEnd">Ends the process; told why, nothing where a second signal says it.</param>
    internal StopSignals(TimeSpan limit, Action<string> hardEnd) => (_limit, _hardEnd) = (limit, hardEnd);

    /// <summary>Signals that nobody sends: for tests and for code that runs without a process of its own.</summary>
    public static StopSignals None() => new(Timeout.InfiniteTimeSpan, static _ => { });

    /// <summary>Listens from now on.</summary>
    /// <param name="error">Where to say why the process ends.</param>
    /// <param name="isTerminal">Whether that is a terminal, where the cursor is to be shown again before a hard end.</param>
    public static StopSignals Listen(TextWriter error, bool isTerminal)
    {
        StopSignals signals = new(OrderlyLimit, why => EndProcess(() =>
        {
            error.Write((isTerminal ? ShowCursor : "") + why);
            error.Flush();
        }));
        foreach (PosixSignal signal in new[] { PosixSignal.SIGINT, PosixSignal.SIGTERM, PosixSignal.SIGHUP })
            signals._registrations.Add(PosixSignalRegistration.Create(signal, signals.Arrived));
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

    /// <summary>The stop was orderly: nothing is ended any more.</summary>
    public void Dispose()
    {
        foreach (PosixSignalRegistration registration in _registrations)
            registration.Dispose();
        _ = _over.TrySetResult();
        _stop.Dispose();
    }

    /// <summary>A signal has come.</summary>
    internal void Arrived(PosixSignalContext context)
    {
        context.Cancel = true;
        // A closed terminal sends SIGHUP, and the shell sends it once more: neither is impatience.
        if (context.Signal == PosixSignal.SIGHUP || Interlocked.Increment(ref _count) == 1)
        {
            _stop.Set();
            if (Interlocked.Exchange(ref _isLimited, 1) == 0)
                new Thread(EndAtLimit) { IsBackground = true, Name = "tessera stop" }.Start();
            return;
        }

        _hardEnd("");
    }

    private void EndAtLimit()
    {
        if (!_over.Task.Wait(_limit))
            _hardEnd($"error: it has not stopped {_limit.TotalSeconds:0} s after it was asked to, and is ended as it is.{Environment.NewLine}");
    }

    private static void EndProcess(Action last)
    {
        // Neither a terminal that takes nothing nor a handler of the runtime's end keeps the process.
        Thread cut = new(static () =>
        {
            Thread.Sleep(LastLimit);
            LibC._exit(ExitCode.Failed);
        });
        cut.IsBackground = true;
        cut.Start();
        last();
        Environment.Exit(ExitCode.Failed);
    }
}
