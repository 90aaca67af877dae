using Tessera.Kernel.Devices;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests;

/// <summary>Copies, versions and the table itself.</summary>
internal sealed class GrantTableTests
{
    private const int Page = HandDomain.FreePage;
    private const int Buffer = HandDomain.FreePage + 20;
    private HandMachine _machine = null!;
    private HandDomain _granter = null!;
    private HandDomain _grantee = null!;

    [SetUp]
    public void CreateTwoDomains()
    {
        _machine = new HandMachine();
        _granter = _machine.Create();
        _grantee = _machine.Create();
        for (int i = 0; i < 4096; i++)
        {
            _granter.Page(Page)[i] = (byte)(i % 251);
            _grantee.Page(Buffer)[i] = 0xEE;
        }
    }

    [TearDown]
    public void NothingIsPinned()
    {
        Assert.That((_granter.Domain.Grants.Pins, _grantee.Domain.Grants.Pins), Is.EqualTo((0L, 0L)));
        _machine.Machine.Destroy(_granter.Domain);
        _machine.Machine.Destroy(_grantee.Domain);
        long left = _machine.Machine.Frames.AssignedFrames;
        _machine.Dispose();
        Assert.That(left, Is.Zero);
    }

    private CopyOperation FromGrant(uint reference, int offset, int length, int destinationOffset = 0) => new()
    {
        Source = reference,
        SourceDomain = _granter.Id,
        SourceOffset = (ushort)offset,
        Destination = (ulong)_grantee.Frame(Buffer).Value,
        DestinationDomain = DomainIds.Self,
        DestinationOffset = (ushort)destinationOffset,
        Length = (ushort)length,
        Flags = GrantCopyFlags.SourceGref,
    };

    private CopyOperation ToGrant(uint reference, int offset, int length) => new()
    {
        Source = (ulong)_grantee.Frame(Buffer).Value,
        SourceDomain = DomainIds.Self,
        Destination = reference,
        DestinationDomain = _granter.Id,
        DestinationOffset = (ushort)offset,
        Length = (ushort)length,
        Flags = GrantCopyFlags.DestGref,
    };

    [Test]
    public void Copies_both_ways()
    {
        _granter.Grant(9, _grantee.Id, Page);
        Assert.That(_grantee.Copy(FromGrant(9, 100, 50, 7)), Is.EqualTo(GrantStatus.Okay));
        Assert.That(_grantee.Page(Buffer).Slice(7, 50).SequenceEqual(_granter.Page(Page).Slice(100, 50)), Is.True);
        Assert.That((_grantee.Page(Buffer)[6], _grantee.Page(Buffer)[57]), Is.EqualTo(((byte)0xEE, (byte)0xEE)));
        Assert.That(_grantee.Copy(ToGrant(9, 4000, 96)), Is.EqualTo(GrantStatus.Okay));
        Assert.That(_granter.Page(Page)[4000..].SequenceEqual(_grantee.Page(Buffer)[..96]), Is.True);
        Assert.That(_granter.Use(9), Is.EqualTo(GrantEntryFlags.Invalid));
    }

    [Test]
    public void A_copy_between_two_grants_needs_both()
    {
        _granter.Grant(9, _grantee.Id, Page, GrantEntryFlags.PermitAccess | GrantEntryFlags.Readonly);
        _granter.Grant(10, _grantee.Id, Page + 1);
        CopyOperation copy = FromGrant(9, 0, 4096) with { Destination = 10, DestinationDomain = _granter.Id, Flags = GrantCopyFlags.SourceGref | GrantCopyFlags.DestGref };
        Assert.That(_grantee.Copy(copy), Is.EqualTo(GrantStatus.Okay));
        Assert.That(_granter.Page(Page + 1).SequenceEqual(_granter.Page(Page)), Is.True);
        Assert.That(_grantee.Copy(copy with { Source = 10, Destination = 9 }), Is.EqualTo(GrantStatus.GeneralError), "the read-only one as destination");
        Assert.That(_granter.Copy(copy), Is.EqualTo(GrantStatus.GeneralError), "granted to another");
    }

