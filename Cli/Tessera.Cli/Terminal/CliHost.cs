using Spectre.Console;
using Tessera.Cli.Native;
using Tessera.Experiments;
using Tessera.Experiments.Hosts;
using Tessera.Sdk.Plugins;

namespace Tessera.Cli.Terminal;

/// <summary>Everything of the process that a verb touches; tests give their own.</summary>
internal sealed class CliHost : IExperimentHost, IDisposable
{
    private IRunPacer? _pacer;
    private IAnsiConsole? _outConsole;
    private IAnsiConsole? _errorConsole;

    /// <summary>Standard output: results.</summary>
    public required TextWriter Out { get; init; }

    /// <summary>Standard error: progress and complaints.</summary>
    public required TextWriter Error { get; init; }

    /// <summary>Standard output as bytes, for a guest's console.</summary>
    public required Stream RawOut { get; init; }

    /// <summary>Whether nobody reads standard output any more.</summary>
    public Func<bool> OutIsGone { get; init; } = static () => false;

    /// <summary>Standard input.</summary>
    public required IInputSource Input { get; init; }

    /// <summary>Whether standard input is a terminal.</summary>
    public bool InIsTerminal { get; init; }

    /// <summary>Whether standard output is a terminal.</summary>
    public bool OutIsTerminal { get; init; }

    /// <summary>Whether standard error is a terminal.</summary>
    public bool ErrorIsTerminal { get; init; }

    /// <summary>Reads the environment.</summary>
    public Func<string, string?> Environment { get; init; } = static _ => null;

    /// <summary>Called before the first guest of a machine runs; the real process gives up what it does not need any more.</summary>
    public Action BeforeGuests { get; init; } = static () => { };

    /// <summary>Told by threads what they are for; null leaves them as they are.</summary>
    public IThreadDuties? Duties { get; init; }

    /// <summary>Called with a folder that a run will write to: whether it still may after <see cref="BeforeGuests"/>.</summary>
    /// <exception cref="FailedException">It may not.</exception>
    public Action<string> CheckFolder { get; init; } = static _ => { };

    /// <summary>Requests to stop.</summary>
    public StopSignals Stop { get; init; } = StopSignals.None();

    /// <inheritdoc/>
    public bool IsStopRequested => Stop.IsRequested;

    /// <summary>The terminal's size in characters; null without one.</summary>
    public Func<(int Columns, int Rows)?> TerminalSize { get; init; } = static () => null;

    /// <summary>Tells which kind of machine the device of that path makes this one.</summary>
    public Func<string, KvmState> KvmProbe { get; init; } = KvmPresence.Probe;

    /// <summary>Time, and the wish to stop.</summary>
    public IRunPacer Pacer { get => _pacer ??= new RealPacer(Stop); init => _pacer = value; }

    /// <summary>Standard output for tables; plain when it is no terminal.</summary>
    public IAnsiConsole OutConsole => _outConsole ??= Console(Out, OutIsTerminal);

    /// <summary>Standard error for tables; plain when it is no terminal.</summary>
    public IAnsiConsole ErrorConsole => _errorConsole ??= Console(Error, ErrorIsTerminal);

    /// <summary>The real process.</summary>
    public static CliHost OfProcess()
    {
        bool isHardening = System.Environment.GetEnvironmentVariable(ProcessHardening.Variable) != ProcessHardening.Off;
        ProcessHardening hardening = new();
        bool errorIsTerminal = !System.Console.IsErrorRedirected;
        TextWriter error = StandardWriters.Error();
        return new CliHost
        {
            Out = StandardWriters.Output(),
            Error = error,
            RawOut = StandardWriters.OutputStream(),
            OutIsGone = StandardWriters.OutputIsGone,
            Input = new StandardInput(),
            InIsTerminal = !System.Console.IsInputRedirected,
            OutIsTerminal = !System.Console.IsOutputRedirected,
            ErrorIsTerminal = errorIsTerminal,
            Environment = System.Environment.GetEnvironmentVariable,
            TerminalSize = static () => System.Console.IsOutputRedirected || System.Console.WindowWidth <= 0 ? null : (System.Console.WindowWidth, System.Console.WindowHeight),
            BeforeGuests = isHardening ? hardening.Apply : static () => { },
            Duties = isHardening ? hardening.Duties : null,
            CheckFolder = isHardening ? ProcessHardening.CheckFolder : static _ => { },
            Stop = StopSignals.Listen(error, errorIsTerminal),
        };
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Stop.Dispose();
        RawOut.Flush();
    }

    private IAnsiConsole Console(TextWriter writer, bool terminal)
    {
        bool colours = terminal && string.IsNullOrEmpty(Environment("NO_COLOR"));
        bool moves = terminal && Environment("TERM") is not (null or "" or "dumb");
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(terminal ? writer : new TrimmedWriter(writer)),
            Ansi = moves ? AnsiSupport.Yes : AnsiSupport.No,
            ColorSystem = colours && moves ? ColorSystemSupport.Detect : ColorSystemSupport.NoColors,
            Interactive = moves ? InteractionSupport.Yes : InteractionSupport.No,
        });
        if (!terminal)
            console.Profile.Width = PlainWidth;
        return console;
    }

    /// <summary>Columns of tables that go to a file or pipe: wide enough that nothing is cut.</summary>
    private const int PlainWidth = 200;
}
