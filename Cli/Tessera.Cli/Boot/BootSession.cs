using Tessera.Cli.Terminal;
using Tessera.Experiments.Hosts;
using Tessera.Experiments.Machines;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Runs;
using Tessera.Sdk;

namespace Tessera.Cli.Boot;

/// <summary>How a boot ended.</summary>
internal enum BootEnd
{
    /// <summary>The domain shut itself down.</summary>
    Shutdown,

    /// <summary>The domain crashed.</summary>
    Crashed,

    /// <summary>The time given ran out.</summary>
    TimeOut,

    /// <summary>It was destroyed from outside.</summary>
    Destroyed,

    /// <summary>A signal asked to stop.</summary>
    Interrupted,

    /// <summary>The machine itself failed.</summary>
    MachineFailed,
}

/// <summary>One domain with its console on standard output and input, or behind a control socket.</summary>
internal sealed class BootSession : IDisposable
{
    private static readonly Nanoseconds Poll = Nanoseconds.FromMilliseconds(20);

    /// <summary>Whoever has not come to the console by then does not come.</summary>
    private static readonly Nanoseconds Patience = Nanoseconds.FromSeconds(30);
    private readonly CliHost _host;
    private readonly IRunMachine _machine;
    private readonly IRunControl? _control;
    private readonly IRunPacer _pacer;
    private readonly OutputPump? _output;
    private readonly ConsoleFan? _console;

    /// <summary>Builds the domain.</summary>
    /// <param name="host">Where the console is, without a control socket.</param>
    /// <param name="machine">The machine.</param>
    /// <param name="plan">The domain.</param>
    /// <param name="control">Who looks at the console and may change the machine; null for nobody.</param>
    public BootSession(CliHost host, IRunMachine machine, DomainPlan plan, IRunControl? control = null)
    {
        (_host, _machine, _control, _pacer) = (host, machine, control, machine as IRunPacer ?? host.Pacer);
        if (control is null)
        {
            _output = new OutputPump(host.RawOut);
            Domain = machine.Create(plan, _output.Append);
            return;
        }

        _console = new ConsoleFan();
        control.Offer([_console]);
        Domain = machine.Create(plan, _console.Append);
    }

    /// <summary>The domain.</summary>
    public IRunDomain Domain { get; }

    /// <summary>Runs until the domain ends, or the time is over.</summary>
    /// <param name="limit">How long at most; <see cref="Nanoseconds.Never"/> for no limit.</param>
    /// <param name="waitForConsole">Somebody is about to look at the console: the domain begins when they do, so that nothing ends before it is seen.</param>
    public BootEnd Run(Nanoseconds limit, bool waitForConsole = false)
    {
        if (waitForConsole)
            WaitForConsole();
        bool isReplayed = _machine is ITakesInput { IsReplayed: true };
        using InputPump? input = _control is null && !isReplayed ? new InputPump(_host.Input, bytes => Domain.WriteConsole(bytes), null) : null;
        if (_machine is ITakesInput taker && !isReplayed)
            taker.InputMayCome = () => input is null || input.MayGive;
        Nanoseconds end = _pacer.Now + limit;
        Domain.Start();
        input?.Start();
        BootEnd how = Wait(end);
        _control?.End();
        if (how is not (BootEnd.Shutdown or BootEnd.Crashed))
            Domain.Destroy();
        return how;
    }

    /// <summary>Writes the rest of the output.</summary>
    public void Dispose() => _output?.Dispose();

    private void WaitForConsole()
    {
        Nanoseconds patience = _host.Pacer.Now + Patience;
        while (_console is { HasListener: false } && _host.Pacer.Now < patience && !_host.Pacer.WaitUntil(_host.Pacer.Now + Poll))
            _control?.Serve(_machine, [Domain], static () => { });
    }

    private BootEnd Wait(Nanoseconds end)
    {
        while (true)
        {
            _control?.Serve(_machine, [Domain], static () => { });
            switch (Domain.Phase)
            {
                case DomainPhase.Shutdown: return BootEnd.Shutdown;
                case DomainPhase.Crashed: return BootEnd.Crashed;
                case DomainPhase.Destroyed: return BootEnd.Destroyed;
                default: break;
            }

            Nanoseconds now = _pacer.Now;
            if (_machine.Failure is not null)
                return BootEnd.MachineFailed;
            if (now >= end)
                return BootEnd.TimeOut;
            if (_pacer.WaitUntil(Nanoseconds.Min(end, now + Poll)))
                return BootEnd.Interrupted;
        }
    }
}
