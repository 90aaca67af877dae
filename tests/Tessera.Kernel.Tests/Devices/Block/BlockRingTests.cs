using Tessera.Kernel.Devices.Block;
using Tessera.Kernel.Store;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests.Devices.Block;

/// <summary>What blkback takes, what it refuses, and what is left when one side goes.</summary>
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
internal sealed class BlockRingTests : IDisposable
{
    private readonly HandMachine _machine = new();
    private readonly HeldBackend _backend = new();

    public void Dispose()
    {
        _machine.Dispose();
        _backend.Dispose();
    }

    [Test]
    public void The_store_says_what_the_disk_is_like()
    {
        HandFrontend frontend = Connect();
        Assert.Multiple(() =>
        {
            Assert.That(frontend.ReadBackend("sectors"), Is.EqualTo("2048"));
            Assert.That(frontend.ReadBackend("sector-size"), Is.EqualTo("512"));
            Assert.That(frontend.ReadBackend("physical-sector-size"), Is.EqualTo("4096"));
            Assert.That(frontend.ReadBackend("mode"), Is.EqualTo("w"));
            Assert.That(frontend.ReadBackend("info"), Is.EqualTo("0"));
            Assert.That(frontend.ReadBackend("feature-flush-cache"), Is.EqualTo("1"));
            Assert.That(frontend.ReadBackend("feature-discard"), Is.EqualTo("1"));
            Assert.That(frontend.ReadBackend("discard-granularity"), Is.EqualTo("4096"));
            Assert.That(frontend.ReadBackend("feature-max-indirect-segments"), Is.EqualTo("256"));
            Assert.That(frontend.Disk.Geometry.Size, Is.EqualTo(1 << 20));
        });
    }

    [TestCase(BlkifOp.Read)]
    [TestCase(BlkifOp.FlushDiskcache)]
    public void A_backend_that_throws_is_named_and_the_other_disks_go_on(BlkifOp operation)
    {
        HandFrontend frontend = Connect();
        HandFrontend other = new(_machine, _machine.Create(), new HeldBackend());
        // A write that is to be stable begins with a flush: what is asked next is asked on the backend's own thread.
        _backend.Throws = operation == BlkifOp.Read ? _ => true : request => request.Operation == BlockOperation.Write;
        frontend.Put(HandFrontend.Transfer(operation, 0, HandFrontend.Segment(0)));
        frontend.Kick();
        Assert.That(SpinWait.SpinUntil(() => frontend.Disk.Error is not null, TimeSpan.FromMinutes(2)), Is.True);
        Assert.That(frontend.Disk.Read().Problem, Does.Contain("HeldBackend: ").And.Contain("TimeoutException").And.Contain("the disk is out"));
        Assert.That(other.Run(HandFrontend.Transfer(BlkifOp.Read, 0, HandFrontend.Segment(0))), Is.EqualTo(BlkifStatus.Okay));
        // What it had taken it may still end: then its pages are let go of.
        _backend.CompleteHeld();
    }

    [Test]
    public void A_disk_that_grows_is_announced_and_takes_requests_as_far_as_it_reaches()
    {
        HandFrontend frontend = Connect();
        using ManualResetEventSlim announced = new();
        using StoreWatch watch = _machine.Machine.StoreClient.Watch(frontend.BackendPath + "/state", _ => announced.Set());
        Assert.That(announced.Wait(Hang.Limit), Is.True, "a watch fires when it is set");
        announced.Reset();
        BlkifRequest beyond = HandFrontend.Transfer(BlkifOp.Write, 4096 - 8, HandFrontend.Segment(0));
        Assert.That(frontend.Disk.Grow(), Is.EqualTo(1 << 20));
        Assert.That(frontend.Run(beyond), Is.EqualTo(BlkifStatus.Error));
        _backend.Size = 2 << 20;
        Assert.That(frontend.Disk.Grow(), Is.EqualTo(2 << 20));
        Assert.That(frontend.ReadBackend("sectors"), Is.EqualTo("4096"));
        Assert.That(announced.Wait(Hang.Limit), Is.True, "the frontend's watch is on the state");
        Assert.That(frontend.ReadBackend("state"), Is.EqualTo($"{(int)XenbusState.Connected}"));
        Assert.That(frontend.Run(beyond), Is.EqualTo(BlkifStatus.Okay));
        beyond.Sector++;
        Assert.That(frontend.Run(beyond), Is.EqualTo(BlkifStatus.Error));
    }

