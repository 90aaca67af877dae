using System.Runtime.InteropServices;
using Tessera.Kernel.Hypercalls;
using Tessera.Sdk;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests;

/// <summary>map_grant_ref and unmap_grant_ref between two domains.</summary>
internal sealed class GrantMapTests
{
    private const int Page = HandDomain.FreePage;
    private const int Target = HandDomain.FreePage + 10;
    private HandMachine _machine = null!;
    private HandDomain _granter = null!;
    private HandDomain _grantee = null!;

    [SetUp]
    public void CreateTwoDomains()
    {
        _machine = new HandMachine();
        _granter = _machine.Create();
        _grantee = _machine.Create();
    }

    [TearDown]
    public void NothingIsLeft()
    {
        _machine.Machine.Destroy(_grantee.Domain);
        _machine.Machine.Destroy(_granter.Domain);
        long left = _machine.Machine.Frames.AssignedFrames;
        _machine.Dispose();
        Assert.That(left, Is.Zero);
    }

    [Test]
    public void A_mapping_shows_exactly_the_granted_frame_and_unmapping_takes_it_away()
    {
        _granter.Grant(9, _grantee.Id, Page);
        MapOperation map = _grantee.MapAt(_granter, 9, Target);
        Mfn frame = Shown(map);
        Assert.That((map.Status, map.DeviceAddress), Is.EqualTo((GrantStatus.Okay, frame.Address)));
        Assert.That(_grantee.GuestMachine.Shown, Is.EqualTo(new Dictionary<Mfn, (nint, bool)> { [frame] = (_granter.HostAddress(Page), false) }));
        Assert.That(_grantee.Entry(Target), Is.EqualTo(frame.Address | 0x67));
        Assert.That(_granter.Use(9), Is.EqualTo(GrantEntryFlags.Reading | GrantEntryFlags.Writing));
        Assert.That(_granter.Domain.Frames.TypeOf(_granter.Frame(Page)).Type, Is.EqualTo(FrameType.Writable));
        Assert.That(_grantee.Unmap(map.Handle, _grantee.Address(Target)), Is.EqualTo(GrantStatus.Okay));
        Assert.That((_grantee.GuestMachine.Shown.Count, _grantee.Entry(Target), _granter.Use(9), _granter.Domain.Grants.Pins), Is.EqualTo((0, 0UL, GrantEntryFlags.Invalid, 0L)));
        Assert.That(_grantee.Unmap(map.Handle, _grantee.Address(Target)), Is.EqualTo(GrantStatus.BadHandle), "twice");
    }

    [Test]
    public void A_read_only_mapping_is_read_only_in_the_entry_and_in_the_machine()
    {
        _granter.Grant(9, _grantee.Id, Page, GrantEntryFlags.PermitAccess | GrantEntryFlags.Readonly);
        Assert.That(_grantee.MapAt(_granter, 9, Target).Status, Is.EqualTo(GrantStatus.GeneralError), "writable of a read-only grant");
        MapOperation map = _grantee.MapAt(_granter, 9, Target, isReadOnly: true);
        Assert.That((map.Status, _grantee.Entry(Target)), Is.EqualTo((GrantStatus.Okay, Shown(map).Address | 0x65)));
        Assert.That(_grantee.GuestMachine.Shown.Values, Is.EqualTo(new[] { (_granter.HostAddress(Page), true) }));
        Assert.That(_granter.Use(9), Is.EqualTo(GrantEntryFlags.Reading));
        Assert.That(_grantee.Unmap(map.Handle, _grantee.Address(Target)), Is.EqualTo(GrantStatus.Okay));
    }

