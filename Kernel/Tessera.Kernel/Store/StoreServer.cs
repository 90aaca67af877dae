using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Kernel.Store;

/// <summary>
/// The thread that serves the store's rings: connections with news in turn, a bounded number of requests each, so that one domain's
/// flood costs the others at most one turn of it. Guests' threads only queue.
/// </summary>
internal sealed class StoreServer : IDisposable
{
    /// <summary>How long after a ring moved it is looked at once more.</summary>
    public static readonly TimeSpan LookAgainAfter = TimeSpan.FromMilliseconds(1);

    /// <summary>Requests of one connection before the next one's turn.</summary>
    public const int RequestsPerTurn = 16;

    private readonly object _gate = new();
    private readonly Queue<StoreConnection> _ready = new();
    private readonly PriorityQueue<StoreConnection, long> _delayed = new();
    private readonly Queue<(StoreConnection Connection, long Due)> _looks = new();
    private readonly Action<DomainId, Exception> _failed;
    private readonly Action<Exception>? _broken;
    private readonly IThreadDuties? _duties;
    private readonly Action? _news;
    private readonly Thread? _thread;
    private bool _stopping;

    /// <param name="time">What requests a second are measured by.</param>
    /// <param name="failed">Told of a connection whose service failed; it is closed.</param>
    /// <param name="broken">Told of what ended the thread; nobody is served any more.</param>
    /// <param name="duties">Takes from the thread what it does not need.</param>
    /// <param name="startThread">False leaves the turns to the caller (<see cref="ServeNext"/>).</param>
    /// <param name="news">Told that a connection has news, for a caller that gives the turns.</param>
    public StoreServer(
        TimeProvider time, Action<DomainId, Exception> failed, Action<Exception>? broken = null, IThreadDuties? duties = null, bool startThread = true, Action? news = null)
    {
        (Time, _failed, _broken, _duties, _news) = (time, failed, broken, duties, news);
        if (!startThread)
            return;
        _thread = new Thread(Loop) { IsBackground = true, Name = "store" };
        _thread.Start();
    }

    /// <summary>The time of rates.</summary>
    public TimeProvider Time { get; }

    /// <summary>A connection has news. Any thread.</summary>
    public void Ready(StoreConnection connection)
    {
        lock (_gate)
        {
            if (connection.IsQueued || _stopping)
                return;
            connection.IsQueued = true;
            _ready.Enqueue(connection);
            Monitor.Pulse(_gate);
        }

        _news?.Invoke();
    }

    /// <summary>How long until a connection that waits for its time is ready: at least a millisecond; infinite when none does.</summary>
    public TimeSpan UntilNext
    {
        get
        {
            lock (_gate)
                return TimeSpan.FromMilliseconds(UntilDelayed());
        }
    }

    /// <summary>Gives the next connection its turn.</summary>
    /// <returns>False when none has news.</returns>
    public bool ServeNext()
    {
        StoreConnection? connection;
        lock (_gate)
        {
            Undelay();
            if (!_ready.TryDequeue(out connection))
                return false;
            connection.IsQueued = false;
        }

        StoreTurn turn;
        try
        {
            turn = connection.Serve(RequestsPerTurn);
        }
        catch (Exception exception)
        {
            connection.Close();
            _failed(connection.Domain, exception);
            return true;
        }

        lock (_gate)
        {
            if (turn.LookAgain && !connection.IsLookedAtAgain)
            {
                connection.IsLookedAtAgain = true;
                _looks.Enqueue((connection, Time.GetTimestamp() + Ticks(LookAgainAfter)));
            }

            if (!turn.HasMore)
                return true;
            if (connection.IsQueued)
                return true;
            connection.IsQueued = true;
            if (turn.Delay <= TimeSpan.Zero)
                _ready.Enqueue(connection);
            else
                _delayed.Enqueue(connection, Time.GetTimestamp() + Ticks(turn.Delay));
        }

        return true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate)
        {
            _stopping = true;
            Monitor.Pulse(_gate);
        }

        _thread?.Join();
    }

    private void Loop()
    {
        try
        {
            _duties?.Enter(ThreadDuty.Device);
            Serve();
        }
        catch (Exception exception)
        {
            _broken?.Invoke(exception);
        }
    }

    private void Serve()
    {
        while (true)
        {
            while (ServeNext())
            {
                if (Volatile.Read(ref _stopping))
                    return;
            }

            lock (_gate)
            {
                if (_stopping)
                    return;
                if (_ready.Count == 0)
                    _ = Monitor.Wait(_gate, UntilDelayed());
            }
        }
    }

    private void Undelay()
    {
        long now = Time.GetTimestamp();
        while (_delayed.TryPeek(out StoreConnection? connection, out long due) && due <= now)
        {
            _ = _delayed.Dequeue();
            _ready.Enqueue(connection);
        }

        while (_looks.TryPeek(out (StoreConnection Connection, long Due) look) && look.Due <= now)
        {
            _ = _looks.Dequeue();
            look.Connection.IsLookedAtAgain = false;
            if (look.Connection.IsQueued)
                continue;
            look.Connection.IsQueued = true;
            _ready.Enqueue(look.Connection);
        }
    }

    private int UntilDelayed()
    {
        long due = _delayed.TryPeek(out _, out long first) ? first : long.MaxValue;
        if (_looks.TryPeek(out (StoreConnection Connection, long Due) look))
            due = Math.Min(due, look.Due);
        return due == long.MaxValue ? Timeout.Infinite : (int)Math.Clamp((due - Time.GetTimestamp()) * 1000 / Time.TimestampFrequency, 0, 1000) + 1;
    }

    private long Ticks(TimeSpan span) => (long)(span.TotalSeconds * Time.TimestampFrequency);
}