    [Test]
    public void What_is_no_request_is_refused_and_nothing_reaches_the_storage()
    {
        HandFrontend frontend = Connect();
        frontend.Guest.Grant(500, 0, HandFrontend.FirstDataPage, GrantEntryFlags.PermitAccess | GrantEntryFlags.Readonly);
        frontend.Guest.Grant(501, 9, HandFrontend.FirstDataPage);
        BlkifRequest tooMany = HandFrontend.Transfer(BlkifOp.Read, 0, HandFrontend.Segment(0));
        tooMany.SegmentCount = 12;
        BlkifSegment readOnly = new() { Grant = 500, LastSector = 7 };
        BlkifSegment anothers = new() { Grant = 501, LastSector = 7 };
        BlkifSegment forged = new() { Grant = 0xFFFF_FFF0, LastSector = 7 };
        (string What, BlkifRequest Request, BlkifStatus Status)[] cases =
        [
            ("no segments", HandFrontend.Transfer(BlkifOp.Read, 0), BlkifStatus.Error),
            ("too many", tooMany, BlkifStatus.Error),
            ("first after last", HandFrontend.Transfer(BlkifOp.Write, 0, HandFrontend.Segment(0, 5, 4)), BlkifStatus.Error),
            ("beyond the page", HandFrontend.Transfer(BlkifOp.Read, 0, HandFrontend.Segment(0, 0, 8)), BlkifStatus.Error),
            ("beyond the disk", HandFrontend.Transfer(BlkifOp.Read, 2041, HandFrontend.Segment(0)), BlkifStatus.Error),
            ("far beyond", HandFrontend.Transfer(BlkifOp.Write, ulong.MaxValue, HandFrontend.Segment(0)), BlkifStatus.Error),
            ("wrapping in bytes", HandFrontend.Transfer(BlkifOp.Write, 1UL << 55, HandFrontend.Segment(0)), BlkifStatus.Error),
            ("a grant that is none", HandFrontend.Transfer(BlkifOp.Read, 0, HandFrontend.Segment(1), forged), BlkifStatus.Error),
            ("another's grant", HandFrontend.Transfer(BlkifOp.Read, 0, anothers), BlkifStatus.Error),
            ("a read into a read-only grant", HandFrontend.Transfer(BlkifOp.Read, 0, readOnly), BlkifStatus.Error),
            ("no operation", new BlkifRequest { Operation = (BlkifOp)77, Id = 1 }, BlkifStatus.NotSupported),
            ("a reserved operation", new BlkifRequest { Operation = BlkifOp.Reserved, Id = 1 }, BlkifStatus.NotSupported),
            ("a discard beyond the disk", new BlkifRequest { Operation = BlkifOp.Discard, Sector = 2048, DiscardSectors = 1 }, BlkifStatus.Error),
            ("a discard that wraps", new BlkifRequest { Operation = BlkifOp.Discard, Sector = 8, DiscardSectors = ulong.MaxValue }, BlkifStatus.Error),
            ("a secure discard", new BlkifRequest { Operation = BlkifOp.Discard, DiscardFlag = 1, DiscardSectors = 8 }, BlkifStatus.NotSupported),
            ("an indirect flush", Indirect(BlkifOp.FlushDiskcache, 1, 7), BlkifStatus.Error),
            ("an indirect indirect", Indirect(BlkifOp.Indirect, 1, 7), BlkifStatus.Error),
            ("no indirect segments", Indirect(BlkifOp.Read, 0, 7), BlkifStatus.Error),
            ("too many indirect segments", Indirect(BlkifOp.Read, 257, 7), BlkifStatus.Error),
            ("most indirect segments of all", Indirect(BlkifOp.Read, ushort.MaxValue, 7), BlkifStatus.Error),
            ("an indirect page that is not granted", Indirect(BlkifOp.Read, 1, 499), BlkifStatus.Error),
        ];
        foreach ((string what, BlkifRequest request, BlkifStatus status) in cases)
            Assert.That(frontend.Run(request), Is.EqualTo(status), what);
        Assert.That(_backend.Seen, Is.Empty);
        Assert.That(frontend.Disk.Read().Refused, Is.EqualTo(cases.Length));
        Assert.That(frontend.Run(HandFrontend.Transfer(BlkifOp.Write, 0, readOnly)), Is.EqualTo(BlkifStatus.Okay), "a write needs no more than to read the page");
        Assert.That(frontend.Guest.Use(HandFrontend.FirstDataGrant + 1), Is.EqualTo(GrantEntryFlags.Invalid), "nothing stays pinned");
    }

