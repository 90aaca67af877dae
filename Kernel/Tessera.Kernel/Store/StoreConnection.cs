using System.Buffers.Binary;
using System.Text;
using Tessera.Kernel.Memory;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Store;

/// <summary>
/// One domain's connection to the store over its ring (public/io/xs_wire.h). Everything in the ring is the guest's word: indexes are
/// reduced, lengths bounded, and a message that breaks the protocol gets an error, or silence when it has no header.
/// </summary>
internal sealed unsafe class StoreConnection
{
    private const int HeaderBytes = 16;
    private const int MaxPayload = 4096;
    private const int MaxWatches = 128;
    private const int MaxPending = 256 * 1024;

    private readonly Lock _gate = new();
    private readonly DomainId _domain;
    private readonly DomainMemory _memory;
    private readonly Mfn _ring;
    private readonly XenStore _store;
    private readonly Action _notifyGuest;
    private readonly List<(string Path, string Given, string Token)> _watches = [];
    private readonly Queue<byte> _outgoing = new();
    private readonly byte[] _header = new byte[HeaderBytes];
    private readonly byte[] _payload = new byte[MaxPayload];
    private int _headerRead;
    private int _payloadRead;
    private uint _nextTransaction = 1;
    private bool _closed;

    public StoreConnection(DomainId domain, DomainMemory memory, Mfn ring, XenStore store, Action notifyGuest)
    {
        (_domain, _memory, _ring, _store, _notifyGuest) = (domain, memory, ring, store, notifyGuest);
        store.Changed += OnChanged;
    }

    /// <summary>The guest said the ring has news.</summary>
    public void Notified()
    {
        bool news = false;
        // As many as fit in a ring: a guest that keeps adding some on another vCPU has to say so again.
        for (int count = 0; count < StoreRing.RingSize / HeaderBytes && TryReceive(out uint type, out uint request, out uint transaction, out byte[] payload); count++)
        {
            Answer(type, request, transaction, payload);
            news = true;
        }

        lock (_gate)
            news |= Flush();
        if (news)
            _notifyGuest();
    }

    /// <summary>Ends the connection.</summary>
    public void Close()
    {
        _store.Changed -= OnChanged;
        lock (_gate)
        {
            _watches.Clear();
            _closed = true;
        }
    }

    private static string[] Strings(byte[] payload) => Encoding.UTF8.GetString(payload).TrimEnd('\0').Split('\0');

    private ref uint Index(int offset) => ref *(uint*)(_memory.At(_ring.Address) + offset);

    private bool TryReceive(out uint type, out uint request, out uint transaction, out byte[] payload)
    {
        lock (_gate)
        {
            (type, request, transaction, payload) = (0, 0, 0, []);
            if (_closed)
                return false;
            _headerRead += Take(_header.AsSpan(_headerRead));
            if (_headerRead < HeaderBytes)
                return false;
            type = BinaryPrimitives.ReadUInt32LittleEndian(_header);
            request = BinaryPrimitives.ReadUInt32LittleEndian(_header.AsSpan(4));
            transaction = BinaryPrimitives.ReadUInt32LittleEndian(_header.AsSpan(8));
            uint length = BinaryPrimitives.ReadUInt32LittleEndian(_header.AsSpan(12));
            if (length > MaxPayload)
            {
                // Xen closes such a connection; the stream cannot be found again in it.
                Volatile.Write(ref Index(StoreRing.Error), 3);
                Volatile.Write(ref Index(StoreRing.RequestCons), Volatile.Read(ref Index(StoreRing.RequestProd)));
                _headerRead = 0;
                return false;
            }

            _payloadRead += Take(_payload.AsSpan(_payloadRead, (int)length - _payloadRead));
            if (_payloadRead < length)
                return false;
            payload = _payload.AsSpan(0, (int)length).ToArray();
            (_headerRead, _payloadRead) = (0, 0);
            return true;
        }
    }

    private int Take(Span<byte> destination)
    {
        // SAFETY: the ring frame is the domain's own; positions are reduced to the ring's size.
        byte* ring = _memory.At(_ring.Address) + StoreRing.Request;
        uint consumed = Volatile.Read(ref Index(StoreRing.RequestCons));
        uint waiting = Volatile.Read(ref Index(StoreRing.RequestProd)) - consumed;
        if (waiting > StoreRing.RingSize)
            return 0;
        int count = (int)Math.Min(waiting, (uint)destination.Length);
        for (int index = 0; index < count; index++)
            destination[index] = ring[(consumed + (uint)index) & (StoreRing.RingSize - 1)];
        Volatile.Write(ref Index(StoreRing.RequestCons), consumed + (uint)count);
        return count;
    }