    [Test]
    public void A_copy_stays_in_its_pages_and_rights()
    {
        _granter.Grant(9, _grantee.Id, Page);
        Assert.That(_grantee.Copy(FromGrant(9, 4000, 97)), Is.EqualTo(GrantStatus.BadCopyArg));
        Assert.That(_grantee.Copy(FromGrant(9, 0, 4096, 1)), Is.EqualTo(GrantStatus.BadCopyArg));
        Assert.That(_grantee.Copy(FromGrant(9, 65535, 65535)), Is.EqualTo(GrantStatus.BadCopyArg));
        Assert.That(_grantee.Copy(FromGrant(9, 4096, 0)), Is.EqualTo(GrantStatus.Okay), "nothing from the end of a page");
        CopyOperation copy = FromGrant(9, 0, 8);
        Assert.That(_grantee.Copy(copy with { DestinationDomain = _granter.Id }), Is.EqualTo(GrantStatus.PermissionDenied), "another domain's frame by number");
        Assert.That(_grantee.Copy(copy with { Destination = (ulong)_grantee.Domain.Memory.ForeignFrame(0).Value }), Is.EqualTo(GrantStatus.BadPage), "a number that is not its own");
        Assert.That(_grantee.Copy(copy with { Destination = ulong.MaxValue }), Is.EqualTo(GrantStatus.BadPage));
        Assert.That(_grantee.Copy(copy with { SourceDomain = 99 }), Is.EqualTo(GrantStatus.BadDomain));
        Assert.That(_grantee.Copy(copy with { Source = 100_000 }), Is.EqualTo(GrantStatus.BadGntref));
        Assert.That(_grantee.Copy(copy with { Destination = (ulong)_grantee.Domain.Mmu.Root(0, userMode: false).Value }), Is.EqualTo(GrantStatus.GeneralError), "an own page table");
        _granter.MakeTable(Page + 1);
        _granter.Grant(10, _grantee.Id, Page + 1);
        Assert.That(_grantee.Copy(ToGrant(10, 0, 8)), Is.EqualTo(GrantStatus.GeneralError), "the granter's page table");
    }

    [Test]
    public void A_sub_page_grant_gives_its_bytes_only_and_no_mapping()
    {
        Assert.That(_granter.SetVersion(2), Is.Zero);
        _granter.GrantPart(9, _grantee.Id, Page, 512, 100);
        Assert.That(_grantee.Copy(FromGrant(9, 512, 100)), Is.EqualTo(GrantStatus.Okay));
        Assert.That(_grantee.Copy(FromGrant(9, 511, 1)), Is.EqualTo(GrantStatus.GeneralError));
        Assert.That(_grantee.Copy(FromGrant(9, 600, 13)), Is.EqualTo(GrantStatus.GeneralError));
        Assert.That(_grantee.MapAt(_granter, 9, Buffer, isReadOnly: true).Status, Is.EqualTo(GrantStatus.GeneralError));
        _granter.GrantPart(10, _grantee.Id, Page, 4000, 97);
        Assert.That(_grantee.Copy(FromGrant(10, 4000, 1)), Is.EqualTo(GrantStatus.GeneralError), "a part that leaves its page");
        Assert.That(_granter.Use(9) | _granter.Use(10), Is.EqualTo(GrantEntryFlags.Invalid));
    }

    [Test]
    public void A_grant_is_passed_on_once_and_loops_end()
    {
        HandDomain middle = _machine.Create();
        Assert.That((_granter.SetVersion(2), middle.SetVersion(2)), Is.EqualTo((0L, 0L)));
        _granter.Grant(9, middle.Id, Page, GrantEntryFlags.PermitAccess | GrantEntryFlags.Readonly);
        middle.PassOn(20, _grantee.Id, _granter.Id, 9);
        CopyOperation copy = FromGrant(20, 0, 64) with { SourceDomain = middle.Id };
        Assert.That(_grantee.Copy(copy), Is.EqualTo(GrantStatus.Okay));
        Assert.That(_grantee.Page(Buffer)[..64].SequenceEqual(_granter.Page(Page)[..64]), Is.True);
        Assert.That((middle.Use(20), _granter.Use(9)), Is.EqualTo((GrantEntryFlags.Invalid, GrantEntryFlags.Invalid)));
        Assert.That(_grantee.Copy(ToGrant(20, 0, 64) with { DestinationDomain = middle.Id }), Is.EqualTo(GrantStatus.GeneralError), "what it passes on is read-only");
        Assert.That(_grantee.MapAt(middle, 20, Buffer, isReadOnly: true).Status, Is.EqualTo(GrantStatus.GeneralError), "never mapped");

        _granter.PassOn(10, middle.Id, middle.Id, 21);
        middle.PassOn(21, _grantee.Id, _granter.Id, 10);
        Assert.That(_grantee.Copy(copy with { Source = 21 }), Is.EqualTo(GrantStatus.GeneralError), "a loop");
        middle.PassOn(22, _grantee.Id, middle.Id, 20);
        Assert.That(_grantee.Copy(copy with { Source = 22 }), Is.EqualTo(GrantStatus.GeneralError), "its own");
        middle.PassOn(23, _grantee.Id, 99, 1);
        Assert.That(_grantee.Copy(copy with { Source = 23 }), Is.EqualTo(GrantStatus.GeneralError), "nobody's");
        Assert.That(middle.Domain.Grants.Pins, Is.Zero);
        _machine.Machine.Destroy(middle.Domain);
    }