    [Test]
    public void A_disk_for_reading_refuses_writes_and_discards()
    {
        HandFrontend frontend = new(_machine, _machine.Create(), _backend, isReadOnly: true);
        Assert.That(frontend.ReadBackend("info"), Is.EqualTo("4"));
        Assert.That(frontend.Run(HandFrontend.Transfer(BlkifOp.Write, 0, HandFrontend.Segment(0))), Is.EqualTo(BlkifStatus.Error));
        Assert.That(frontend.Run(new BlkifRequest { Operation = BlkifOp.Discard, DiscardSectors = 8 }), Is.EqualTo(BlkifStatus.Error));
        Assert.That(frontend.Run(HandFrontend.Transfer(BlkifOp.Read, 0, HandFrontend.Segment(0))), Is.EqualTo(BlkifStatus.Okay));
        Assert.That(_backend.Seen, Is.EqualTo(new[] { "Read 0+4096" }));
    }

    [TestCase(BlkifOp.FlushDiskcache)]
    [TestCase(BlkifOp.WriteBarrier)]
    public void A_flush_with_data_is_stable_when_it_is_answered_and_so_is_what_came_before(BlkifOp operation)
    {
        HandFrontend frontend = Connect();
        Assert.That(frontend.Run(HandFrontend.Transfer(operation, 16, HandFrontend.Segment(0), HandFrontend.Segment(1, 2, 3))), Is.EqualTo(BlkifStatus.Okay));
        Assert.That(frontend.Run(new BlkifRequest { Operation = operation }), Is.EqualTo(BlkifStatus.Okay));
        Assert.That(_backend.Seen, Is.EqualTo(new[] { "Flush 0+0", "Write 8192+5120", "Flush 0+0", "Flush 0+0" }));
    }

    [Test]
    public void Errors_of_the_storage_reach_the_guest()
    {
        HandFrontend frontend = Connect();
        _backend.Holds = true;
        foreach ((BlockStatus status, BlkifStatus answer) in new[]
        {
            (BlockStatus.IoError, BlkifStatus.Error), (BlockStatus.NoSpace, BlkifStatus.Error), (BlockStatus.NotSupported, BlkifStatus.NotSupported), (BlockStatus.Ok, BlkifStatus.Okay),
        })
        {
            frontend.Put(HandFrontend.Transfer(BlkifOp.Write, 0, HandFrontend.Segment(0)));
            frontend.Kick();
            _backend.WaitForHeld(1);
            _backend.CompleteHeld(status);
            Assert.That(frontend.Take().Status, Is.EqualTo(answer));
        }

        Assert.That(frontend.Disk.Read().Failed, Is.EqualTo(3));
    }

