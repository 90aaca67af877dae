using System.CommandLine;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

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

    /// <summary>Asks and shows the answer.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="command">The command.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="show">Shows a result to a person; null writes the reply's message.</param>
    /// <returns>The exit code.</returns>
    public int Ask(ParseResult parsed, string command, JsonObject arguments, Action<CliHost, JsonElement>? show = null)
    {
        ControlRequest request = new()
        {
            Protocol = ControlProtocol.Name,
            Command = command,
            Arguments = JsonDocument.Parse(arguments.ToJsonString()).RootElement,
        };
        ControlReply reply = Ask(parsed.GetValue(Socket), request);
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

    private ControlReply Ask(string? socket, ControlRequest request)
    {
        string path = socket ?? TheOne();
        using Socket connection = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified)
        {
            ReceiveTimeout = (int)Patience.TotalMilliseconds,
        };
        try
        {
            connection.Connect(new UnixDomainSocketEndPoint(path));
            connection.Send(Encoding.UTF8.GetBytes(ControlProtocol.Write(request) + "\n"));
            using NetworkStream stream = new(connection);
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
            throw new FailedException($"{path} is no control socket of a machine: {e.Message}");
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

    private static string Unreachable(string path, SocketException e) => e.SocketErrorCode switch
    {
        SocketError.ConnectionRefused => $"Nobody listens on {path}: its machine is not running any more. Start one with `tessera run CONFIG --control {path}`.",
        SocketError.AccessDenied => $"{path} may not be used: only the user who started the machine can control it.",
        _ when e.NativeErrorCode == NoSuchFile || !File.Exists(path) => $"There is no socket {path}: no machine runs with it. Start one with `tessera run CONFIG --control {path}`.",
        _ => $"{path}: {e.Message}.",
    };
}
