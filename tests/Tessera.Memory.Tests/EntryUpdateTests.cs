using Tessera.Memory.Tests.Support;
using Tessera.Sdk;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;
using static Tessera.Memory.Tests.Support.Entry;

namespace Tessera.Memory.Tests;

[TestFixture]
internal sealed class EntryUpdateTests
{
    private Machine _machine = null!;
    private Tree _tree = null!;

    [SetUp]
    public void Boot()
    {
        _machine = new Machine();
        _tree = Tree.Adopted(_machine);
    }

    [Test]
    public void A_writable_mapping_takes_the_writable_type_and_drops_it_again()
    {
        Assert.That(_machine.Write(_tree.L1, 5, _machine[10].Address | P | RW), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.TypeOf(_machine[10]), Is.EqualTo((FrameType.Writable, 1L)));
        Assert.That(_machine.Write(_tree.L1, 5, 0), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.TypeOf(_machine[10]), Is.EqualTo((FrameType.None, 0L)));
    }

    [Test]
    public void A_read_only_mapping_takes_a_general_reference()
    {
        Assert.That(_machine.Write(_tree.L1, 5, _machine[10].Address | P), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.TypeOf(_machine[10]).Count, Is.Zero);
        Assert.That(_machine.Table.ReferencesOf(_machine[10]), Is.EqualTo(1));
        Assert.That(_machine.Write(_tree.L1, 5, _machine[10].Address | P | RW), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.Table.ReferencesOf(_machine[10]), Is.Zero);
        Assert.That(_machine.TypeOf(_machine[10]), Is.EqualTo((FrameType.Writable, 1L)));
    }

    [Test]
    public void Every_present_entry_gets_the_user_bit_and_loses_the_global_bit()
    {
        ulong entry = _machine[10].Address | P | RW | G | NX | (7UL << 9) | (0x3FFUL << 52);
        Assert.That(_machine.Write(_tree.L1, 5, entry), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.Read(_tree.L1, 5), Is.EqualTo((entry & ~G) | U));
    }

    [Test]
    public void An_entry_that_is_not_present_may_hold_anything()
    {
        const ulong Swap = 0xDEAD_BEEF_0000_1FFE;
        Assert.That(_machine.Write(_tree.L1, 5, Swap), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.Read(_tree.L1, 5), Is.EqualTo(Swap));
    }

    [TestCase(PWT)]
    [TestCase(PCD)]
    [TestCase(PSE)]
    public void Cache_attributes_are_refused(ulong flag) =>
        Assert.That(_machine.Write(_tree.L1, 5, _machine[10].Address | P | RW | flag), Is.EqualTo(XenErrno.EINVAL));

