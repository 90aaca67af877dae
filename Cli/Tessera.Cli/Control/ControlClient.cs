using System.CommandLine;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Tessera.Cli.Control.Commands;

namespace Tessera.Cli.Control;

/// <summary>The asking side: finds the machine, asks one thing, shows the answer.</summary>
internal sealed class ControlClient(CliHost host)
{
    private const int NoSuchFile = 2;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    /// <summary>`--socket PATH`.</summary>
    public Option<string?> Socket { get; } = new("--socket")
    {
        Description = "The machine's control socket; by default that of your one running machine.",
        HelpName = "PATH",
        Recursive = true,
    };

    /// <summary>`--json`.</summary>
    public Option<bool> Json { get; } = new("--json") { Description = "Write the machine's reply as JSON to standard output, and nothing else there.", Recursive = true };

    /// <summary>`--yes`, of what cannot be undone.</summary>
    public static Option<bool> Yes() => new("--yes") { Description = "Do not ask whether it is the right machine." };

    /// <summary>Asks and shows the answer.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="command">The command.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="show">Shows a result to a person; null writes the reply's message.</param>
    /// <param name="effect">What it does to the machine.</param>
    /// <returns>The exit code.</returns>
    public int Ask(ParseResult parsed, string command, JsonObject arguments, Action<CliHost, JsonElement>? show = null, ControlEffect effect = ControlEffect.Changes)
    {
        ControlRequest request = new()
        {
            Protocol = ControlProtocol.Name,
            Command = command,
            Arguments = JsonDocument.Parse(arguments.ToJsonString()).RootElement,
        };
        string path = parsed.GetValue(Socket) ?? TheOne();
        if (parsed.GetValue(Socket) is null && effect is not ControlEffect.Looks)
            MakeSure(path, command, effect is ControlEffect.Ends && !parsed.GetValue<bool>("--yes"));
        ControlReply reply = Ask(path, request);
        if (parsed.GetValue(Json))
            host.Out.WriteLine(JsonSerializer.Serialize(reply, ControlJson.Indented.ControlReply));
        else if (!reply.Ok)
            host.Error.WriteLine($"tessera: {reply.Message}");
        else if (show is not null && reply.Result is { } result)
            show(host, result);
        else
            host.Out.WriteLine(reply.Message);
        return reply.Ok ? ExitCode.Good : ControlCode.IsUsage(reply.Code) ? ExitCode.Usage : ExitCode.Failed;
    }

    /// <summary>Shows a domain's console on this terminal until the domain ends or the user leaves.</summary>
    /// <returns>The exit code.</returns>
    public int Attach(ParseResult parsed, string domain)
    {
        string path = parsed.GetValue(Socket) ?? TheOne();
        if (parsed.GetValue(Socket) is null)
            MakeSure(path, "console", ask: false);
        if (ConsoleClient.Show(host, path, domain) is ConsoleEnd.Left)
            host.Error.WriteLine($"tessera: {ConsoleClient.HowToComeBack(domain, path)}");
        else
            host.Error.WriteLine($"tessera: {domain} or its run has ended.");
        return ExitCode.Good;
    }

    /// <summary>
    /// Says which machine was found. Root's are found by everybody who is root, so what cannot be undone is done to a machine that nobody named only
    /// after a question.
    /// </summary>
    private void MakeSure(string path, string command, bool ask)
    {
        ControlReply about = Ask(path, new ControlRequest { Protocol = ControlProtocol.Name, Command = AboutCommand.About });
        string machine = about is { Ok: true } ? about.Message : $"The machine of {path}";
        host.Error.WriteLine($"tessera: {machine}");
        if (!ask)
            return;
        if (!host.InIsTerminal)
            throw new UsageException($"{command} cannot be undone, and this machine was not named. Name it with --socket {path}, or add --yes.");
        host.Error.Write($"tessera: {command} there? [y/N] ");
        Span<byte> answer = stackalloc byte[16];
        int count;
        while ((count = host.Input.Read(answer, TimeSpan.FromSeconds(1))) < 0)
        {
            if (host.Stop.IsRequested)
                throw new OperationCanceledException();
        }

        if (count == 0 || answer[0] is not ((byte)'y' or (byte)'Y'))
            throw new FailedException($"{command}: nothing was done.");
    }

    private static ControlReply Ask(string path, ControlRequest request)
    {
        using Socket connection = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified)
        {
            ReceiveTimeout = (int)Patience.TotalMilliseconds,
        };
        try
        {
            connection.Connect(new UnixDomainSocketEndPoint(path));
            // Before the request: once sending has failed, the socket does not pass for connected any more, though the answer may be there.
            using NetworkStream stream = new(connection);
            Send(connection, request);
            using StreamReader reader = new(stream, Encoding.UTF8);
            return reader.ReadLine() is { } line
                ? ControlProtocol.ReadReply(line)
                : throw new FailedException($"The run of {path} ended before it answered.");
        }
        catch (IOException e) when (e.InnerException is SocketException { SocketErrorCode: SocketError.TimedOut or SocketError.WouldBlock })
        {
            throw new FailedException($"The machine of {path} did not answer within {Patience.TotalSeconds:0} s. The command may still take effect; `tessera ctl list` tells.");
        }
        catch (IOException e)
        {
            throw new FailedException($"The run of {path} ended before it answered: {e.Message}");
        }
        catch (SocketException e)
        {
            throw new FailedException(Unreachable(path, e));
        }
        catch (Exception e) when (e is JsonException or ArgumentOutOfRangeException)
        {
            throw new FailedException($"{path} is not a machine's control socket: {e.Message}");
        }
    }

    /// <summary>A machine that takes no more connections answers without having read, and hangs up: then there is an answer, although nothing can be sent.</summary>
    private static void Send(Socket connection, ControlRequest request)
    {
        try
        {
            connection.Send(Encoding.UTF8.GetBytes(ControlProtocol.Write(request) + "\n"));
        }
        catch (SocketException e) when (e.SocketErrorCode is SocketError.Shutdown or SocketError.ConnectionReset or SocketError.ConnectionAborted)
        {
            // What it said is read next.
        }
    }

    private string TheOne()
    {
        ControlSockets sockets = new(host.Environment);
        IReadOnlyList<string> running = sockets.Running();
        return running.Count switch
        {
            1 => running[0],
            0 => throw new FailedException($"No machine of yours is running that can be controlled (looked in {sockets.Folder}). Start one with `tessera run CONFIG --control {ControlSockets.Auto}`, or name its socket: --socket PATH."),
            _ => throw new FailedException($"{running.Count} machines of yours are running. Name one: {string.Join(" or ", running.Select(path => $"--socket {path}"))}."),
        };
    }

    /// <summary>Why a socket cannot be connected to, and what helps.</summary>
    internal static string Unreachable(string path, SocketException e) => e.SocketErrorCode switch
    {
        SocketError.ConnectionRefused => $"Nobody listens on {path}: its machine is not running any more. Start one with `tessera run CONFIG --control {path}`.",
        SocketError.AccessDenied => $"{path} may not be used: only the user who started the machine can control it.",
        _ when e.NativeErrorCode == NoSuchFile || !File.Exists(path) => $"There is no socket {path}: no machine runs with it. Start one with `tessera run CONFIG --control {path}`.",
        _ => $"{path}: {e.Message}.",
    };
}

/// <summary>What a command does to a machine.</summary>
internal enum ControlEffect
{
    /// <summary>Nothing.</summary>
    Looks,

    /// <summary>Something that another command can undo.</summary>
    Changes,

    /// <summary>Something that nothing can undo.</summary>
    Ends,
}