    [Test]
    public void A_full_ring_is_carried_out_whole_and_the_guest_hears_of_it()
    {
        HandFrontend frontend = Connect();
        for (int round = 0; round < 50; round++)
        {
            for (int slot = 0; slot < frontend.Slots; slot++)
                frontend.Put(HandFrontend.Transfer(BlkifOp.Write, (ulong)slot * 8, HandFrontend.Segment(slot)));
            frontend.Kick();
            for (int slot = 0; slot < frontend.Slots; slot++)
                Assert.That(frontend.Take().Status, Is.EqualTo(BlkifStatus.Okay));
        }

        BlockReading reading = frontend.Disk.Read();
        Assert.That((reading.Writes, reading.WrittenBytes, reading.Refused), Is.EqualTo((50L * 32, 50L * 32 * 4096, 0L)));
        Assert.That(frontend.Guest.Domain.Shared.IsPending(frontend.Port), Is.True);
        Assert.That(reading.WriteLatency.Count, Is.EqualTo(50 * 32));
    }

    [Test]
    public void A_window_counts_what_happens_in_it_only()
    {
        HandFrontend frontend = Connect();
        _ = frontend.Run(HandFrontend.Transfer(BlkifOp.Write, 0, HandFrontend.Segment(0)));
        _machine.Machine.Accounts.BeginWindow();
        BlockReading begun = frontend.Disk.Read();
        _ = frontend.Run(HandFrontend.Transfer(BlkifOp.Read, 0, HandFrontend.Segment(0)));
        BlockReading reading = frontend.Disk.Read();
        Assert.Multiple(() =>
        {
            Assert.That((begun.Writes, begun.WrittenBytes, begun.WriteLatency.Count, begun.Notifications), Is.EqualTo((0L, 0L, 0L, 0L)));
            Assert.That((reading.Writes, reading.Reads, reading.ReadBytes, reading.ReadLatency.Count), Is.EqualTo((0L, 1L, 4096L, 1L)));
        });
    }

    [TestCase(33u, Description = "more than there are slots")]
    [TestCase(0x8000_0000u, Description = "half the world")]
    [TestCase(uint.MaxValue, Description = "before what was taken")]
    public void A_forged_index_breaks_that_ring_and_no_other(uint ahead)
    {
        HandFrontend frontend = Connect();
        HeldBackend second = new();
        HandFrontend neighbour = new(_machine, _machine.Create(), second);
        Assert.That(frontend.Run(HandFrontend.Transfer(BlkifOp.Write, 0, HandFrontend.Segment(0))), Is.EqualTo(BlkifStatus.Okay));
        Volatile.Write(ref frontend.Index(0), 1 + ahead);
        frontend.Ring();
        Assert.That(SpinWait.SpinUntil(() => frontend.Disk.Read().BrokenRings == 1, Hang.Limit), Is.True);
        Volatile.Write(ref frontend.Index(0), 2);
        frontend.Ring();
        Assert.That(neighbour.Run(HandFrontend.Transfer(BlkifOp.Write, 0, HandFrontend.Segment(0))), Is.EqualTo(BlkifStatus.Okay));
        Assert.That(_backend.Seen, Has.Count.EqualTo(1), "nothing more is taken from a broken ring");
        frontend.Write("state", $"{(int)XenbusState.Closed}");
        frontend.WaitFor(XenbusState.Closed);
    }

    [Test]
    public async Task Unplugging_waits_for_what_is_under_way_and_gives_everything_back()
    {
        HandFrontend frontend = Connect(persistent: true);
        _backend.Holds = true;
        frontend.Put(HandFrontend.Transfer(BlkifOp.Write, 0, HandFrontend.Segment(0)));
        frontend.Kick();
        _backend.WaitForHeld(1);
        Task<bool> detached = frontend.Disk.DetachAsync(TimeSpan.FromMinutes(5));
        frontend.WaitFor(XenbusState.Closing);
        Assert.That(frontend.Guest.Use(HandFrontend.RingGrant), Is.Not.EqualTo(GrantEntryFlags.Invalid));
        _backend.CompleteHeld();
        Assert.That(frontend.Take().Status, Is.EqualTo(BlkifStatus.Okay), "its ring works while it closes");
        frontend.Write("state", $"{(int)XenbusState.Closed}");
        Assert.That(await detached, Is.True);
        Assert.That((_backend.IsDisposed, frontend.Disk.IsAttached), Is.EqualTo((true, false)));
        Assert.That(frontend.Guest.Use(HandFrontend.RingGrant), Is.EqualTo(GrantEntryFlags.Invalid));
        Assert.That(frontend.Guest.Use(HandFrontend.FirstDataGrant), Is.EqualTo(GrantEntryFlags.Invalid), "the kept grant too");
    }