    [Test]
    public void Each_mapping_has_a_number_of_its_own_with_its_own_rights()
    {
        _granter.Grant(9, _grantee.Id, Page);
        MapOperation reader = _grantee.MapAt(_granter, 9, Target, isReadOnly: true);
        MapOperation writer = _grantee.MapAt(_granter, 9, Target + 1);
        nint page = _granter.HostAddress(Page);
        Dictionary<Mfn, (nint, bool)> both = new() { [Shown(reader)] = (page, true), [Shown(writer)] = (page, false) };
        Assert.That(_grantee.GuestMachine.Shown, Is.EqualTo(both));
        Assert.That(_grantee.Unmap(writer.Handle, _grantee.Address(Target)), Is.EqualTo(GrantStatus.GeneralError), "the reader's entry does not stand for the writer's");
        Assert.That(_grantee.Unmap(writer.Handle, _grantee.Address(Target + 1)), Is.EqualTo(GrantStatus.Okay));
        Assert.That(_grantee.GuestMachine.Shown, Is.EqualTo(new Dictionary<Mfn, (nint, bool)> { [Shown(reader)] = (page, true) }));
        Assert.That(_granter.Use(9), Is.EqualTo(GrantEntryFlags.Reading));
        Assert.That(_grantee.Unmap(reader.Handle, _grantee.Address(Target)), Is.EqualTo(GrantStatus.Okay));
    }

    [Test]
    public void What_was_not_granted_cannot_be_mapped()
    {
        HandDomain third = _machine.Create();
        third.Grant(9, _granter.Id, Page);
        MapOperation thirds = _granter.MapAt(third, 9, Target);
        _granter.Grant(9, third.Id, Page);
        _granter.Grant(10, _grantee.Id, Page, GrantEntryFlags.AcceptTransfer);
        _granter.Grant(11, _grantee.Id, PageTableEntry.FrameOf(thirds.DeviceAddress).Value);
        _granter.Grant(12, _grantee.Id, 0x7fff_ffff);
        GrantStatus Status(uint reference) => _grantee.MapAt(_granter, reference, Target).Status;
        Assert.That(Status(9), Is.EqualTo(GrantStatus.GeneralError), "granted to another");
        Assert.That(Status(8), Is.EqualTo(GrantStatus.GeneralError), "granted to nobody");
        Assert.That(Status(10), Is.EqualTo(GrantStatus.GeneralError), "not for access");
        Assert.That(Status(11), Is.EqualTo(GrantStatus.BadPage), "another domain's frame, which it has mapped itself");
        Assert.That(Status(12), Is.EqualTo(GrantStatus.BadPage), "no frame");
        Assert.That(Status(512), Is.EqualTo(GrantStatus.BadGntref), "beyond the table");
        Assert.That(Status(uint.MaxValue), Is.EqualTo(GrantStatus.BadGntref));
        Assert.That(_grantee.Map(_granter, 9, GrantMapFlags.Readonly, 0).Status, Is.EqualTo(GrantStatus.BadGntref), "neither host nor device");
        MapOperation nobody = new() { Flags = GrantMapFlags.HostMap, Domain = 77, HostAddress = _grantee.Address(Target) };
        Assert.That((_grantee.Call(GrantTableOp.MapGrantRef, ref nobody), nobody.Status), Is.EqualTo((0L, GrantStatus.BadDomain)));
        Assert.That((_granter.Domain.Grants.Pins, _grantee.Domain.Mappings.Count, _grantee.GuestMachine.Shown.Count), Is.EqualTo((0L, 0, 0)));
        Assert.That(_granter.Use(11) | _granter.Use(12), Is.EqualTo(GrantEntryFlags.Invalid), "the marks of failed uses are gone");
        _machine.Machine.Destroy(third.Domain);
    }

    [Test]
    public void A_page_table_is_never_mapped_writable_and_a_page_mapped_writable_never_becomes_one()
    {
        _granter.MakeTable(Page);
        _granter.Grant(9, _grantee.Id, Page);
        Assert.That(_grantee.MapAt(_granter, 9, Target).Status, Is.EqualTo(GrantStatus.GeneralError));
        Assert.That(_granter.Use(9), Is.EqualTo(GrantEntryFlags.Invalid));
        MapOperation reader = _grantee.MapAt(_granter, 9, Target, isReadOnly: true);
        Assert.That(reader.Status, Is.EqualTo(GrantStatus.Okay));
        Assert.That(_grantee.MapAt(_granter, 9, Target + 1).Status, Is.EqualTo(GrantStatus.GeneralError), "nor beside a reader");
        Assert.That(_granter.Use(9), Is.EqualTo(GrantEntryFlags.Reading));

        _granter.Grant(10, _grantee.Id, Page + 1);
        _granter.Clear(Page + 1);
        Assert.That(_grantee.MapAt(_granter, 10, Target + 1).Status, Is.EqualTo(GrantStatus.Okay));
        Assert.That(_granter.Domain.Mmu.Extended(0, (uint)MmuExtOp.PinL1Table, _granter.Frame(Page + 1), Mfn.None), Is.EqualTo(XenErrno.EINVAL));
    }