    [Test]
    public void The_version_changes_only_while_nothing_is_in_use()
    {
        _granter.Grant(1, 0, Page);
        _granter.Grant(9, _grantee.Id, Page);
        MapOperation map = _grantee.MapAt(_granter, 9, Buffer);
        Assert.That(_granter.SetVersion(2), Is.EqualTo(-(long)XenErrno.EBUSY));
        Assert.That(_granter.SetVersion(3), Is.EqualTo(-(long)XenErrno.EINVAL));
        Assert.That(_granter.SetVersion(1), Is.Zero, "the one in force");
        Assert.That(_grantee.Unmap(map.Handle, _grantee.Address(Buffer)), Is.EqualTo(GrantStatus.Okay));
        Assert.That((_granter.SetVersion(2), _granter.Domain.Grants.Version), Is.EqualTo((0L, 2)));
        Assert.That(_grantee.MapAt(_granter, 9, Buffer).Status, Is.EqualTo(GrantStatus.GeneralError), "old entries are gone");
        Assert.That(new GrantAccess(_granter.Domain.Grants).TryRead(new GrantRef(1), 0, new byte[4]), Is.EqualTo(GrantStatus.Okay), "reserved ones are not");
        Assert.That((_granter.SetVersion(1), _granter.Domain.Grants.Version), Is.EqualTo((0L, 1)));
        Assert.That(new GrantAccess(_granter.Domain.Grants).TryRead(new GrantRef(1), 0, new byte[4]), Is.EqualTo(GrantStatus.Okay));
        Assert.That(_granter.SetVersion(2), Is.Zero);
        _granter.GrantPart(2, 0, Page, 0, 8);
        Assert.That((_granter.SetVersion(1), _granter.Domain.Grants.Version), Is.EqualTo((-(long)XenErrno.ERANGE, 2)), "a reserved one that version 1 cannot say");
    }

    [Test]
    public void Version_2_stays_while_a_frame_of_its_status_is_mapped([Values] bool writable)
    {
        Assert.That(_granter.SetVersion(2), Is.Zero);
        _granter.Clear(Buffer);
        ulong entry = _granter.Domain.Memory.GrantStatusFrame(0).Address | (writable ? 0x63UL : 0x61UL);
        Assert.That(_granter.Domain.Mmu.UpdateVaMapping(0, new VirtualAddress(_granter.Address(Buffer)), entry), Is.EqualTo(XenErrno.Success));
        Assert.That((_granter.SetVersion(1), _granter.Domain.Grants.Version), Is.EqualTo((-(long)XenErrno.EBUSY, 2)));
        _granter.Clear(Buffer);
        Assert.That((_granter.SetVersion(1), _granter.Domain.Grants.Version), Is.EqualTo((0L, 1)));
    }

