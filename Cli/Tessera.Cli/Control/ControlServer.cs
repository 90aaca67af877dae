using System.Net.Sockets;
using System.Text;
using Tessera.Experiments;

namespace Tessera.Cli.Control;

/// <summary>A Unix socket that answers lines with lines; each connection has a thread, for a command may take its time.</summary>
internal sealed class ControlServer : IDisposable
{
    private const int MostConnections = 16;

    /// <summary>How long replies may take that are under way when the run ends: only a plugin that hangs while it is made takes longer.</summary>
    private static readonly TimeSpan LastReplies = TimeSpan.FromSeconds(2);

    private readonly object _gate = new();

    /// <summary>Open connections, the one that was last answered or opened at the end; and those among them that are being answered.</summary>
    private readonly List<Socket> _connections = [];
    private readonly HashSet<Socket> _busy = [];
    private readonly Socket _listener;
    private readonly string _path;
    private readonly Func<string, ControlLine> _answer;
    private readonly Thread _thread;
    private int _answering;
    private bool _isOver;

    private ControlServer(Socket listener, string path, Func<string, ControlLine> answer)
    {
        (_listener, _path, _answer) = (listener, path, answer);
        _thread = new Thread(Accept) { Name = "tessera control", IsBackground = true };
        _thread.Start();
    }

    /// <summary>Listens from now on; only this user may connect.</summary>
    /// <param name="path">The socket's path.</param>
    /// <param name="answer">Answers a line; called on a connection's thread.</param>
    /// <exception cref="UsageException">The socket cannot be made.</exception>
    public static ControlServer Listen(string path, Func<string, ControlLine> answer)
    {
        Socket listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            ControlSockets.RemoveStale(path);
            listener.Bind(new UnixDomainSocketEndPoint(path));

            // Between bind and listen nobody can connect, so nobody gets in before the mode is right.
            PrivateFiles.Protect(path);
            listener.Listen(MostConnections);
        }
        catch (Exception e) when (e is SocketException or IOException or UnauthorizedAccessException)
        {
            listener.Dispose();
            throw new UsageException($"--control {path}: {e.Message}. Name a path in a folder that you can write.");
        }
        catch
        {
            listener.Dispose();
            throw;
        }

        return new ControlServer(listener, path, answer);
    }

    /// <summary>Lets replies and consoles' last words that are under way go out, ends every connection and removes the socket.</summary>
    public void Dispose()
    {
        Socket[] open;
        lock (_gate)
        {
            _isOver = true;
            long until = Environment.TickCount64 + (long)LastReplies.TotalMilliseconds;
            while (_answering + _busy.Count > 0 && until - Environment.TickCount64 is > 0 and var left)
                _ = Monitor.Wait(_gate, (int)left);
            open = [.. _connections];
        }

        File.Delete(_path);
        _listener.Dispose();
        _thread.Join();
        foreach (Socket connection in open)
            connection.Dispose();
    }

    private void Accept()
    {
        while (true)
        {
            Socket connection;
            try
            {
                connection = _listener.Accept();
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                return;
            }

            bool taken;
            lock (_gate)
            {
                // Whoever opens a connection and says nothing must not keep others out.
                if (_connections.Count == MostConnections && _connections.Find(open => !_busy.Contains(open)) is { } idle)
                {
                    _connections.Remove(idle);
                    HangUp(idle);
                }

                taken = !_isOver && _connections.Count < MostConnections;
                if (taken)
                    _connections.Add(connection);
            }

            if (taken)
                new Thread(() => Converse(connection)) { Name = "tessera connection", IsBackground = true }.Start();
            else
                TurnAway(connection);
        }
    }

    private static void HangUp(Socket connection)
    {
        try
        {
            connection.Shutdown(SocketShutdown.Both);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // It hung up itself.
        }
    }

    private static void TurnAway(Socket connection)
    {
        using Socket closing = connection;
        Send(connection, ControlProtocol.Write(ControlReply.Of(new ControlException(ControlCode.Busy, $"{MostConnections} connections are open already. Close one, or try again."))));
    }

    private void Converse(Socket connection)
    {
        try
        {
            byte[] buffer = new byte[ControlProtocol.LongestLine];
            int filled = 0;
            while (true)
            {
                int end = Array.IndexOf(buffer, (byte)'\n', 0, filled);
                if (end >= 0)
                {
                    if (!Reply(connection, Encoding.UTF8.GetString(buffer, 0, end), out Action<Socket, ReadOnlyMemory<byte>>? takeOver))
                        return;
                    if (takeOver is not null)
                    {
                        takeOver(connection, buffer.AsMemory(end + 1, filled - end - 1));
                        return;
                    }

                    filled -= end + 1;
                    Array.Copy(buffer, end + 1, buffer, 0, filled);
                    continue;
                }

                if (filled == buffer.Length)
                {
                    _ = Send(connection, ControlProtocol.Write(ControlReply.Of(new ControlException(ControlCode.BadRequest, $"A request is at most {ControlProtocol.LongestLine} bytes."))));
                    return;
                }

                int got = connection.Receive(buffer, filled, buffer.Length - filled, SocketFlags.None);
                if (got == 0)
                    return;
                filled += got;
            }
        }
        catch (Exception)
        {
            // The other side went away, or the run is over; whatever it is, it costs this connection and not the run.
        }
        finally
        {
            lock (_gate)
            {
                _connections.Remove(connection);
                _busy.Remove(connection);
                Monitor.PulseAll(_gate);
            }

            connection.Dispose();
        }
    }

    private bool Reply(Socket connection, string line, out Action<Socket, ReadOnlyMemory<byte>>? takeOver)
    {
        takeOver = null;
        lock (_gate)
        {
            if (_isOver || !_connections.Remove(connection))
                return false;
            _connections.Add(connection);
            _busy.Add(connection);
            _answering++;
        }

        (string reply, takeOver) = _answer(line);
        bool sent = Send(connection, reply);
        lock (_gate)
        {
            if (takeOver is null)
                _busy.Remove(connection);
            _answering--;
            Monitor.PulseAll(_gate);
        }

        return sent;
    }

    private static bool Send(Socket connection, string line)
    {
        try
        {
            ReadOnlySpan<byte> bytes = Encoding.UTF8.GetBytes(line + "\n");
            while (bytes.Length > 0)
                bytes = bytes[connection.Send(bytes)..];
            return true;
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            return false;
        }
    }
}