    private bool Flush()
    {
        if (_closed)
            return false;
        // SAFETY: as in Take.
        byte* ring = _memory.At(_ring.Address) + StoreRing.Response;
        uint produced = Volatile.Read(ref Index(StoreRing.ResponseProd));
        uint room = StoreRing.RingSize - (produced - Volatile.Read(ref Index(StoreRing.ResponseCons)));
        if (room > StoreRing.RingSize)
            return false;
        bool any = false;
        while (room-- > 0 && _outgoing.TryDequeue(out byte value))
        {
            ring[produced++ & (StoreRing.RingSize - 1)] = value;
            any = true;
        }

        Volatile.Write(ref Index(StoreRing.ResponseProd), produced);
        return any;
    }

    private void Send(StoreMessage type, uint request, uint transaction, ReadOnlySpan<byte> payload)
    {
        lock (_gate)
        {
            if (_closed || _outgoing.Count > MaxPending)
                return;
            Span<byte> header = stackalloc byte[HeaderBytes];
            BinaryPrimitives.WriteUInt32LittleEndian(header, (uint)type);
            BinaryPrimitives.WriteUInt32LittleEndian(header[4..], request);
            BinaryPrimitives.WriteUInt32LittleEndian(header[8..], transaction);
            BinaryPrimitives.WriteUInt32LittleEndian(header[12..], (uint)payload.Length);
            foreach (byte value in header)
                _outgoing.Enqueue(value);
            foreach (byte value in payload)
                _outgoing.Enqueue(value);
            _ = Flush();
        }
    }

    private void Answer(uint type, uint request, uint transaction, byte[] payload)
    {
        byte[] reply = "OK\0"u8.ToArray();
        XenErrno error = (StoreMessage)type switch
        {
            StoreMessage.Directory => Directory(payload, out reply),
            StoreMessage.Read => Read(payload, out reply),
            StoreMessage.GetPermissions => Permissions(payload, out reply),
            StoreMessage.Write => Write(payload),
            StoreMessage.MakeDirectory => MakeDirectory(payload),
            StoreMessage.Remove => OnPath(payload, path => _store.Remove(_domain, path)),
            StoreMessage.SetPermissions => OnPath(payload, path => _store.Exists(path) ? XenErrno.Success : XenErrno.ENOENT),
            StoreMessage.Watch => Watch(payload),
            StoreMessage.Unwatch => Unwatch(payload),
            StoreMessage.ResetWatches => ResetWatches(),
            StoreMessage.TransactionStart => Begin(out reply),
            StoreMessage.TransactionEnd => XenErrno.Success,
            StoreMessage.GetDomainPath => DomainPath(payload, out reply),
            StoreMessage.IsDomainIntroduced => Introduced(payload, out reply),
            _ => XenErrno.ENOSYS,
        };
        if (error == XenErrno.Success)
            Send((StoreMessage)type, request, transaction, reply);
        else
            Send(StoreMessage.Error, request, transaction, Encoding.ASCII.GetBytes($"{error}\0"));
        if (error == XenErrno.Success && (StoreMessage)type == StoreMessage.Watch)
        {
            string[] words = Strings(payload);
            Fire(words[0], words[1]);
        }
    }

    private XenErrno OnPath(byte[] payload, Func<string, XenErrno> operation) =>
        XenStore.TryResolve(_domain, Strings(payload)[0], out string path) ? operation(path) : XenErrno.EINVAL;

    private XenErrno Directory(byte[] payload, out byte[] reply)
    {
        reply = [];
        if (!XenStore.TryResolve(_domain, Strings(payload)[0], out string path))
            return XenErrno.EINVAL;
        XenErrno error = _store.List(_domain, path, out IReadOnlyList<string> children);
        reply = Encoding.UTF8.GetBytes(string.Concat(children.Select(child => child + "\0")));
        return reply.Length > MaxPayload ? XenErrno.E2BIG : error;
    }

    private XenErrno Read(byte[] payload, out byte[] reply)
    {
        reply = [];
        return XenStore.TryResolve(_domain, Strings(payload)[0], out string path) ? _store.Read(_domain, path, out reply) : XenErrno.EINVAL;
    }