    [Test]
    public void A_domain_that_dies_with_requests_under_way_leaks_nothing()
    {
        long before = _machine.Machine.Frames.AssignedFrames;
        HandFrontend frontend = Connect();
        _backend.Holds = true;
        for (int slot = 0; slot < 8; slot++)
            frontend.Put(HandFrontend.Transfer(BlkifOp.Read, 0, HandFrontend.Segment(slot)));
        frontend.Kick();
        _backend.WaitForHeld(8);
        Task ended = Task.Run(() => _machine.Machine.Destroy(frontend.Guest.Domain));
        _backend.CompleteHeld();
        Assert.That(ended.Wait(Hang.Limit), Is.True);
        Assert.That((_backend.IsDisposed, _machine.Machine.Frames.AssignedFrames), Is.EqualTo((true, before)));
    }

    [Test]
    public void A_frontend_that_comes_again_is_served_again()
    {
        HandFrontend frontend = Connect();
        Assert.That(frontend.Run(HandFrontend.Transfer(BlkifOp.Write, 0, HandFrontend.Segment(0))), Is.EqualTo(BlkifStatus.Okay));
        frontend.Write("state", $"{(int)XenbusState.Closed}");
        frontend.WaitFor(XenbusState.Closed);
        frontend.Write("state", $"{(int)XenbusState.Initialising}");
        frontend.WaitFor(XenbusState.InitWait);
        frontend.Write("state", $"{(int)XenbusState.Initialised}");
        frontend.WaitFor(XenbusState.Connected);
        Assert.That(frontend.Run(HandFrontend.Transfer(BlkifOp.Write, 8, HandFrontend.Segment(0))), Is.EqualTo(BlkifStatus.Okay));
    }

    [TestCase("ring-ref", "400", "ring-ref")]
    [TestCase("ring-ref", "nonsense", "ring-ref")]
    [TestCase("event-channel", "3000", "event-channel")]
    [TestCase("protocol", "x86_32-abi", "protocol")]
    [TestCase("multi-queue-num-queues", "5", "multi-queue-num-queues")]
    [TestCase("ring-page-order", "3", "ring-page-order")]
    public void Keys_that_will_not_do_are_named(string key, string value, string named)
    {
        HandFrontend frontend = Connect();
        frontend.Write("state", $"{(int)XenbusState.Closed}");
        frontend.WaitFor(XenbusState.Closed);
        frontend.Write(key, value);
        frontend.Write("state", $"{(int)XenbusState.Initialised}");
        frontend.WaitFor(XenbusState.Closing);
        Assert.That(frontend.Disk.Error, Does.Contain(named));
        Assert.That(frontend.Guest.Use(HandFrontend.RingGrant), Is.EqualTo(GrantEntryFlags.Invalid));
    }

    [TestCase("xvda", 51712)]
    [TestCase("xvdb", 51728)]
    [TestCase("xvdp", 51952)]
    [TestCase("xvdq", (1 << 28) | (16 << 8))]
    public void Names_have_Xens_numbers(string name, int number)
    {
        Assert.That(Disk.TryNumberOf(name, out int found), Is.True);
        Assert.That(found, Is.EqualTo(number));
        Assert.That(Disk.TryNumberOf(name + "1", out _), Is.False);
        Assert.That(Disk.TryNumberOf("sda", out _), Is.False);
    }

    private static BlkifRequest Indirect(BlkifOp operation, ushort count, uint page)
    {
        BlkifRequest request = new() { Operation = BlkifOp.Indirect, IndirectOperation = operation, IndirectSegmentCount = count, Id = 5 };
        request.IndirectGrants[0] = page;
        return request;
    }

    private HandFrontend Connect(bool persistent = false) => new(_machine, _machine.Create(), _backend, persistent: persistent);
}
