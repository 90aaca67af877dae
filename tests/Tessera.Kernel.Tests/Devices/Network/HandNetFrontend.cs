using System.Runtime.InteropServices;
using Tessera.Kernel.Devices.Network;
using Tessera.Kernel.Store;
using Tessera.Sdk;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests.Devices.Network;

/// <summary>
/// A network frontend played by the test on a domain that never runs: it grants pages, connects through the store as xen-netfront does, and
/// writes its rings by hand, well or badly.
/// </summary>
internal sealed unsafe class HandNetFrontend
{
    public const uint TxGrant = 8;
    public const uint RxGrant = 9;
    public const uint FirstDataGrant = 64;
    public const int DataPages = 64;
    public const int Slots = 256;

    public const int TxPage = HandDomain.FreePage;
    public const int RxPage = HandDomain.FreePage + 1;
    public const int FirstDataPage = HandDomain.FreePage + 16;

    private readonly HandMachine _machine;
    private uint _txRequests;
    private uint _txResponses;
    private uint _rxRequests;
    private uint _rxResponses;

    /// <summary>Attaches an interface over the backend and connects.</summary>
    /// <param name="machine">The machine.</param>
    /// <param name="guest">The domain.</param>
    /// <param name="backend">What is behind the interface.</param>
    /// <param name="features">What the frontend says it takes.</param>
    /// <param name="rate">Its bound.</param>
    /// <param name="antiSpoofing">Whether it may send in its own name only; most tests have frames of any bytes.</param>
    public HandNetFrontend(HandMachine machine, HandDomain guest, INetworkBackend backend, string features = "sg gso-tcpv4 gso-tcpv6 ipv6-csum-offload", long rate = 0, bool antiSpoofing = false)
    {
        (_machine, Guest) = (machine, guest);
        Nic = machine.Machine.AttachNic(guest.Domain, new NicConfiguration { Number = 0, Address = new(0x0016_3E00_0001), Backend = backend, BytesPerSecond = rate, AntiSpoofing = antiSpoofing });
        guest.Grant(TxGrant, 0, TxPage);
        guest.Grant(RxGrant, 0, RxPage);
        for (int page = 0; page < DataPages; page++)
            guest.Grant(FirstDataGrant + (uint)page, 0, FirstDataPage + page);
        Assert.That(guest.Domain.Events.AllocateUnbound(0, out int tx), Is.EqualTo(XenErrno.Success));
        Assert.That(guest.Domain.Events.AllocateUnbound(0, out int rx), Is.EqualTo(XenErrno.Success));
        (TxPort, RxPort) = (tx, rx);
        EmptyRings();
        Write("tx-ring-ref", $"{TxGrant}");
        Write("rx-ring-ref", $"{RxGrant}");
        Write("event-channel-tx", $"{tx}");
        Write("event-channel-rx", $"{rx}");
        Write("request-rx-copy", "1");
        foreach (string feature in features.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            Write($"feature-{feature}", "1");
        Write("state", $"{(int)XenbusState.Connected}");
        WaitFor(XenbusState.Connected);
    }

    public HandDomain Guest { get; }

    public Nic Nic { get; }

    public int TxPort { get; }

    public int RxPort { get; }

    /// <summary>The transmit ring's producer of requests.</summary>
    public ref uint TxProducer => ref Index(TxPage, 0);

    /// <summary>The receive ring's producer of requests.</summary>
    public ref uint RxProducer => ref Index(RxPage, 0);

    /// <summary>Slots sent whose answers the backend has not published.</summary>
    public int Unanswered => (int)(_txRequests - Volatile.Read(ref Index(TxPage, 8)));

    /// <summary>Pages granted to receive into whose frames the test has not taken.</summary>
    public int Posted => (int)(_rxRequests - _rxResponses);

    private string Front => $"/local/domain/{Guest.Id}/device/vif/0";

    private StoreClient Store => _machine.Machine.StoreClient;

    public static NetTxRequest Piece(int page, int size, NetTxFlags flags = NetTxFlags.None, int offset = 0) =>
        new() { Grant = FirstDataGrant + (uint)page, Offset = (ushort)offset, Size = (ushort)size, Flags = flags, Id = (ushort)(1000 + page) };

    public static NetTxRequest Gso(ushort size, NetGsoType type = NetGsoType.TcpV4, NetExtraType extra = NetExtraType.Gso, byte flags = 0) =>
        new() { Extra = new NetExtra { Type = extra, GsoSize = size, GsoType = type, Flags = flags } };

    public void Write(string key, string value) => Store.Write($"{Front}/{key}", value);

    public string? ReadBackend(string key) => Store.Read($"/local/domain/0/backend/vif/{Guest.Id}/0/{key}");

    public void WaitFor(XenbusState state) =>
        Assert.That(SpinWait.SpinUntil(() => ReadBackend("state") == $"{(int)state}", Hang.Limit), Is.True, () => $"the backend is in state {ReadBackend("state")}, not {state}; {Nic.Error}");

    public Span<byte> Data(int page) => Guest.Page(FirstDataPage + page);

    /// <summary>Puts one slot after the other, publishes them and rings.</summary>
    public void Send(params ReadOnlySpan<NetTxRequest> slots)
    {
        foreach (NetTxRequest slot in slots)
            MemoryMarshal.AsBytes(new ReadOnlySpan<NetTxRequest>(in slot)).CopyTo(Slot(TxPage, _txRequests++, Netif.TxEntryBytes));
        Volatile.Write(ref TxProducer, _txRequests);
        RingTx();
    }

    public void RingTx() => Assert.That(Guest.Domain.Events.Send(TxPort), Is.EqualTo(XenErrno.Success));

    /// <summary>Closes, and comes again with empty rings.</summary>
    public void Reconnect()
    {
        Write("state", $"{(int)XenbusState.Closed}");
        WaitFor(XenbusState.Closed);
        Guest.Grant(TxGrant, 0, TxPage);
        Guest.Grant(RxGrant, 0, RxPage);
        EmptyRings();
        Write("state", $"{(int)XenbusState.Initialising}");
        WaitFor(XenbusState.InitWait);
        Write("state", $"{(int)XenbusState.Connected}");
        WaitFor(XenbusState.Connected);
    }

    /// <summary>Takes an answer if there is one.</summary>
    public bool TryTakeSent(out NetTxResponse response)
    {
        response = default;
        if (Volatile.Read(ref Index(TxPage, 8)) == _txResponses)
            return false;
        response = MemoryMarshal.Read<NetTxResponse>(Slot(TxPage, _txResponses++, Netif.TxEntryBytes));
        Volatile.Write(ref Index(TxPage, 12), _txResponses + 1);
        return true;
    }

    /// <summary>Takes a slot received if there is one.</summary>
    public bool TryTakeReceived(out NetRxResponse response)
    {
        response = default;
        if (Volatile.Read(ref Index(RxPage, 8)) == _rxResponses)
            return false;
        response = MemoryMarshal.Read<NetRxResponse>(Slot(RxPage, _rxResponses++, Netif.RxEntryBytes));
        Volatile.Write(ref Index(RxPage, 12), _rxResponses + 1);
        return true;
    }

    /// <summary>Takes the next answer to what was sent.</summary>
    public NetTxResponse TakeSent()
    {
        NetTxResponse response = default;
        Assert.That(SpinWait.SpinUntil(() => TryTakeSent(out response), Hang.Limit), Is.True, "no answer came");
        return response;
    }

    /// <summary>Sends slots and answers the statuses they got.</summary>
    public NetStatus[] Run(params NetTxRequest[] slots)
    {
        Send(slots);
        return [.. slots.Select(_ => TakeSent().Status)];
    }

    /// <summary>Grants pages to receive into, in order, and rings.</summary>
    public void Post(params ReadOnlySpan<uint> grants)
    {
        foreach (uint grant in grants)
        {
            NetRxRequest request = new() { Id = (ushort)(_rxRequests % Slots), Grant = grant };
            MemoryMarshal.AsBytes(new ReadOnlySpan<NetRxRequest>(in request)).CopyTo(Slot(RxPage, _rxRequests++, Netif.RxEntryBytes));
        }

        Volatile.Write(ref Index(RxPage, 0), _rxRequests);
        Assert.That(Guest.Domain.Events.Send(RxPort), Is.EqualTo(XenErrno.Success));
    }

    /// <summary>Takes the next slot received.</summary>
    public NetRxResponse TakeReceived()
    {
        NetRxResponse response = default;
        Assert.That(SpinWait.SpinUntil(() => TryTakeReceived(out response), Hang.Limit), Is.True, "nothing was received");
        return response;
    }

    private void EmptyRings()
    {
        (_txRequests, _txResponses, _rxRequests, _rxResponses) = (0, 0, 0, 0);
        foreach (int page in (int[])[TxPage, RxPage])
        {
            Guest.Page(page).Clear();
            Index(page, 4) = Index(page, 12) = 1;
        }
    }

    // SAFETY: the domain's memory stays mapped while the test's machine lives, and the index lies in the ring's page.
    private ref uint Index(int page, int offset) => ref *(uint*)(Guest.Domain.Memory.PageForWriting(Guest.Frame(page)) + offset);

    private Span<byte> Slot(int page, uint index, int bytes) => Guest.Page(page)[(64 + ((int)(index % Slots) * bytes))..];
}
