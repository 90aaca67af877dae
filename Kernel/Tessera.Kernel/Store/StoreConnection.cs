using Tessera.Sdk;

namespace Tessera.Kernel.Store;

/// <summary>What a connection needs after a turn.</summary>
/// <param name="HasMore">Requests may wait in the ring.</param>
/// <param name="Delay">Not before so much time: the domain asks faster than it may.</param>
/// <param name="LookAgain">The ring moved: it is to be looked at once more soon, even if the guest says nothing.</param>
internal readonly record struct StoreTurn(bool HasMore, TimeSpan Delay, bool LookAgain = false);

/// <summary>
/// One domain's connection to the store over its ring. A guest's notification only queues it with the server; all work is done there, a
/// bounded piece a turn. Indexes that cannot be, or a message that is too long, kill the connection until the guest asks for a new one.
/// </summary>
internal sealed partial class StoreConnection
{
    private readonly Lock _gate = new();
    private readonly StoreRingPage _page;
    private readonly XenStore _store;
    private readonly StoreServer _server;
    private readonly StoreOutbox _outbox;
    private readonly StoreSession _session;
    private readonly Action _notifyGuest;
    private readonly byte[] _header = new byte[StoreHeader.Bytes];
    private readonly byte[] _payload = new byte[StoreHeader.MaxPayload];
    private readonly StoreQuota _quota;
    private double _credit;
    private long _creditAt;
    private int _headerRead;
    private int _payloadRead;
    private bool _dead;
    private bool _closed;

    /// <param name="domain">Whose.</param>
    /// <param name="page">The shared page, mapped until <see cref="Close"/> has returned.</param>
    /// <param name="store">The store.</param>
    /// <param name="server">Who gives it turns.</param>
    /// <param name="notifyGuest">Raises the guest's event channel.</param>
    public StoreConnection(DomainId domain, StoreRingPage page, XenStore store, StoreServer server, Action notifyGuest)
    {
        (Domain, _page, _store, _server, _notifyGuest, _quota) = (domain, page, store, server, notifyGuest, store.Quota);
        _outbox = new StoreOutbox(_quota, () => server.Ready(this));
        _session = new StoreSession(domain, store, _outbox);
        _credit = _quota.Burst;
        _creditAt = server.Time.GetTimestamp();
        page.Offer();
    }

    /// <summary>Whose connection it is.</summary>
    public DomainId Domain { get; }

    /// <summary>Waits for its turn; guarded by the server's gate.</summary>
    public bool IsQueued { get; set; }

    /// <summary>Is to be looked at once more; guarded by the server's gate.</summary>
    public bool IsLookedAtAgain { get; set; }

    /// <summary>The guest said the ring has news. Any thread, does no work.</summary>
    public void Notified() => _server.Ready(this);

    /// <summary>Serves so many requests at most, one that took many steps counted as more. The server's thread.</summary>
    public StoreTurn Serve(int budget)
    {
        bool news;
        StoreTurn turn;
        lock (_gate)
        {
            if (_closed)
                return default;
            news = TryReconnect();
            turn = _dead ? default : Work(budget, ref news);
        }

        if (news)
            _notifyGuest();

        // Linux (xenbus_comms.c, xb_write) publishes its index and then reads ours to decide whether to notify, without a barrier between
        // the two: with both ends at work at once its notification can be missing.
        return turn with { LookAgain = news && !turn.HasMore };
    }

    /// <summary>Ends the connection; the page is not touched after this.</summary>
    public void Close()
    {
        lock (_gate)
        {
            if (_closed)
                return;
            _closed = true;
            _session.Reset();
            _outbox.Clear();
        }
    }

    private StoreTurn Work(int budget, ref bool news)
    {
        news |= Flush();
        while (!_dead)
        {
            if (!_outbox.HasRoom)
                return default;
            if (budget <= 0)
                return new StoreTurn(HasMore: true, TimeSpan.Zero);
            if (!TryEarn(out TimeSpan delay))
                return new StoreTurn(HasMore: true, delay);
            if (!TryReceive(out StoreHeader header, ref news))
                return default;
            long before = _store.StepsOf(Domain);
            _session.Handle(header, _payload.AsSpan(0, (int)header.Length));
            int cost = 1 + (int)((_store.StepsOf(Domain) - before) / _quota.StepsPerRequest);
            _credit -= cost;
            budget -= cost;
            news |= Flush();
        }

        return default;
    }

    private bool TryReconnect()
    {
        if (!_page.WantsReconnection)
            return false;
        _session.Reset();
        _outbox.Clear();
        (_headerRead, _payloadRead, _dead) = (0, 0, false);
        _page.Restart();
        return true;
    }

    private bool TryReceive(out StoreHeader header, ref bool news)
    {
        header = default;
        if (!Fill(_header, ref _headerRead, _header.Length, ref news))
            return false;
        header = StoreHeader.Read(_header);
        if (header.Length > StoreHeader.MaxPayload)
        {
            Die(StoreRingError.Protocol);
            return false;
        }

        if (!Fill(_payload, ref _payloadRead, (int)header.Length, ref news))
            return false;
        (_headerRead, _payloadRead) = (0, 0);
        return true;
    }

    /// <summary>Reads on until so many bytes are there; the ring may bring them in pieces.</summary>
    private bool Fill(byte[] buffer, ref int read, int wanted, ref bool news)
    {
        if (read == wanted)
            return true;
        int count = _page.Take(buffer.AsSpan(read, wanted - read));
        if (count < 0)
        {
            Die(StoreRingError.RingIndex);
            return false;
        }

        read += count;
        // A writer may wait for the room that this made.
        news |= count > 0;
        return read == wanted;
    }

    private bool Flush()
    {
        if (_outbox.IsEmpty)
            return false;
        int given = _page.Give(_outbox);
        if (given < 0)
            Die(StoreRingError.RingIndex);
        return given > 0;
    }

    private void Die(StoreRingError error)
    {
        _dead = true;
        _session.Reset();
        _outbox.Clear();
        _page.Fail(error);
    }

    /// <summary>Credit grows with time to the burst; a request costs one, and more when it took many steps. The last one of a burst may leave a debt.</summary>
    private bool TryEarn(out TimeSpan delay)
    {
        long now = _server.Time.GetTimestamp();
        _credit = Math.Min(_quota.Burst, _credit + (_server.Time.GetElapsedTime(_creditAt, now).TotalSeconds * _quota.RequestsPerSecond));
        _creditAt = now;
        // Sixteen at a time, so that a flood does not wake the server for each request.
        delay = _credit >= 1 ? TimeSpan.Zero : TimeSpan.FromSeconds((Math.Min(16, _quota.Burst) - _credit) / _quota.RequestsPerSecond);
        return _credit >= 1;
    }
}