    private XenErrno Permissions(byte[] payload, out byte[] reply)
    {
        reply = Encoding.ASCII.GetBytes($"n{_domain.Value}\0");
        return OnPath(payload, path => _store.Exists(path) ? XenErrno.Success : XenErrno.ENOENT);
    }

    private XenErrno Write(byte[] payload)
    {
        int end = Array.IndexOf(payload, (byte)0);
        return end < 0 || !XenStore.TryResolve(_domain, Encoding.UTF8.GetString(payload, 0, end), out string path)
            ? XenErrno.EINVAL
            : _store.Write(_domain, path, payload[(end + 1)..]);
    }

    private XenErrno MakeDirectory(byte[] payload) =>
        OnPath(payload, path => _store.Exists(path) ? XenErrno.Success : _store.Write(_domain, path, []));

    private XenErrno Watch(byte[] payload)
    {
        string[] words = Strings(payload);
        if (words.Length < 2)
            return XenErrno.EINVAL;
        string path = words[0];
        if (!path.StartsWith('@') && !XenStore.TryResolve(_domain, words[0], out path))
            return XenErrno.EINVAL;
        lock (_gate)
        {
            if (_watches.Any(watch => watch.Path == path && watch.Token == words[1]))
                return XenErrno.EEXIST;
            if (_watches.Count >= MaxWatches)
                return XenErrno.E2BIG;
            _watches.Add((path, words[0], words[1]));
            return XenErrno.Success;
        }
    }

    private XenErrno Unwatch(byte[] payload)
    {
        string[] words = Strings(payload);
        lock (_gate)
            return words.Length >= 2 && _watches.RemoveAll(watch => watch.Given == words[0] && watch.Token == words[1]) > 0 ? XenErrno.Success : XenErrno.ENOENT;
    }

    private XenErrno ResetWatches()
    {
        lock (_gate)
            _watches.Clear();
        return XenErrno.Success;
    }

    /// <summary>A connection is served in order by one thread, so its transactions are trivially serial; writes are visible at once.</summary>
    private XenErrno Begin(out byte[] reply)
    {
        reply = Encoding.ASCII.GetBytes($"{_nextTransaction++}\0");
        return XenErrno.Success;
    }

    private static XenErrno DomainPath(byte[] payload, out byte[] reply)
    {
        bool valid = ushort.TryParse(Strings(payload)[0], out ushort domain);
        reply = Encoding.ASCII.GetBytes($"{XenStore.HomeOf(new DomainId(domain))}\0");
        return valid ? XenErrno.Success : XenErrno.EINVAL;
    }

    private XenErrno Introduced(byte[] payload, out byte[] reply)
    {
        bool valid = ushort.TryParse(Strings(payload)[0], out ushort domain);
        reply = _store.Exists(XenStore.HomeOf(new DomainId(domain))) ? "T\0"u8.ToArray() : "F\0"u8.ToArray();
        return valid ? XenErrno.Success : XenErrno.EINVAL;
    }

    private void OnChanged(string path)
    {
        if (!XenStore.MayRead(_domain, path))
            return;
        (string Given, string Token, string Path)[] hits;
        lock (_gate)
        {
            hits = [.. _watches.Where(watch => path == watch.Path || path.StartsWith(watch.Path + "/", StringComparison.Ordinal))
                .Select(watch => (watch.Given, watch.Token, watch.Path))];
        }

        foreach ((string given, string token, string watched) in hits)
            Fire(given + path[watched.Length..], token);
        if (hits.Length > 0)
            _notifyGuest();
    }

    private void Fire(string path, string token) => Send(StoreMessage.WatchEvent, 0, 0, Encoding.UTF8.GetBytes($"{path}\0{token}\0"));
}

/// <summary>Message types of the store's wire protocol.</summary>
internal enum StoreMessage
{
    Control = 0,
    Directory = 1,
    Read = 2,
    GetPermissions = 3,
    Watch = 4,
    Unwatch = 5,
    TransactionStart = 6,
    TransactionEnd = 7,
    Introduce = 8,
    Release = 9,
    GetDomainPath = 10,
    Write = 11,
    MakeDirectory = 12,
    Remove = 13,
    SetPermissions = 14,
    WatchEvent = 15,
    Error = 16,
    IsDomainIntroduced = 17,
    Resume = 18,
    SetTarget = 19,
    ResetWatches = 21,
}
