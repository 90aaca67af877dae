using System.Runtime.InteropServices;
using System.Text;
using Tessera.Kernel.Store;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests.Store;

/// <summary>Time that passes when it is told to.</summary>
internal sealed class HandTime : TimeProvider
{
    private long _now;

    public override long TimestampFrequency => 1_000_000;

    public override long GetTimestamp() => _now;

    public void Pass(TimeSpan time) => _now += (long)time.TotalMicroseconds;
}

/// <summary>A store with a server whose turns the test gives.</summary>
internal sealed class StoreBench
{
    public StoreBench(StoreQuota? quota = null)
    {
        Store = new XenStore(quota);
        Server = new StoreServer(Time, (domain, exception) => Failures.Add($"{domain}: {exception}"), startThread: false);
    }

    public HandTime Time { get; } = new();

    public XenStore Store { get; }

    public StoreServer Server { get; }

    public List<string> Failures { get; } = [];

    public StoreClient Client(ushort domain = 0) => new(Store, new DomainId(domain));

    /// <summary>Serves until nobody has news.</summary>
    public void Serve()
    {
        while (Server.ServeNext())
        {
        }

        Assert.That(Failures, Is.Empty);
    }

    public RingGuest Guest(ushort domain)
    {
        Store.Introduce(new DomainId(domain), $"guest{domain}");
        return new RingGuest(this, new DomainId(domain));
    }
}

/// <summary>A guest's end of the store's ring, as a driver has it, without a guest.</summary>
internal sealed unsafe class RingGuest : IDisposable
{
    private readonly StoreBench _bench;
    private readonly byte* _page;
    private readonly List<byte> _input = [];
    private uint _lastRequest;

    public RingGuest(StoreBench bench, DomainId domain)
    {
        (_bench, Domain) = (bench, domain);
        _page = (byte*)NativeMemory.AllocZeroed(4096);
        Connection = new StoreConnection(domain, new StoreRingPage((nint)_page), bench.Store, bench.Server, () => Notifications++);
    }

    public DomainId Domain { get; }

    public StoreConnection Connection { get; }

    /// <summary>Bytes that the request ring takes.</summary>
    public int Room => (int)Math.Max(0, StoreRing.RingSize - (long)(Word(StoreRing.RequestProd) - Word(StoreRing.RequestCons)));

    public int Notifications { get; private set; }

    /// <summary>Watch events that came, as "path|token".</summary>
    public List<string> Events { get; } = [];

    // SAFETY: offsets of the shared page's words, in the 4096 bytes allocated above; here and below.
    public ref uint Word(int offset) => ref *(uint*)(_page + offset);

    /// <summary>Asks and waits for the answer; '|' stands for the zero byte. Answers "TYPE payload".</summary>
    public string Ask(StoreMessage type, string payload, uint transaction = 0)
    {
        uint request = ++_lastRequest;
        Send(StoreHeader.Message(type, request, transaction, Encoding.Latin1.GetBytes(payload.Replace('|', '\0'))));
        for (int attempt = 0; attempt < 1000; attempt++)
        {
            foreach ((StoreHeader header, string text) in Receive())
            {
                Assert.That((header.Request, header.Transaction), Is.EqualTo((request, transaction)));
                return $"{(StoreMessage)header.Type} {text}";
            }
        }

        throw new AssertionException($"no answer to {type} {payload}");
    }

    /// <summary>Writes bytes to the ring as it has room.</summary>
    public void Send(ReadOnlySpan<byte> bytes)
    {
        int sent = 0;
        for (int stalled = 0; sent < bytes.Length; stalled++)
        {
            if (stalled > 10000)
                throw new AssertionException("the store does not read");
            while (sent < bytes.Length && Word(StoreRing.RequestProd) - Word(StoreRing.RequestCons) < StoreRing.RingSize)
            {
                _page[StoreRing.Request + (Word(StoreRing.RequestProd) & (StoreRing.RingSize - 1))] = bytes[sent++];
                Word(StoreRing.RequestProd)++;
                stalled = 0;
            }

            Connection.Notified();
            _bench.Serve();
        }
    }

    /// <summary>Fills the ring with one message over and over, without waiting.</summary>
    public int Flood(ReadOnlySpan<byte> message)
    {
        int count = 0;
        for (; (long)(Word(StoreRing.RequestProd) - Word(StoreRing.RequestCons)) + message.Length <= StoreRing.RingSize; count++)
            Put(message);
        Connection.Notified();
        return count;
    }

    /// <summary>Writes bytes to a ring that has room, and does not notify.</summary>
    public void Put(ReadOnlySpan<byte> bytes)
    {
        foreach (byte value in bytes)
        {
            _page[StoreRing.Request + (Word(StoreRing.RequestProd) & (StoreRing.RingSize - 1))] = value;
            Word(StoreRing.RequestProd)++;
        }
    }

    /// <summary>Takes what came: events are noted, answers returned.</summary>
    public List<(StoreHeader Header, string Payload)> Receive()
    {
        for (int chunk = 0; chunk < 10000 && Word(StoreRing.ResponseCons) != Word(StoreRing.ResponseProd); chunk++)
        {
            Take();
            Connection.Notified();
            _bench.Serve();
        }

        return Parse();
    }

    /// <summary>Takes the payloads of answers that are there already.</summary>
    public IEnumerable<string> TakeWithoutServing()
    {
        Take();
        return Parse().Select(answer => answer.Payload);
    }

    /// <summary>Gives another guest's page what is in this one.</summary>
    public void CopyPage(RingGuest to) => new Span<byte>(_page, 4096).CopyTo(new Span<byte>(to._page, 4096));

    /// <summary>Asks for a fresh start, and forgets what it had of a message.</summary>
    public void Restart()
    {
        Word(StoreRing.Connection) = 1;
        _input.Clear();
        Connection.Notified();
    }

    private void Take()
    {
        while (Word(StoreRing.ResponseCons) != Word(StoreRing.ResponseProd))
        {
            _input.Add(_page[StoreRing.Response + (Word(StoreRing.ResponseCons) & (StoreRing.RingSize - 1))]);
            Word(StoreRing.ResponseCons)++;
        }
    }

    private List<(StoreHeader Header, string Payload)> Parse()
    {
        List<(StoreHeader Header, string Payload)> answers = [];
        while (_input.Count >= StoreHeader.Bytes)
        {
            StoreHeader header = StoreHeader.Read(CollectionsMarshal.AsSpan(_input));
            int length = StoreHeader.Bytes + (int)header.Length;
            if (_input.Count < length)
                break;
            string text = Encoding.Latin1.GetString(CollectionsMarshal.AsSpan(_input)[StoreHeader.Bytes..length]).Replace('\0', '|');
            _input.RemoveRange(0, length);
            if (header.Type == (uint)StoreMessage.WatchEvent)
                Events.Add(text.TrimEnd('|'));
            else
                answers.Add((header, text));
        }

        return answers;
    }

    /// <summary>The events since the last call.</summary>
    public string[] TakeEvents()
    {
        _bench.Serve();
        Assert.That(Receive(), Is.Empty);
        string[] events = [.. Events];
        Events.Clear();
        return events;
    }

    public void Dispose()
    {
        Connection.Close();
        NativeMemory.Free(_page);
    }
}