    [Test]
    public void An_entry_by_machine_address_must_lie_in_an_own_page_table()
    {
        _granter.Grant(9, _grantee.Id, Page);
        GrantMapFlags flags = GrantMapFlags.HostMap | GrantMapFlags.ContainsPte;
        ulong foreign = _grantee.Domain.Memory.ForeignFrame(0).Address;
        Assert.That(_grantee.Map(_granter, 9, flags, foreign).Status, Is.EqualTo(GrantStatus.GeneralError), "no frame of its own");
        Assert.That(_grantee.Map(_granter, 9, flags, _grantee.Frame(Target).Address).Status, Is.EqualTo(GrantStatus.GeneralError), "plain memory");
        Assert.That(_grantee.Map(_granter, 9, flags, _grantee.EntryAddress(Target) + 4).Status, Is.EqualTo(GrantStatus.GeneralError), "between two entries");
        Assert.That(_grantee.Map(_granter, 9, flags, _grantee.Domain.Mmu.Root(0, userMode: false).Address).Status, Is.EqualTo(GrantStatus.GeneralError), "a table of level 4");
        Assert.That(_grantee.GuestMachine.Shown, Is.Empty);
        MapOperation map = _grantee.Map(_granter, 9, flags, _grantee.EntryAddress(Target));
        Assert.That((map.Status, _grantee.Entry(Target)), Is.EqualTo((GrantStatus.Okay, Shown(map).Address | 0x67)));
        Assert.That(_grantee.Unmap(map.Handle, _grantee.EntryAddress(Target + 1)), Is.EqualTo(GrantStatus.GeneralError), "an entry that maps something else");
        Assert.That(_grantee.Unmap(map.Handle, _grantee.EntryAddress(Target)), Is.EqualTo(GrantStatus.Okay));
    }

    [Test]
    public void The_guest_cannot_make_widen_or_copy_such_an_entry()
    {
        _granter.Grant(9, _grantee.Id, Page);
        MapOperation map = _grantee.MapAt(_granter, 9, Target, isReadOnly: true);
        ulong entry = _grantee.Entry(Target);
        IDomainMmu mmu = _grantee.Domain.Mmu;
        Assert.That(mmu.UpdateVaMapping(0, new VirtualAddress(_grantee.Address(Target)), entry | 2), Is.Not.EqualTo(XenErrno.Success), "writable");
        Assert.That(mmu.UpdateVaMapping(0, new VirtualAddress(_grantee.Address(Target + 1)), entry), Is.EqualTo(XenErrno.EPERM), "elsewhere");
        Assert.That(mmu.UpdateVaMapping(0, new VirtualAddress(_grantee.Address(Target)), entry & ~0x40UL), Is.EqualTo(XenErrno.Success), "its other bits are the guest's");
        Assert.That(_grantee.Unmap(map.Handle, _grantee.Address(Target)), Is.EqualTo(GrantStatus.Okay));
    }

