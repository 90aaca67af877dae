using Tessera.Cli.Terminal;
using Tessera.Sdk;

namespace Tessera.Cli.Runs;

/// <summary>How a boot ended.</summary>
internal enum BootEnd
{
    /// <summary>The domain shut itself down.</summary>
    Shutdown,

    /// <summary>The domain crashed.</summary>
    Crashed,

    /// <summary>The time given ran out.</summary>
    TimeOut,

    /// <summary>The user pressed Ctrl-].</summary>
    Left,

    /// <summary>A signal asked to stop.</summary>
    Interrupted,

    /// <summary>The machine itself failed.</summary>
    MachineFailed,
}

/// <summary>One domain with its console on the terminal: output as it comes, input as it is typed or piped.</summary>
internal sealed class BootSession : IDisposable
{
    private static readonly Nanoseconds Poll = Nanoseconds.FromMilliseconds(20);
    private readonly CliHost _host;
    private readonly IRunMachine _machine;
    private readonly OutputPump _output;
    private volatile bool _left;

    /// <summary>Builds the domain.</summary>
    public BootSession(CliHost host, IRunMachine machine, DomainPlan plan)
    {
        (_host, _machine) = (host, machine);
        _output = new OutputPump(host.RawOut);
        Domain = machine.Create(plan, _output.Append);
    }

    /// <summary>The domain.</summary>
    public IRunDomain Domain { get; }

    /// <summary>Runs until the domain ends, the time is over, or the user leaves.</summary>
    /// <param name="limit">How long at most; <see cref="Nanoseconds.Never"/> for no limit.</param>
    public BootEnd Run(Nanoseconds limit)
    {
        using RawTerminal? raw = _host.InIsTerminal ? RawTerminal.Enter() : null;
        using InputPump input = new(_host.Input, bytes => Domain.WriteConsole(bytes), _host.InIsTerminal ? Leave : null);
        Nanoseconds end = _host.Pacer.Now + limit;
        Domain.Start();
        input.Start();
        BootEnd how = Wait(end);
        if (how is not (BootEnd.Shutdown or BootEnd.Crashed))
            Domain.Destroy();
        return how;
    }

    /// <summary>Writes the rest of the output.</summary>
    public void Dispose() => _output.Dispose();

    private BootEnd Wait(Nanoseconds end)
    {
        while (true)
        {
            switch (Domain.Phase)
            {
                case DomainPhase.Shutdown: return BootEnd.Shutdown;
                case DomainPhase.Crashed: return BootEnd.Crashed;
                case DomainPhase.Destroyed: return BootEnd.Interrupted;
                default: break;
            }

            Nanoseconds now = _host.Pacer.Now;
            if (_left)
                return BootEnd.Left;
            if (_machine.Failure is not null)
                return BootEnd.MachineFailed;
            if (now >= end)
                return BootEnd.TimeOut;
            if (_host.Pacer.WaitUntil(Nanoseconds.Min(end, now + Poll)))
                return BootEnd.Interrupted;
        }
    }

    private void Leave() => _left = true;
}
