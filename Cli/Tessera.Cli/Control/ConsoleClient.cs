using System.CommandLine;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Tessera.Cli.Control.Commands;
using Tessera.Cli.Terminal;

namespace Tessera.Cli.Control;

/// <summary>How a look at a console ended.</summary>
internal enum ConsoleEnd
{
    /// <summary>The domain, its run or the connection has ended.</summary>
    Ended,

    /// <summary>The user left; the domain goes on.</summary>
    Left,
}

/// <summary>The terminal's side of a domain's console.</summary>
internal static class ConsoleClient
{
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(50);

    /// <summary>What a user is told who left.</summary>
    public static string HowToComeBack(string domain, string socket) =>
        $"{domain} goes on. Back to it: tessera ctl console {domain} --socket {socket}; end it: tessera ctl destroy {domain} --socket {socket}";

    /// <summary>Shows a console until the domain ends or the user leaves.</summary>
    /// <param name="host">The terminal.</param>
    /// <param name="socket">The machine's control socket.</param>
    /// <param name="domain">The domain's name.</param>
    /// <exception cref="FailedException">There is no such machine, or it refuses.</exception>
    public static ConsoleEnd Show(CliHost host, string socket, string domain)
    {
        using Socket connection = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            connection.Connect(new UnixDomainSocketEndPoint(socket));
            connection.Send(Encoding.UTF8.GetBytes(ControlProtocol.Write(ConsoleCommand.RequestFor(domain)) + "\n"));
            string line = FirstLine(connection);
            if (line.Length == 0)
                return ConsoleEnd.Ended;
            ControlReply reply = ControlProtocol.ReadReply(line);
            if (!reply.Ok)
                throw ControlCode.IsUsage(reply.Code) ? new UsageException(reply.Message) : new FailedException(reply.Message);
        }
        catch (SocketException e)
        {
            throw new FailedException(ControlClient.Unreachable(socket, e));
        }
        catch (Exception e) when (e is JsonException or ArgumentOutOfRangeException)
        {
            throw new FailedException($"{socket} is not a machine's control socket: {e.Message}");
        }

        return Carry(host, connection);
    }

    private static ConsoleEnd Carry(CliHost host, Socket connection)
    {
        using ManualResetEventSlim left = new();
        using RawTerminal? raw = host.InIsTerminal ? RawTerminal.Enter() : null;
        using InputPump input = new(host.Input, bytes => Send(connection, bytes), host.InIsTerminal ? left.Set : null);
        input.Start();
        byte[] buffer = new byte[4096];
        try
        {
            while (!left.IsSet && !host.Stop.IsRequested)
            {
                if (!connection.Poll(Tick, SelectMode.SelectRead))
                    continue;
                int count = connection.Receive(buffer);
                if (count == 0)
                    return ConsoleEnd.Ended;
                host.RawOut.Write(buffer, 0, count);
                host.RawOut.Flush();
            }

            return ConsoleEnd.Left;
        }
        catch (SocketException)
        {
            return ConsoleEnd.Ended;
        }
        catch (IOException)
        {
            // The terminal has gone, or the reader of a pipe.
            return ConsoleEnd.Left;
        }
    }

    private static int Send(Socket connection, ReadOnlySpan<byte> bytes)
    {
        try
        {
            while (bytes.Length > 0)
                bytes = bytes[connection.Send(bytes)..];
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The other side has ended; the reading side sees it too.
        }

        return 0;
    }

    private static string FirstLine(Socket connection)
    {
        List<byte> line = [];
        byte[] one = new byte[1];
        while (connection.Receive(one) == 1 && one[0] != (byte)'\n')
            line.Add(one[0]);
        return Encoding.UTF8.GetString([.. line]);
    }
}