    [Test]
    public void The_number_of_a_mapped_frame_is_no_frame_for_any_other_call()
    {
        _granter.Grant(9, _grantee.Id, Page);
        MapOperation map = _grantee.MapAt(_granter, 9, Target);
        Mfn frame = Shown(map);
        Domain domain = _grantee.Domain;
        MmuExtOp[] commands = [MmuExtOp.PinL1Table, MmuExtOp.PinL4Table, MmuExtOp.NewBaseptr, MmuExtOp.NewUserBaseptr, MmuExtOp.ClearPage];
        foreach (MmuExtOp command in commands)
            Assert.That(domain.Mmu.Extended(0, (uint)command, frame, Mfn.None), Is.EqualTo(XenErrno.EINVAL), $"{command}");
        Assert.That(domain.Mmu.Extended(0, (uint)MmuExtOp.CopyPage, _grantee.Frame(Page), frame), Is.EqualTo(XenErrno.EINVAL));
        foreach (ulong command in (ReadOnlySpan<ulong>)[0, 1, 2])
            Assert.That(domain.Mmu.Update(frame.Address | command, 0), Is.EqualTo(XenErrno.EINVAL), $"mmu_update {command}");
        Assert.That(domain.Mmu.AcquireDescriptorFrame(frame), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(domain.Mmu.UpdateDescriptor(frame.Address, 0), Is.EqualTo(XenErrno.EINVAL));
        VirtualAddress address = new(_grantee.Address(Target));
        Assert.That(domain.Mmu.Translate(0, userMode: false, address, forWriting: true, out _), Is.False, "no hypercall's argument lies there");
        CopyOperation copy = new()
        {
            Source = (ulong)frame.Value,
            SourceDomain = DomainIds.Self,
            Destination = (ulong)_grantee.Frame(Page).Value,
            DestinationDomain = DomainIds.Self,
            Length = 8,
        };
        Assert.That(_grantee.Copy(copy), Is.EqualTo(GrantStatus.BadPage));
        Assert.That(_grantee.Copy(copy with { Source = copy.Destination, Destination = copy.Source }), Is.EqualTo(GrantStatus.BadPage));
        Assert.That(domain.Writes.TryBegin(frame), Is.False, "nor a registered vcpu_info");
        Assert.That(_grantee.Reserve(MemoryOp.DecreaseReservation, (ulong)frame.Value), Is.Zero, "nothing is given back");
        Assert.That(_grantee.Unmap(map.Handle, _grantee.Address(Target)), Is.EqualTo(GrantStatus.Okay));
    }

    [Test]
    public void An_entry_that_the_guest_overwrote_leaves_the_grant_in_use_until_the_domain_ends()
    {
        _granter.Grant(9, _grantee.Id, Page);
        MapOperation map = _grantee.MapAt(_granter, 9, Target);
        _grantee.Clear(Target);
        Assert.That(_grantee.Unmap(map.Handle, _grantee.Address(Target)), Is.EqualTo(GrantStatus.GeneralError));
        Assert.That((_granter.Domain.Grants.Pins, _grantee.GuestMachine.Shown.Count), Is.EqualTo((1L, 1)));
        _machine.Machine.Destroy(_grantee.Domain);
        Assert.That((_granter.Domain.Grants.Pins, _granter.Use(9)), Is.EqualTo((0L, GrantEntryFlags.Invalid)));
    }

    [Test]
    public void A_table_with_such_an_entry_may_go_and_cannot_come_back_with_it()
    {
        _granter.Grant(9, _grantee.Id, Page);
        _grantee.MakeTable(Page + 30);
        MapOperation map = _grantee.Map(_granter, 9, GrantMapFlags.HostMap | GrantMapFlags.ContainsPte, _grantee.Frame(Page + 30).Address + 8);
        Assert.That(map.Status, Is.EqualTo(GrantStatus.Okay));
        IDomainMmu mmu = _grantee.Domain.Mmu;
        Assert.That(mmu.Extended(0, (uint)MmuExtOp.UnpinTable, _grantee.Frame(Page + 30), Mfn.None), Is.EqualTo(XenErrno.Success));
        Assert.That(mmu.Extended(0, (uint)MmuExtOp.PinL1Table, _grantee.Frame(Page + 30), Mfn.None), Is.EqualTo(XenErrno.EPERM), "the entry is only bits now");
        Assert.That(_grantee.Unmap(map.Handle, _grantee.Frame(Page + 30).Address + 8), Is.EqualTo(GrantStatus.GeneralError));
        Assert.That(_granter.Domain.Grants.Pins, Is.EqualTo(1));
    }

    [Test]
    public void A_device_mapping_needs_its_own_unmapping()
    {
        _granter.Grant(9, _grantee.Id, Page);
        MapOperation map = _grantee.Map(_granter, 9, GrantMapFlags.HostMap | GrantMapFlags.DeviceMap, _grantee.Address(Target));
        Assert.That((map.Status, _granter.Domain.Grants.Pins), Is.EqualTo((GrantStatus.Okay, 2L)));
        Assert.That(_grantee.Unmap(map.Handle, 0), Is.EqualTo(GrantStatus.Okay), "nothing named, nothing done");
        Assert.That(_grantee.Unmap(map.Handle, 0, map.DeviceAddress + 4096), Is.EqualTo(GrantStatus.GeneralError));
        Assert.That(_grantee.Unmap(map.Handle, _grantee.Address(Target)), Is.EqualTo(GrantStatus.Okay));
        Assert.That((_granter.Domain.Grants.Pins, _granter.Use(9)), Is.EqualTo((1L, GrantEntryFlags.Reading | GrantEntryFlags.Writing)));
        Assert.That(_grantee.Unmap(map.Handle, 0, map.DeviceAddress), Is.EqualTo(GrantStatus.Okay));
        Assert.That(_granter.Domain.Grants.Pins, Is.Zero);
    }

    [Test]
    public void Unmap_and_replace_moves_the_other_entry_with_all_it_holds()
    {
        _granter.Grant(9, _grantee.Id, Page);
        MapOperation map = _grantee.MapAt(_granter, 9, Target);
        ulong moved = _grantee.Entry(Target + 1);
        UnmapOperation replace = new() { HostAddress = _grantee.Address(Target), DeviceAddress = _grantee.Address(Target + 1), Handle = map.Handle, Status = GrantStatus.NoSpace };
        Assert.That((_grantee.Call(GrantTableOp.UnmapAndReplace, ref replace), replace.Status), Is.EqualTo((0L, GrantStatus.Okay)));
        Assert.That((_grantee.Entry(Target), _grantee.Entry(Target + 1)), Is.EqualTo((moved, 0UL)));
        _grantee.Clear(Target);
        Assert.That(_grantee.Domain.Frames.TypeOf(_grantee.Frame(Target + 1)).Count, Is.Zero, "the moved entry's reference went with it");
    }

    [Test]
    public void A_domain_may_map_its_own_grant()
    {
        _granter.Grant(9, _granter.Id, Page);
        MapOperation map = _granter.MapAt(_granter, 9, Target);
        Assert.That((map.Status, _granter.GuestMachine.Shown.Count, _granter.Entry(Target)), Is.EqualTo((GrantStatus.Okay, 0, _granter.Frame(Page).Address | 0x67)));
        Assert.That(_granter.Unmap(map.Handle, _granter.Address(Target)), Is.EqualTo(GrantStatus.Okay));
    }

    [Test]
    public void No_more_is_mapped_than_there_is_room_for()
    {
        _granter.Grant(9, _grantee.Id, Page);
        _granter.Grant(10, _grantee.Id, Page + 1);
        _grantee.GuestMachine.Room = 1;
        Assert.That(_grantee.MapAt(_granter, 9, Target).Status, Is.EqualTo(GrantStatus.Okay));
        Assert.That(_grantee.MapAt(_granter, 10, Target + 1).Status, Is.EqualTo(GrantStatus.NoSpace));
        Assert.That((_granter.Use(10), _grantee.Domain.Mappings.Count), Is.EqualTo((GrantEntryFlags.Invalid, 1)));
        _grantee.GuestMachine.Room = 1000;
        for (int again = 1; again < 128; again++)
            Assert.That(_grantee.MapAt(_granter, 9, Target + again).Status, Is.EqualTo(GrantStatus.Okay));
        Assert.That(_grantee.MapAt(_granter, 9, Target + 128).Status, Is.EqualTo(GrantStatus.GeneralError), "Xen's counts have seven bits");
    }

    [Test]
    public void Forged_handles_and_counts_are_refused()
    {
        foreach (uint handle in new[] { 0u, 1u, 63u, 64u, 8191u, 8192u, uint.MaxValue })
            Assert.That(_grantee.Unmap(handle, _grantee.Address(Target)), Is.EqualTo(GrantStatus.BadHandle), $"{handle}");
        Assert.That(_grantee.Call(GrantTableOp.MapGrantRef, _grantee.Address(490), uint.MaxValue), Is.EqualTo(-(long)XenErrno.EINVAL));
        Assert.That(_grantee.Call(GrantTableOp.UnmapGrantRef, _grantee.Address(511) + 4096, 1), Is.EqualTo(-(long)XenErrno.EFAULT));
        Assert.That(_grantee.Call(GrantTableOp.Copy, 0, 0), Is.Zero);
        Assert.That(_grantee.Call((GrantTableOp)13, _grantee.Address(490), 1), Is.EqualTo(-(long)XenErrno.ENOSYS));
    }

    /// <summary>The number under which the grantee's machine shows a mapping.</summary>
    private Mfn Shown(MapOperation map) => _grantee.Domain.Memory.ForeignFrame((int)map.Handle);
}
