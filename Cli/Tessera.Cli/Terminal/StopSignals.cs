using System.Runtime.InteropServices;
using Tmds.Linux;

namespace Tessera.Cli.Terminal;

/// <summary>
/// SIGINT, SIGTERM and SIGHUP as one request to stop. The first is an orderly stop, which has a minute; a second SIGINT or SIGTERM, or that minute's end, ends the process at once, whatever an
/// engine, a plugin or the terminal is stuck in, after the terminal was put right.
/// </summary>
internal sealed class StopSignals : IDisposable
{
    /// <summary>
    /// How long an orderly stop may take: more than results of any length need, less than the 90 s that systemd waits after SIGTERM before it kills. Others wait less (docker 10 s, Kubernetes
    /// 30 s) unless they are told.
    /// </summary>
    public static readonly TimeSpan OrderlyLimit = TimeSpan.FromSeconds(60);

    /// <summary>How long the terminal may take to be put right, and the runtime to end.</summary>
    private static readonly TimeSpan LastLimit = TimeSpan.FromSeconds(5);

    private const string ShowCursor = "\u001b[?25h\u001b[0m";
    private readonly List<PosixSignalRegistration> _registrations = [];
    private readonly ManualResetEventSlim _stop = new();
    private readonly TaskCompletionSource _over = new();
    private readonly TimeSpan _limit;
    private readonly Action<string> _hardEnd;
    private Thread? _limiter;
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
        StopSignals signals = new(OrderlyLimit, why => End(
            () =>
            {
                error.Write((isTerminal ? ShowCursor : "") + why);
                error.Flush();
            },
            LastLimit,
            static () => Environment.Exit(ExitCode.Failed),
            static () => LibC._exit(ExitCode.Failed)));
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
            {
                _limiter = new Thread(EndAtLimit) { IsBackground = true, Name = "tessera stop" };
                _limiter.Start();
            }

            return;
        }

        _hardEnd("");
    }

    /// <summary>For tests: waits until nothing can be ended for taking too long any more.</summary>
    internal bool WaitForLimiter(TimeSpan time) => _limiter?.Join(time) != false;

    /// <summary>Ends the process whatever keeps it: a terminal that takes nothing, or a handler of the runtime's end.</summary>
    /// <param name="last">What is to be done before.</param>
    /// <param name="limit">How long that and the runtime's end may take.</param>
    /// <param name="exit">The runtime's end.</param>
    /// <param name="cut">The end without it.</param>
    internal static void End(Action last, TimeSpan limit, Action exit, Action cut)
    {
        Thread cutter = new(() =>
        {
            Thread.Sleep(limit);
            cut();
        })
        {
            IsBackground = true,
            Name = "tessera end",
        };
        cutter.Start();
        try
        {
            last();
        }
        finally
        {
            exit();
        }
    }

    private void EndAtLimit()
    {
        if (!_over.Task.Wait(_limit))
        {
            _hardEnd(
                $"error: this has not stopped within {_limit.TotalSeconds:0} s, because an engine, a scheduler, a backend or the terminal does not return. It is ended as it is."
                + $"{Environment.NewLine}Its results are missing or incomplete. Try again without plugins of your own, one after the other; `tessera plugins check` looks at one.{Environment.NewLine}");
        }
    }
}
