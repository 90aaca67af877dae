using Tessera.Kernel.Snapshots;
using Tessera.Sdk;

namespace Tessera.Kernel.Store;

// Saving and restoring. The rings lie in guest memory; the tree is the machine's, and a restored domain gets a home of its own in it.
internal sealed partial class StoreConnection
{
    /// <summary>Writes the request that has come in part, what is yet to be said, watches and transactions.</summary>
    /// <param name="writer">Where to.</param>
    /// <param name="meanwhile">Called while nothing touches the rings.</param>
    public void Save(StateWriter writer, Action meanwhile)
    {
        lock (_gate)
        {
            writer.Flag(_dead);
            writer.Bytes(_header.AsSpan(0, _headerRead));
            writer.Bytes(_payload.AsSpan(0, _payloadRead));
            writer.Bytes(_outbox.Rest());
            _session.Save(writer);
            meanwhile();
        }
    }

    /// <summary>Reads them. Each watch fires once, as one that is set does.</summary>
    /// <exception cref="SnapshotException">They cannot be.</exception>
    public void Restore(StateReader reader)
    {
        lock (_gate)
        {
            _dead = reader.Flag("whether the store's connection is dead");
            _headerRead = Refill(reader.Bytes("the store's request", _header.Length), _header);
            if (_headerRead == _header.Length && StoreHeader.Read(_header).Length > StoreHeader.MaxPayload)
                throw StateReader.Wrong("the store's request", "longer than one may be");
            int most = _headerRead == _header.Length ? (int)StoreHeader.Read(_header).Length : 0;
            _payloadRead = Refill(reader.Bytes("the store's request", most), _payload);
            _outbox.Refill(reader.Bytes("what the store has to say", (_quota.Outstanding + _quota.Events + 1) * (StoreHeader.Bytes + StoreHeader.MaxPayload)).ToArray());
            _session.Restore(reader);
        }

        _server.Ready(this);
    }

    private static int Refill(ReadOnlySpan<byte> from, byte[] to)
    {
        from.CopyTo(to);
        return from.Length;
    }
}

internal sealed partial class StoreOutbox
{
    /// <summary>All that is to be said, in order.</summary>
    public byte[] Rest()
    {
        lock (_gate)
        {
            List<byte> rest = [.. _current.AsSpan(_sent)];
            foreach (Entry entry in _entries)
                rest.AddRange(entry.Bytes() ?? []);
            return [.. rest];
        }
    }

    /// <summary>Fills an empty one: this comes before all else.</summary>
    public void Refill(byte[] rest)
    {
        lock (_gate)
            (_current, _sent) = (rest, 0);
    }
}

internal sealed partial class StoreSession
{
    /// <summary>Transactions of a life before: their changes are lost, and they cannot be committed.</summary>
    private readonly HashSet<uint> _lost = [];

    public void Save(StateWriter writer)
    {
        writer.Number(_watches.Count);
        foreach ((string given, string token) in _watches)
        {
            writer.Text(given);
            writer.Text(token);
        }

        writer.Number(_lastTransaction);
        writer.Number(_transactions.Count);
        foreach (uint transaction in _transactions.Keys)
            writer.Number(transaction);
    }

    /// <summary>Sets the watches again and begins the transactions anew; they answer EAGAIN at their end, and the guest begins once more.</summary>
    public void Restore(StateReader reader)
    {
        int watches = reader.Count("the number of watches", store.Quota.Watches);
        for (int index = 0; index < watches; index++)
        {
            (string given, string token) = (reader.Text("a watch's path", StoreHeader.MaxPayload), reader.Text("a watch's token", StoreHeader.MaxPayload));
            XenErrno error = store.Watch(outbox, domain, given, token);
            if (error != XenErrno.Success)
                throw StateReader.Wrong("a watch", $"refused ({error})");
            _ = _watches.Add((given, token));
        }

        _lastTransaction = (uint)reader.Number("the last transaction", 0, uint.MaxValue);
        int transactions = reader.Count("the number of transactions", store.Quota.Transactions);
        for (int index = 0; index < transactions; index++)
        {
            uint id = (uint)reader.Number("a transaction", 1, uint.MaxValue);
            if (!_lost.Add(id) || store.Begin(domain, out StoreTransaction? transaction) != XenErrno.Success)
                throw StateReader.Wrong($"transaction {id}", "there twice");
            _transactions.Add(id, transaction!);
        }
    }
}
