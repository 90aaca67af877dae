using System.Buffers.Binary;
using Tessera.Kernel.Devices.Network;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests.Devices.Network;

/// <summary>What netback takes and delivers, what it refuses, and what is left when one side goes.</summary>
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
internal sealed class NetbackTests : IDisposable
{
    private readonly HandMachine _machine = new();
    private readonly RecordingBackend _backend = new();

    public void Dispose()
    {
        _machine.Dispose();
        _backend.Dispose();
    }

    [Test]
    public void A_frame_in_pieces_arrives_whole_with_what_it_needs()
    {
        HandNetFrontend frontend = Connect();
        byte[] expected = new byte[9000];
        new Random(1).NextBytes(expected);
        expected.AsSpan(0, 100).CopyTo(frontend.Data(0)[3000..]);
        expected.AsSpan(100, 4096).CopyTo(frontend.Data(1));
        expected.AsSpan(4196, 4096).CopyTo(frontend.Data(2));
        expected.AsSpan(8292).CopyTo(frontend.Data(3));
        NetStatus[] statuses = frontend.Run(
            HandNetFrontend.Piece(0, 9000, NetTxFlags.MoreData | NetTxFlags.ExtraInfo | NetTxFlags.CsumBlank, 3000),
            HandNetFrontend.Gso(1448),
            HandNetFrontend.Piece(1, 4096, NetTxFlags.MoreData),
            HandNetFrontend.Piece(2, 4096, NetTxFlags.MoreData),
            HandNetFrontend.Piece(3, 708));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(statuses, Is.EqualTo(new[] { NetStatus.Okay, NetStatus.Null, NetStatus.Okay, NetStatus.Okay, NetStatus.Okay }));
            Assert.That(_backend.Sent[0].Bytes, Is.EqualTo(expected));
            Assert.That(_backend.Sent[0].Offload, Is.EqualTo(new FrameOffload(FrameChecksum.Blank, FrameSegmentation.TcpV4, 1448)));
            Assert.That(frontend.Guest.Use(HandNetFrontend.FirstDataGrant), Is.EqualTo(GrantEntryFlags.Invalid), "nothing stays pinned");
        }
    }

    [Test]
    public void A_backend_that_throws_is_named_and_gets_nothing_more_and_its_guest_gets_answers()
    {
        using ThrowingBackend backend = new();
        HandNetFrontend frontend = new(_machine, _machine.Create(), backend);
        HandNetFrontend other = Connect();
        Assert.That(frontend.Nic.Read().Problem, Is.Null);
        for (int count = 0; count < 3; count++)
            Assert.That(frontend.Run(HandNetFrontend.Piece(0, 60)), Is.EqualTo(new[] { NetStatus.Error }));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(backend.Calls, Is.EqualTo(1));
            Assert.That(frontend.Nic.Read().Problem, Does.Contain("throwing: ").And.Contain("TimeoutException").And.Contain("the cable is out"));
            Assert.That(frontend.Guest.Use(HandNetFrontend.FirstDataGrant), Is.EqualTo(GrantEntryFlags.Invalid), "nothing stays pinned");
            Assert.That(other.Run(HandNetFrontend.Piece(0, 60)), Is.EqualTo(new[] { NetStatus.Okay }), "the others go on");
        }
    }

    [Test]
    public void What_a_backend_complains_of_is_its_interfaces_problem()
    {
        using ThrowingBackend backend = new() { Complaint = () => "the device is gone" };
        HandNetFrontend frontend = new(_machine, _machine.Create(), backend);
        Assert.That(frontend.Nic.Read().Problem, Is.EqualTo("the device is gone"));
        backend.Complaint = () => throw new InvalidOperationException("no answer");
        Assert.That(frontend.Nic.Read().Problem, Does.Contain("throwing: ").And.Contain("no answer"));
    }

    [Test]
    public void What_is_no_frame_is_refused_whole_and_nothing_reaches_the_network()
    {
        HandNetFrontend frontend = Connect();
        frontend.Guest.Grant(501, 9, HandDomain.FreePage + 16);
        NetTxRequest forged = new() { Grant = 0xFFFF_FFF0, Size = 60 };
        NetTxRequest anothers = new() { Grant = 501, Size = 60 };
        NetTxRequest[] tooMany = [HandNetFrontend.Piece(0, 100 + 60, NetTxFlags.MoreData), .. Enumerable.Repeat(HandNetFrontend.Piece(1, 2, NetTxFlags.MoreData), 29), HandNetFrontend.Piece(1, 2)];
        NetTxFlags extra = NetTxFlags.ExtraInfo | NetTxFlags.CsumBlank;
        (string What, NetTxRequest[] Slots)[] cases =
        [
            ("shorter than a header", [HandNetFrontend.Piece(0, 13)]),
            ("empty", [HandNetFrontend.Piece(0, 0)]),
            ("beyond its page", [HandNetFrontend.Piece(0, 100, offset: 4000)]),
            ("a piece beyond its page", [HandNetFrontend.Piece(0, 5000, NetTxFlags.MoreData), HandNetFrontend.Piece(1, 4000, offset: 200)]),
            ("pieces longer than the whole", [HandNetFrontend.Piece(0, 100, NetTxFlags.MoreData), HandNetFrontend.Piece(1, 100)]),
            ("a first piece longer than its page", [HandNetFrontend.Piece(0, 9000, NetTxFlags.MoreData), HandNetFrontend.Piece(1, 100)]),
            ("an empty piece", [HandNetFrontend.Piece(0, 100, NetTxFlags.MoreData), HandNetFrontend.Piece(1, 0)]),
            ("too many pieces", tooMany),
            ("without its end", [HandNetFrontend.Piece(0, 100, NetTxFlags.MoreData)]),
            ("without its extra", [HandNetFrontend.Piece(0, 100, extra)]),
            ("an unknown extra", [HandNetFrontend.Piece(0, 100, extra), HandNetFrontend.Gso(100, extra: NetExtraType.McastAdd)]),
            ("pieces of nothing", [HandNetFrontend.Piece(0, 100, extra), HandNetFrontend.Gso(0)]),
            ("pieces of no kind", [HandNetFrontend.Piece(0, 100, extra), HandNetFrontend.Gso(100, (NetGsoType)9)]),
            ("pieces with a checksum", [HandNetFrontend.Piece(0, 100, NetTxFlags.ExtraInfo), HandNetFrontend.Gso(100)]),
            ("extras without end", [HandNetFrontend.Piece(0, 100, extra), .. Enumerable.Repeat(HandNetFrontend.Gso(100, flags: 1), 200)]),
            ("a grant that is none", [forged]),
            ("another's grant", [anothers]),
        ];
        foreach ((string what, NetTxRequest[] slots) in cases)
            Assert.That(frontend.Run(slots), Is.All.EqualTo(NetStatus.Error).Or.EqualTo(NetStatus.Null), what);
        Assert.That(_backend.Sent, Is.Empty);
        Assert.That(frontend.Nic.Read().Refused, Is.EqualTo(cases.Length));
        Assert.That(frontend.Run(HandNetFrontend.Piece(0, 60)), Is.EqualTo(new[] { NetStatus.Okay }), "a good one still goes");
        Assert.That(frontend.Guest.Use(HandNetFrontend.FirstDataGrant), Is.EqualTo(GrantEntryFlags.Invalid));
    }

    [Test]
    public void A_large_frame_is_received_over_several_pages_with_how_to_cut_it()
    {
        HandNetFrontend frontend = Connect();
        frontend.Post([.. Enumerable.Range(0, 8).Select(page => HandNetFrontend.FirstDataGrant + (uint)page)]);
        byte[] frame = new byte[10_000];
        new Random(2).NextBytes(frame);
        Assert.That(_backend.Deliver(frame, new FrameOffload(FrameChecksum.Blank, FrameSegmentation.TcpV6, 1400)), Is.True);
        NetRxResponse first = frontend.TakeReceived();
        NetRxResponse extra = frontend.TakeReceived();
        NetRxResponse second = frontend.TakeReceived();
        NetRxResponse third = frontend.TakeReceived();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(first.Flags, Is.EqualTo(NetRxFlags.CsumBlank | NetRxFlags.DataValidated | NetRxFlags.ExtraInfo | NetRxFlags.MoreData));
            Assert.That((first.Id, first.Status, second.Id, second.Status, third.Id, third.Status), Is.EqualTo(((ushort)0, (short)4096, (ushort)2, (short)4096, (ushort)3, (short)1808)));
            Assert.That((extra.Id & 255, extra.Id >> 8, extra.Offset), Is.EqualTo(((int)NetExtraType.Gso, 0, (ushort)1400)));
            Assert.That((second.Flags, third.Flags), Is.EqualTo((NetRxFlags.MoreData, NetRxFlags.None)));
            Assert.That((byte[])[.. frontend.Data(0), .. frontend.Data(2), .. frontend.Data(3)[..1808]], Is.EqualTo(frame));
        }
    }

    [Test]
    public void Frames_wait_for_pages_up_to_a_bound_and_arrive_in_order()
    {
        HandNetFrontend frontend = Connect();
        int kept = 0;
        while (_backend.Deliver(Numbered(kept)))
            kept++;
        Assert.That(kept, Is.InRange(500, 1000), "a megabyte of frames of 1500 bytes");
        Assert.That(frontend.Nic.Read().Dropped, Is.EqualTo(1));
        for (int taken = 0; taken < kept; taken++)
        {
            frontend.Post(HandNetFrontend.FirstDataGrant);
            Assert.That(frontend.TakeReceived().Status, Is.EqualTo(1500));
            Assert.That(BinaryPrimitives.ReadInt32LittleEndian(frontend.Data(0)[20..]), Is.EqualTo(taken));
        }

        Assert.That(frontend.Nic.Read().ReceivedFrames, Is.EqualTo(kept));
    }

    [Test]
    public void A_page_that_is_not_granted_for_writing_costs_that_frame_only()
    {
        HandNetFrontend frontend = Connect();
        frontend.Guest.Grant(500, 0, HandDomain.FreePage + 16, GrantEntryFlags.PermitAccess | GrantEntryFlags.Readonly);
        frontend.Post(500, HandNetFrontend.FirstDataGrant);
        Assert.That(_backend.Deliver(Numbered(1)), Is.True);
        Assert.That(_backend.Deliver(Numbered(2)), Is.True);
        Assert.That(((NetStatus)frontend.TakeReceived().Status, frontend.TakeReceived().Status), Is.EqualTo((NetStatus.Error, (short)1500)));
    }

    [TestCase(257u, Description = "more than there are slots")]
    [TestCase(0x8000_0000u, Description = "half the world")]
    [TestCase(uint.MaxValue, Description = "before what was taken")]
    public void A_forged_index_breaks_that_ring_and_no_other(uint ahead)
    {
        HandNetFrontend frontend = Connect();
        RecordingBackend second = new();
        HandNetFrontend neighbour = new(_machine, _machine.Create(), second);
        Assert.That(frontend.Run(HandNetFrontend.Piece(0, 60)), Is.EqualTo(new[] { NetStatus.Okay }));
        Volatile.Write(ref frontend.TxProducer, 1 + ahead);
        frontend.RingTx();
        Assert.That(SpinWait.SpinUntil(() => frontend.Nic.Read().BrokenRings == 1, Hang.Limit), Is.True);
        Assert.That(neighbour.Run(HandNetFrontend.Piece(0, 60)), Is.EqualTo(new[] { NetStatus.Okay }));
        Assert.That(_backend.Sent, Has.Count.EqualTo(1));
        frontend.Write("state", $"{(int)XenbusState.Closed}");
        frontend.WaitFor(XenbusState.Closed);
        Assert.That(frontend.Guest.Use(HandNetFrontend.TxGrant), Is.EqualTo(GrantEntryFlags.Invalid));
    }

    [Test]
    public void A_domain_that_dies_leaks_nothing()
    {
        long before = _machine.Machine.Frames.AssignedFrames;
        HandNetFrontend frontend = Connect();
        _ = _backend.Deliver(Numbered(0));
        _machine.Machine.Destroy(frontend.Guest.Domain);
        Assert.That((_backend.IsDisposed, _machine.Machine.Frames.AssignedFrames), Is.EqualTo((true, before)));
        Assert.That(_backend.Deliver(Numbered(1)), Is.False);
    }

    [Test]
    public void A_frontend_that_takes_no_large_frames_gets_them_cut_with_their_checksums()
    {
        HandNetFrontend frontend = Connect("no-csum-offload");
        frontend.Post([.. Enumerable.Range(0, 16).Select(page => HandNetFrontend.FirstDataGrant + (uint)page)]);
        byte[] payload = new byte[3300];
        new Random(3).NextBytes(payload);
        byte[] frame = TcpFrame(payload);
        Assert.That(_backend.Deliver(frame, new FrameOffload(FrameChecksum.Blank, FrameSegmentation.TcpV4, 1448)), Is.True);
        List<byte> got = [];
        for (int piece = 0; piece < 3; piece++)
        {
            NetRxResponse response = frontend.TakeReceived();
            ReadOnlySpan<byte> bytes = frontend.Data(piece)[..response.Status];
            Assert.That(response.Flags, Is.EqualTo(NetRxFlags.DataValidated));
            Assert.That(BinaryPrimitives.ReadUInt16BigEndian(bytes[16..]), Is.EqualTo(response.Status - 14));
            Assert.That(InternetChecksum.Fold(InternetChecksum.Sum(bytes[14..34])), Is.Zero, "the header's sum");
            ulong pseudo = InternetChecksum.Sum(bytes[26..34], 6 + (ulong)(response.Status - 34));
            Assert.That(InternetChecksum.Fold(InternetChecksum.Sum(bytes[34..], pseudo)), Is.Zero, "the segment's sum");
            Assert.That(BinaryPrimitives.ReadUInt32BigEndian(bytes[38..]), Is.EqualTo(7000u + (uint)got.Count));
            Assert.That((bytes[47] & 8) != 0, Is.EqualTo(piece == 2), "only the last pushes");
            got.AddRange(bytes[54..]);
        }

        Assert.That(got, Is.EqualTo(payload));
    }

    [TestCase("tx-ring-ref", "400", "tx-ring-ref")]
    [TestCase("rx-ring-ref", "nonsense", "rx-ring-ref")]
    [TestCase("event-channel-rx", "3000", "event-channel-rx")]
    [TestCase("request-rx-copy", "0", "request-rx-copy")]
    [TestCase("multi-queue-num-queues", "5", "multi-queue-num-queues")]
    public void Keys_that_will_not_do_are_named(string key, string value, string named)
    {
        HandNetFrontend frontend = Connect();
        frontend.Write("state", $"{(int)XenbusState.Closed}");
        frontend.WaitFor(XenbusState.Closed);
        frontend.Write(key, value);
        frontend.Write("state", $"{(int)XenbusState.Initialised}");
        frontend.WaitFor(XenbusState.Closing);
        Assert.That(frontend.Nic.Error, Does.Contain(named));
        Assert.That(frontend.Guest.Use(HandNetFrontend.TxGrant), Is.EqualTo(GrantEntryFlags.Invalid));
    }

    [Test]
    public void A_frame_that_would_become_thousands_is_refused()
    {
        HandNetFrontend frontend = Connect();
        NetTxRequest[] Frame(ushort segment) =>
        [
            HandNetFrontend.Piece(0, 60_000, NetTxFlags.MoreData | NetTxFlags.ExtraInfo | NetTxFlags.CsumBlank), HandNetFrontend.Gso(segment),
            .. Enumerable.Range(1, 13).Select(page => HandNetFrontend.Piece(page, 4096, NetTxFlags.MoreData)), HandNetFrontend.Piece(14, 60_000 - (13 * 4096) - 4000),
        ];
        Assert.That(frontend.Run(Frame(1)), Is.All.EqualTo(NetStatus.Error).Or.EqualTo(NetStatus.Null));
        Assert.That(frontend.Run(Frame(58)), Is.All.EqualTo(NetStatus.Error).Or.EqualTo(NetStatus.Null));
        Assert.That(_backend.Sent, Is.Empty);
        Assert.That(frontend.Run(Frame(59)), Is.All.EqualTo(NetStatus.Okay).Or.EqualTo(NetStatus.Null));
        Assert.That(_backend.Sent[0].Bytes, Has.Length.EqualTo(60_000));
    }

    [Test]
    public void Forged_slots_of_every_sort_crash_nothing_and_leave_the_neighbour_alone()
    {
        int seed = int.TryParse(Environment.GetEnvironmentVariable("TESSERA_FUZZ_SEED"), out int given) ? given : Random.Shared.Next();
        TestContext.Out.WriteLine($"TESSERA_FUZZ_SEED={seed}");
        Random random = new(seed);
        HandNetFrontend frontend = Connect();
        RecordingBackend second = new();
        HandNetFrontend neighbour = new(_machine, _machine.Create(), second);
        NetTxRequest[] slots = new NetTxRequest[64];
        for (int round = 0; round < 300; round++)
        {
            foreach (ref NetTxRequest slot in slots.AsSpan())
            {
                slot = HandNetFrontend.Piece(random.Next(80), random.Next(5) == 0 ? random.Next(65536) : random.Next(1600), (NetTxFlags)random.Next(16), random.Next(3) == 0 ? random.Next(65536) : 0);
                if (random.Next(6) == 0)
                    slot = HandNetFrontend.Gso((ushort)random.Next(4000), (NetGsoType)random.Next(4), (NetExtraType)random.Next(6), (byte)random.Next(2));
                if (random.Next(30) == 0)
                    slot.Grant = (uint)random.NextInt64(1L << 32);
            }

            Assert.That(frontend.Run(slots), Has.Length.EqualTo(64), "every slot is answered");
            if (round % 50 == 0)
                Assert.That(neighbour.Run(HandNetFrontend.Piece(0, 60)), Is.EqualTo(new[] { NetStatus.Okay }));
        }

        using (Assert.EnterMultipleScope())
        {
            Assert.That(frontend.Nic.Read().BrokenRings, Is.Zero);
            Assert.That(_backend.Sent.All(frame => frame.Bytes.Length >= NetworkFrame.LeastBytes), Is.True);
            for (uint page = 0; page < HandNetFrontend.DataPages; page++)
                Assert.That(frontend.Guest.Use(HandNetFrontend.FirstDataGrant + page), Is.EqualTo(GrantEntryFlags.Invalid));
        }
    }

    private static byte[] Numbered(int number)
    {
        byte[] frame = new byte[1500];
        BinaryPrimitives.WriteInt32LittleEndian(frame.AsSpan(20), number);
        return frame;
    }

    private static byte[] TcpFrame(byte[] payload)
    {
        byte[] frame = new byte[54 + payload.Length];
        frame[12] = 8;
        frame[14] = 0x45;
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(16), (ushort)(40 + payload.Length));
        frame[23] = 6;
        (frame[26], frame[29], frame[30], frame[33]) = (10, 1, 10, 2);
        BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(38), 7000);
        frame[46] = 0x50;
        frame[47] = 0x18;
        payload.CopyTo(frame, 54);
        return frame;
    }

    private HandNetFrontend Connect(string features = "sg gso-tcpv4 gso-tcpv6 ipv6-csum-offload") => new(_machine, _machine.Create(), _backend, features);

    [Plugin("throwing", PluginKind.NetworkBackend, "1.0.0")]
    private sealed class ThrowingBackend : INetworkBackend
    {
        public int Calls { get; private set; }

        public Func<string?> Complaint { get; set; } = () => null;

        public string? Problem => Complaint();

        public NetworkCapabilities Open(NetworkPort port) => NetworkCapabilities.All;

        public void Send(in NetworkFrame frame)
        {
            Calls++;
            throw new TimeoutException("the cable is out");
        }

        public void Dispose()
        {
        }
    }
}
