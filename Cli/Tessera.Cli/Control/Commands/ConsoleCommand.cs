using System.CommandLine;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Nodes;
using Tessera.Cli.Runs;
using Tessera.Cli.Terminal;

namespace Tessera.Cli.Control.Commands;

/// <summary>
/// `ctl console DOMAIN`: the domain's console on this terminal. After the reply the connection carries the console's bytes both ways, and no more
/// requests; either side ends it by closing.
/// </summary>
internal sealed class ConsoleCommand : IControlCommand
{
    private const string Domain = "domain";
    private const int MaxQueued = 1024;
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(20);

    /// <summary>How long a reader may stand still before it is given up, ms.</summary>
    private const int Stalled = 2000;

    /// <inheritdoc/>
    public string Name => "console";

    /// <inheritdoc/>
    public Command Build(ControlClient client)
    {
        Argument<string> domain = new(Domain) { Description = "The domain's name." };
        Command console = new(Name, "Show a domain's console on this terminal, both ways. Ctrl-] leaves it, and the domain goes on.") { domain };
        console.SetAction(parsed => client.Attach(parsed, parsed.GetRequiredValue(domain)));
        return console;
    }

    /// <summary>What asks for a domain's console.</summary>
    public static ControlRequest RequestFor(string domain) => new()
    {
        Protocol = ControlProtocol.Name,
        Command = "console",
        Arguments = JsonDocument.Parse(new JsonObject { [Domain] = domain }.ToJsonString()).RootElement,
    };

    /// <inheritdoc/>
    public ControlAnswer Run(ControlDesk desk, JsonElement arguments)
    {
        string name = ControlArguments.Text(arguments, Domain);
        if (name == "*")
            throw new ControlException(ControlCode.BadRequest, "A console belongs to one domain; name it.");
        (ConsoleFan fan, IRunDomain domain) = desk.Do(run =>
        {
            int index = run.Find(name)[0];
            if (run.Domains[index].Phase.HasEnded())
                throw new ControlException(ControlCode.WrongState, $"Domain {name} is {run.Domains[index].Phase.Word()}: nothing reads or writes its console any more.");
            return (run.Consoles[index], run.Domains[index]);
        });
        return new ControlAnswer($"The console of {name}.") { TakeOver = (connection, typed) => Connect(connection, typed, fan, domain) };
    }

    private static void Connect(Socket connection, ReadOnlyMemory<byte> typed, ConsoleFan fan, IRunDomain domain)
    {
        connection.SendTimeout = Stalled;
        using NetworkStream stream = new(connection);
        using OutputPump output = new(stream, mayLose: true);
        using IDisposable listening = fan.Listen(output.Append);
        Give(typed.Span, domain);
        byte[] buffer = new byte[256];
        while (!domain.Phase.HasEnded())
        {
            // Looked at now and then, so that a console ends with its domain.
            if (!connection.Poll(Tick, SelectMode.SelectRead))
                continue;
            int count = connection.Receive(buffer);
            if (count == 0)
                return;
            Give(buffer.AsSpan(0, count), domain);
        }
    }

    private static void Give(ReadOnlySpan<byte> input, IRunDomain domain)
    {
        if (input.IsEmpty)
            return;
        int waiting = domain.WriteConsole(input);
        while (waiting > MaxQueued && !domain.Phase.HasEnded())
        {
            Thread.Sleep(Tick);
            waiting = domain.WriteConsole([]);
        }
    }
}