    [Test]
    public void Large_pages_are_refused_at_every_level()
    {
        Assert.That(_machine.Write(_tree.L2, 5, _machine[10].Address | P | RW | PSE), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(_machine.Write(_tree.L3, 5, _machine[10].Address | P | RW | PSE), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(_machine.Write(_tree.L4, 5, _machine[10].Address | P | RW | PSE), Is.EqualTo(XenErrno.EINVAL));
    }

    [Test]
    public void Foreign_and_impossible_frames_are_refused_and_leave_the_old_entry()
    {
        ulong before = _machine.Read(_tree.L1, 0);
        Assert.That(_machine.Write(_tree.L1, 0, Machine.ForeignFrame.Address | P), Is.EqualTo(XenErrno.EPERM));
        Assert.That(_machine.Write(_tree.L1, 0, Machine.ForeignFrame.Address | P | RW), Is.EqualTo(XenErrno.EPERM));
        Assert.That(_machine.Write(_tree.L1, 0, FrameMask | P), Is.EqualTo(XenErrno.EPERM));
        Assert.That(_machine.Write(_tree.L1, 0, P | RW), Is.EqualTo(XenErrno.EPERM));
        Assert.That(_machine.Write(_tree.L2, 5, Machine.ForeignFrame.Address | P | RW), Is.EqualTo(XenErrno.EPERM));
        Assert.That(_machine.Read(_tree.L1, 0), Is.EqualTo(before));
        Assert.That(_machine.TypeOf(_machine[8]), Is.EqualTo((FrameType.Writable, 1L)));
    }

    [Test]
    public void Tables_cannot_be_mapped_writable_at_any_level()
    {
        foreach (Mfn table in (Mfn[])[_tree.L1, _tree.L2, _tree.L3, _tree.L4])
        {
            Assert.That(_machine.Write(_tree.L1, 5, table.Address | P | RW), Is.EqualTo(XenErrno.EINVAL));
            Assert.That(_machine.Write(_tree.L1, 5, table.Address | P), Is.EqualTo(XenErrno.Success));
        }
    }

    [Test]
    public void A_frame_mapped_writable_cannot_become_a_table()
    {
        Assert.That(_machine.Write(_tree.L2, 5, _machine[8].Address | P | RW), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(_machine.Do(MmuExtOp.PinL1Table, _machine[8]), Is.EqualTo(XenErrno.EINVAL));
    }

    [Test]
    public void Linear_mappings_of_tables_are_refused()
    {
        Assert.That(_machine.Write(_tree.L4, 5, _tree.L4.Address | P), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(_machine.Write(_tree.L3, 5, _tree.L3.Address | P), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(_machine.Write(_tree.L2, 5, _tree.L4.Address | P), Is.EqualTo(XenErrno.EINVAL));
    }

    [Test]
    public void Slots_of_the_VMM_cannot_be_updated([Range(256, 271)] int slot) =>
        Assert.That(_machine.Write(_tree.L4, slot, 0), Is.EqualTo(XenErrno.EINVAL));

    [Test]
    public void Attaching_a_table_validates_it_and_detaching_drops_what_it_holds()
    {
        Mfn table = _machine[4];
        _machine.Poke(table, 7, _machine[11].Address | P | RW);
        Assert.That(_machine.Write(_tree.L2, 5, table.Address | P | RW), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.Read(table, 7) & U, Is.EqualTo(U));
        Assert.That(_machine.TypeOf(_machine[11]), Is.EqualTo((FrameType.Writable, 1L)));
        Assert.That(_machine.Write(_tree.L2, 5, 0), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.TypeOf(_machine[11]).Count, Is.Zero);
        Assert.That(_machine.TypeOf(table).Count, Is.Zero);
    }

    [Test]
    public void Attaching_a_bad_table_leaves_nothing_behind()
    {
        Mfn l2 = _machine[4], l1 = _machine[5];
        _machine.Poke(l1, 0, _machine[11].Address | P | RW);
        _machine.Poke(l2, 0, l1.Address | P | RW);
        _machine.Poke(l2, 511, Machine.ForeignFrame.Address | P | RW);
        Assert.That(_machine.Write(_tree.L3, 5, l2.Address | P | RW), Is.EqualTo(XenErrno.EPERM));
        Assert.That(_machine.Read(_tree.L3, 5), Is.Zero);
        foreach (Mfn frame in (Mfn[])[l2, l1, _machine[11]])
            Assert.That(_machine.TypeOf(frame).Count, Is.Zero);
    }

    [Test]
    public void Preserving_keeps_accessed_and_dirty_of_the_old_entry_and_a_normal_update_does_not()
    {
        _machine.Poke(_tree.L1, 0, _machine.Read(_tree.L1, 0) | A | D);
        ulong readOnly = _machine[8].Address | P;
        Assert.That(_machine.Write(_tree.L1, 0, readOnly, MmuUpdateKind.PtUpdatePreserveAd), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.Read(_tree.L1, 0), Is.EqualTo(readOnly | U | A | D));
        Assert.That(_machine.Write(_tree.L1, 0, readOnly), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.Read(_tree.L1, 0), Is.EqualTo(readOnly | U));
    }

    [Test]
    public void Plain_memory_is_written_as_it_is_unless_it_is_a_descriptor_table()
    {
        Assert.That(_machine.Write(_machine[12], 3, 0x1234_5679), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.Read(_machine[12], 3), Is.EqualTo(0x1234_5679));
        Assert.That(_machine.TypeOf(_machine[12]).Count, Is.Zero);
        Assert.That(_machine.Mmu.AcquireDescriptorFrame(_machine[13]), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.Write(_machine[13], 3, 1), Is.EqualTo(XenErrno.EINVAL));
    }

    [Test]
    public void Bad_pointers_are_refused()
    {
        Assert.That(_machine.Mmu.Update(Machine.ForeignFrame.Address, 0), Is.EqualTo(XenErrno.EPERM));
        Assert.That(_machine.Mmu.Update(ulong.MaxValue & ~7UL, 0), Is.EqualTo(XenErrno.EPERM));
        Assert.That(_machine.Mmu.Update(_tree.L1.Address | 4, 0), Is.EqualTo(XenErrno.EINVAL));
    }

    [Test]
    public void Machine_to_physical_is_set_for_own_frames_only()
    {
        Assert.That(_machine.Mmu.Update(_machine[9].Address | 1, 77), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.MachineToPhysical[_machine[9]], Is.EqualTo(new Pfn(77)));
        Assert.That(_machine.Mmu.Update(Machine.ForeignFrame.Address | 1, 77), Is.EqualTo(XenErrno.EPERM));
    }

    [Test]
    public void Update_va_mapping_writes_the_entry_that_maps_the_address()
    {
        Assert.That(_machine.Mmu.UpdateVaMapping(0, Tree.Page(6), _machine[10].Address | P | RW), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.Read(_tree.L1, 6), Is.EqualTo(_machine[10].Address | P | RW | U));
        Assert.That(_machine.Mmu.UpdateVaMapping(0, Tree.Page(512), 0), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(_machine.Mmu.UpdateVaMapping(0, new VirtualAddress(0x8000_0000_0000_0000), 0), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(_machine.Mmu.UpdateVaMapping(0, new VirtualAddress(0xFFFF_8080_0000_0000), 0), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(_machine.Mmu.UpdateVaMapping(1, Tree.Page(6), 0), Is.EqualTo(XenErrno.EINVAL));
    }

    [Test]
    public void Single_updates_and_walks_allocate_nothing()
    {
        ulong pointer = Machine.Address(_tree.L1, 5);
        ulong entry = _machine[10].Address | P | RW;
        Exercise(pointer, entry, 10);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Exercise(pointer, entry, 10_000);
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    private void Exercise(ulong pointer, ulong entry, int times)
    {
        for (int i = 0; i < times; i++)
        {
            _machine.Mmu.Update(pointer, entry);
            _machine.Mmu.Update(pointer | 2, entry & ~RW);
            _machine.Mmu.UpdateVaMapping(0, Tree.Page(5), 0);
            _machine.Mmu.Update(pointer, Machine.ForeignFrame.Address | P);
            _machine.Mmu.Translate(0, userMode: false, Tree.Page(0), forWriting: true, out _);
            _machine.Mmu.FindEntry(0, Tree.Page(0), out _);
        }
    }
}