    [Test]
    public void The_table_grows_by_setup_to_its_limit()
    {
        _granter.Grant(600, _grantee.Id, Page);
        Assert.That(_grantee.Copy(FromGrant(600, 0, 8)), Is.EqualTo(GrantStatus.BadGntref));
        _granter.Grow(64);
        Assert.That(_grantee.Copy(FromGrant(600, 0, 8)), Is.EqualTo(GrantStatus.Okay));
        SetupOperation setup = new() { Domain = DomainIds.Self, Frames = 65, FrameList = _granter.Address(480) };
        Assert.That((_granter.Call(GrantTableOp.SetupTable, ref setup), setup.Status), Is.EqualTo((0L, GrantStatus.GeneralError)));
        setup = new() { Domain = _grantee.Id, Frames = 1, FrameList = _granter.Address(480) };
        Assert.That((_granter.Call(GrantTableOp.SetupTable, ref setup), setup.Status), Is.EqualTo((0L, GrantStatus.PermissionDenied)));
        setup = new() { Domain = 99, Frames = 1, FrameList = _granter.Address(480) };
        Assert.That((_granter.Call(GrantTableOp.SetupTable, ref setup), setup.Status), Is.EqualTo((0L, GrantStatus.BadDomain)));
        Assert.That(_granter.SetVersion(2), Is.Zero);
        Assert.That(_granter.Domain.Grants.StatusFrameCount, Is.EqualTo(8));
        _granter.Grant(16383, _grantee.Id, Page);
        Assert.That(_grantee.Copy(FromGrant(16383, 0, 8)), Is.EqualTo(GrantStatus.Okay));
        Assert.That(_grantee.Copy(FromGrant(16384, 0, 8)), Is.EqualTo(GrantStatus.BadGntref));
    }

    [Test]
    public void Status_frames_belong_to_version_2()
    {
        Assert.That(_granter.Call(GrantTableOp.GetStatusFrames, _granter.Address(490), 2), Is.EqualTo(-(long)XenErrno.EINVAL), "one structure at a time");
        StatusOperation status = new() { Status = GrantStatus.NoSpace, Frames = 1, Domain = DomainIds.Self, FrameList = _granter.Address(480) };
        Assert.That((_granter.Call(GrantTableOp.GetStatusFrames, ref status), status.Status), Is.EqualTo((0L, GrantStatus.GeneralError)));
        Assert.That(_granter.SetVersion(2), Is.Zero);
        Assert.That((_granter.Call(GrantTableOp.GetStatusFrames, ref status), status.Status), Is.EqualTo((0L, GrantStatus.Okay)));
        Assert.That(BitConverter.ToInt64(_granter.Page(480)), Is.EqualTo(_granter.Domain.Memory.GrantStatusFrame(0).Value));
        status.Frames = 2;
        Assert.That((_granter.Call(GrantTableOp.GetStatusFrames, ref status), status.Status), Is.EqualTo((0L, GrantStatus.GeneralError)), "more than the table has");
    }

    [Test]
    public void Swapped_entries_keep_their_grants_and_busy_ones_stay()
    {
        _granter.Grant(9, _grantee.Id, Page);
        SwapOperation swap = new() { First = 9, Second = 30, Status = GrantStatus.NoSpace };
        Assert.That((_granter.Call(GrantTableOp.Swap, ref swap), swap.Status), Is.EqualTo((0L, GrantStatus.Okay)));
        MapOperation map = _grantee.MapAt(_granter, 30, Buffer);
        Assert.That(map.Status, Is.EqualTo(GrantStatus.Okay));
        Assert.That((_granter.Call(GrantTableOp.Swap, ref swap), swap.Status), Is.EqualTo((0L, GrantStatus.Eagain)));
        swap = new() { First = 9, Second = 512 };
        Assert.That((_granter.Call(GrantTableOp.Swap, ref swap), swap.Status), Is.EqualTo((0L, GrantStatus.BadGntref)));
        Assert.That(_grantee.Unmap(map.Handle, _grantee.Address(Buffer)), Is.EqualTo(GrantStatus.Okay));
    }

    [Test]
    public void Frames_that_the_VMM_writes_never_become_tables()
    {
        foreach (Mfn frame in _granter.Domain.WrittenByVmm)
            Assert.That(_granter.Domain.Mmu.Extended(0, (uint)MmuExtOp.PinL1Table, frame, Mfn.None), Is.Not.EqualTo(XenErrno.Success), $"{frame}");
        Assert.That(_granter.Domain.WrittenByVmm, Has.Count.EqualTo(2 + 1 + 64 + 8));
    }

    private struct StatusOperation
    {
        public uint Frames;
        public ushort Domain;
        public GrantStatus Status;
        public ulong FrameList;
    }

    private struct SwapOperation
    {
        public uint First;
        public uint Second;
        public GrantStatus Status;
    }
}
