using System.Text.Json;
using Tessera.Cli.Terminal;
using Tessera.Experiments;
using Tessera.Experiments.Planning;
using Tessera.Experiments.Runs;
using Tessera.Hosting;

namespace Tessera.Cli.Control;

/// <summary>Makes the control of runs.</summary>
internal sealed class RunControlFactory(CliHost host, IEnumerable<IControlCommand> commands)
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    /// <summary>Listens on a socket from now on; commands are served once the session runs.</summary>
    /// <param name="socket">The socket's path, or <see cref="ControlSockets.Auto"/>.</param>
    /// <param name="prepared">What will run.</param>
    /// <exception cref="UsageException">The socket cannot be made.</exception>
    public RunControl Open(string socket, PreparedExperiment prepared) => new(new ControlSockets(host.Environment), socket, prepared, commands, Patience);
}

/// <summary>The machine's side of a control socket: from a request's line to the command and back.</summary>
internal sealed class RunControl : IRunControl, IDisposable
{
    private static readonly JsonElement NoArguments = JsonDocument.Parse("{}").RootElement;

    private readonly PreparedExperiment _prepared;
    private readonly Dictionary<string, IControlCommand> _commands;
    private readonly ControlDesk _desk;
    private readonly ControlServer _server;
    private readonly string? _link;
    private IReadOnlyList<ConsoleFan> _consoles = [];
    private ControlledRun? _run;

    internal RunControl(ControlSockets sockets, string socket, PreparedExperiment prepared, IEnumerable<IControlCommand> commands, TimeSpan patience)
    {
        _prepared = prepared;
        _commands = commands.ToDictionary(command => command.Name);
        _desk = new ControlDesk(patience, prepared);
        Path = sockets.PathOf(socket);
        _server = ControlServer.Listen(Path, Answer);
        _link = sockets.Announce(Path);
    }

    /// <summary>The socket.</summary>
    public string Path { get; }

    /// <inheritdoc/>
    public IReadOnlyList<RunChange> Changes => _run?.Changes ?? [];

    /// <inheritdoc/>
    public void Offer(IReadOnlyList<ConsoleFan> consoles) => _consoles = consoles;

    /// <inheritdoc/>
    public void Serve(IRunMachine machine, IReadOnlyList<IRunDomain> domains, Action before)
    {
        _run ??= new ControlledRun(_prepared, machine, domains, _consoles);
        _desk.Serve(_run, before);
    }

    /// <inheritdoc/>
    public void End() => _desk.Close();

    /// <summary>Stops listening and removes the socket.</summary>
    public void Dispose()
    {
        _desk.Close();
        ControlSockets.Withdraw(_link);
        _server.Dispose();
    }

    private ControlLine Answer(string line)
    {
        try
        {
            ControlRequest request = ControlProtocol.ReadRequest(line);
            if (!_commands.TryGetValue(request.Command, out IControlCommand? command))
                throw new ControlException(ControlCode.UnknownCommand, $"There is no command \"{request.Command}\". This machine has {string.Join(", ", _commands.Keys.Order(StringComparer.Ordinal))}.");
            JsonElement arguments = request.Arguments ?? NoArguments;
            if (arguments.ValueKind != JsonValueKind.Object)
                throw new ControlException(ControlCode.BadRequest, "\"arguments\" is not an object.");
            ControlAnswer answer = command.Run(_desk, arguments);
            string reply = ControlProtocol.Write(new ControlReply
            {
                Protocol = ControlProtocol.Name,
                Ok = true,
                Message = answer.Message,
                Result = answer.Result is null ? null : JsonDocument.Parse(answer.Result.ToJsonString()).RootElement,
            });
            return new ControlLine(reply, answer.TakeOver);
        }
        catch (ControlException e)
        {
            return ControlProtocol.Write(ControlReply.Of(e));
        }
        catch (PluginException e)
        {
            return ControlProtocol.Write(ControlReply.Of(new ControlException(ControlCode.Refused, e.Message)));
        }
        catch (InvalidOperationException e)
        {
            return ControlProtocol.Write(ControlReply.Of(new ControlException(ControlCode.WrongState, e.Message)));
        }
        catch (Exception e)
        {
            return ControlProtocol.Write(ControlReply.Of(new ControlException(ControlCode.Failed, $"The command failed, the run goes on; please report this: {e}")));
        }
    }
}
