using Microsoft.Extensions.DependencyInjection;
using Tessera.Cli.Terminal;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Machines;
using Tessera.Sdk.Plugins;

namespace Tessera.Cli.Tests.Support;

/// <summary>The command line in this process, with its own standard streams, environment and, if wanted, a fake machine.</summary>
internal sealed class Cli : IDisposable
{
    private readonly StringWriter _out = new();
    private readonly StringWriter _error = new();
    private readonly MemoryStream _raw = new();

    public string Out => _out.ToString();

    public string Error => _error.ToString();

    public string Raw => System.Text.Encoding.UTF8.GetString(_raw.ToArray());

    public Dictionary<string, string> Environment { get; } = new() { ["TESSERA_PLUGINS"] = Repository.Plugins, ["TESSERA_CACHE"] = "/nonexistent/tessera-cache" };

    public FakePacer? Pacer { get; init; }

    public FakeMachine? Machine { get; init; }

    /// <summary>What the host withholds; nothing, so that no test needs a quiet host.</summary>
    public IHostDelay Delay { get; init; } = new FakeDelay(0);

    /// <summary>Requests to stop.</summary>
    public StopSignals Stop { get; } = StopSignals.None();

    /// <summary>Called whenever the command asks what time it is.</summary>
    public Action? Asked { get; set; }

    public IInputSource Input { get; init; } = new NoInput();

    public HostResources Resources { get; init; } = new([0, 1], new ByteSize(4L << 30));

    /// <summary>Which kind of machine this is.</summary>
    public KvmState Kvm { get; init; } = KvmState.Usable;

    public bool InIsTerminal { get; init; }

    /// <summary>Makes machines in place of <see cref="Machine"/>; null for that or the real ones.</summary>
    public IMachineFactory? Machines { get; init; }

    public int Run(params string[] arguments)
    {
        using CliHost host = new()
        {
            Out = _out,
            Error = _error,
            RawOut = _raw,
            Input = Input,
            Environment = name => Environment.GetValueOrDefault(name),
            Stop = Stop,
            KvmProbe = _ => Kvm,
            InIsTerminal = InIsTerminal,
            Pacer = Pacer is null ? new RealPacer(Stop) : Pacer,
        };
        return CommandLine.Run(arguments, host, services =>
        {
            services.AddSingleton(Resources);
            if (Asked is not null)
                services.AddSingleton<TimeProvider>(new AskedTime(Asked));
            services.AddSingleton(Delay);
            if ((Machines ?? Machine) is { } machines)
                services.AddSingleton(machines);
        });
    }

    public void Dispose()
    {
        _out.Dispose();
        _error.Dispose();
        _raw.Dispose();
    }

    private sealed class AskedTime(Action asked) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow()
        {
            asked();
            return base.GetUtcNow();
        }
    }

    private sealed class NoInput : IInputSource
    {
        public int Read(Span<byte> buffer, TimeSpan wait) => 0;
    }
}
