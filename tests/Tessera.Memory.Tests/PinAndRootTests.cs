using Tessera.Memory.Tests.Support;
using Tessera.Sdk;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;
using static Tessera.Memory.Tests.Support.Entry;

namespace Tessera.Memory.Tests;

[TestFixture]
internal sealed class PinAndRootTests
{
    private Machine _machine = null!;

    [SetUp]
    public void Power_on() => _machine = new Machine();

    [Test]
    public void Boot_tables_are_pinned_rooted_and_brought_into_the_form_the_CPU_needs()
    {
        Tree tree = Tree.Adopted(_machine);
        Assert.That(_machine.Mmu.Root(0, userMode: false), Is.EqualTo(tree.L4));
        Assert.That(_machine.Mmu.Root(0, userMode: true), Is.EqualTo(Mfn.None));
        Assert.That(_machine.Mmu.Root(1, userMode: false), Is.EqualTo(Mfn.None));
        Assert.That(_machine.TypeOf(tree.L4), Is.EqualTo((FrameType.L4, 2L)));
        Assert.That(_machine.Read(tree.L4, 257), Is.EqualTo(0x1063));
        Assert.That(_machine.Read(tree.L1, 1), Is.EqualTo(_machine[9].Address | P | U | NX));
    }

    [Test]
    public void Boot_tables_that_map_themselves_writable_are_refused()
    {
        Tree tree = new(_machine);
        _machine.Poke(tree.L1, 3, tree.L2.Address | P | RW);
        Assert.That(_machine.Mmu.AdoptBootTables(tree.L4), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(_machine.Mmu.AdoptBootTables(Mfn.None), Is.EqualTo(XenErrno.EPERM));
        Recount.Check(_machine, new Dictionary<Mfn, int>(), new Dictionary<Mfn, int>());
    }

    [Test]
    public void The_guests_own_values_in_the_VMMs_slots_are_replaced()
    {
        for (int slot = 256; slot <= 271; slot++)
            _machine.Poke(_machine[0], slot, Machine.ForeignFrame.Address | P | RW | U);
        Assert.That(_machine.Do(MmuExtOp.PinL4Table, _machine[0]), Is.EqualTo(XenErrno.Success));
        for (int slot = 256; slot <= 271; slot++)
            Assert.That(_machine.Read(_machine[0], slot), Is.EqualTo(slot switch { 257 => 0x1063UL, 270 => 0x2061UL, _ => 0UL }));
    }

    [Test]
    public void Pinning_validates_once_and_only_once([Values(MmuExtOp.PinL1Table, MmuExtOp.PinL2Table, MmuExtOp.PinL3Table, MmuExtOp.PinL4Table)] MmuExtOp pin)
    {
        Mfn table = _machine[4];
        Assert.That(_machine.Do(pin, table), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.TypeOf(table), Is.EqualTo(((FrameType)(pin + 1), 1L)));
        Assert.That(_machine.Do(pin, table), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(_machine.TypeOf(table).Count, Is.EqualTo(1));
        Assert.That(_machine.Do(MmuExtOp.UnpinTable, table), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.TypeOf(table).Count, Is.Zero);
        Assert.That(_machine.Do(MmuExtOp.UnpinTable, table), Is.EqualTo(XenErrno.EINVAL));
    }

    [Test]
    public void Pinning_at_another_level_is_refused_while_the_type_is_held()
    {
        Tree tree = Tree.Adopted(_machine);
        Assert.That(_machine.Do(MmuExtOp.PinL2Table, tree.L1), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(_machine.Do(MmuExtOp.PinL1Table, tree.L1), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.TypeOf(tree.L1), Is.EqualTo((FrameType.L1, 2L)));
    }

    [Test]
    public void Foreign_frames_cannot_be_pinned_rooted_or_cleared()
    {
        foreach (MmuExtOp command in (MmuExtOp[])[MmuExtOp.PinL1Table, MmuExtOp.PinL4Table, MmuExtOp.UnpinTable, MmuExtOp.NewBaseptr, MmuExtOp.NewUserBaseptr,
            MmuExtOp.ClearPage, MmuExtOp.CopyPage])
        {
            foreach (Mfn frame in (Mfn[])[Machine.ForeignFrame, Mfn.None, new(long.MinValue), new(1)])
                Assert.That(_machine.Do(command, frame, _machine[0]), Is.EqualTo(XenErrno.EPERM), $"{command} {frame}");
        }
    }

    [Test]
    public void A_failed_pin_rolls_back_every_level()
    {
        Tree tree = new(_machine);
        _machine.Poke(tree.L4, 511, Machine.ForeignFrame.Address | P);
        Assert.That(_machine.Do(MmuExtOp.PinL4Table, tree.L4), Is.EqualTo(XenErrno.EPERM));
        Recount.Check(_machine, new Dictionary<Mfn, int>(), new Dictionary<Mfn, int>());
    }

    [Test]
    public void A_table_in_use_twice_is_validated_once()
    {
        Tree tree = new(_machine);
        for (int index = 0; index < 512; index++)
        {
            _machine.Poke(tree.L2, index, tree.L1.Address | P | RW);
            _machine.Poke(tree.L3, index, tree.L2.Address | P | RW);
            if (index is < 256 or > 271)
                _machine.Poke(tree.L4, index, tree.L3.Address | P | RW);
        }

        Assert.That(_machine.Do(MmuExtOp.PinL4Table, tree.L4), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.TypeOf(tree.L1), Is.EqualTo((FrameType.L1, 512L)));
        Assert.That(_machine.TypeOf(_machine[8]), Is.EqualTo((FrameType.Writable, 1L)));
        Recount.Check(_machine, new Dictionary<Mfn, int> { [tree.L4] = 4 }, new Dictionary<Mfn, int>());
    }

    [Test]
    public void Roots_hold_their_table_for_each_vCPU_and_mode()
    {
        Tree tree = Tree.Adopted(_machine);
        Assert.That(_machine.Do(MmuExtOp.NewBaseptr, tree.L4, vcpu: 1), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.Do(MmuExtOp.NewBaseptr, tree.L4, vcpu: 1), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.Do(MmuExtOp.NewUserBaseptr, _machine[5]), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.TypeOf(tree.L4).Count, Is.EqualTo(3));
        Assert.That(_machine.Mmu.Root(0, userMode: true), Is.EqualTo(_machine[5]));
        Assert.That(_machine.Do(MmuExtOp.NewUserBaseptr, new Mfn(0)), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.TypeOf(_machine[5]).Count, Is.Zero);
        Assert.That(_machine.Do(MmuExtOp.UnpinTable, tree.L4), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.TypeOf(tree.L4), Is.EqualTo((FrameType.L4, 2L)));
        Assert.That(_machine.Do(MmuExtOp.NewBaseptr, new Mfn(0)), Is.EqualTo(XenErrno.EPERM));
        Assert.That(_machine.Mmu.Root(0, userMode: false), Is.EqualTo(tree.L4));
    }

    [Test]
    public void The_old_root_is_dropped_with_all_it_holds_when_it_was_not_pinned()
    {
        Tree tree = Tree.Adopted(_machine);
        _machine.Do(MmuExtOp.UnpinTable, tree.L4);
        Assert.That(_machine.Do(MmuExtOp.NewBaseptr, _machine[5]), Is.EqualTo(XenErrno.Success));
        foreach (Mfn frame in (Mfn[])[tree.L4, tree.L3, tree.L2, tree.L1, _machine[8], _machine[9]])
            Assert.That((_machine.TypeOf(frame).Count, _machine.Table.ReferencesOf(frame)), Is.EqualTo((0L, 0L)));
    }

    [Test]
    public void Clearing_and_copying_change_plain_memory_only()
    {
        Tree tree = Tree.Adopted(_machine);
        _machine.PokeAll(_machine[12], 0x55);
        Assert.That(_machine.Do(MmuExtOp.CopyPage, _machine[13], _machine[12]), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.ReadAll(_machine[13]).SequenceEqual(_machine.ReadAll(_machine[12])), Is.True);
        Assert.That(_machine.Do(MmuExtOp.ClearPage, _machine[12]), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.ReadAll(_machine[12]).ContainsAnyExcept(0UL), Is.False);
        Assert.That(_machine.Do(MmuExtOp.ClearPage, tree.L1), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(_machine.Do(MmuExtOp.CopyPage, tree.L1, _machine[12]), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(_machine.Do(MmuExtOp.CopyPage, _machine[12], Machine.ForeignFrame), Is.EqualTo(XenErrno.EPERM));
        Assert.That(_machine.Do(MmuExtOp.CopyPage, _machine[12], Mfn.None), Is.EqualTo(XenErrno.EPERM));
    }

    [Test]
    public void Other_commands_are_not_implemented_here()
    {
        Assert.That(_machine.Do(MmuExtOp.TlbFlushLocal, _machine[0]), Is.EqualTo(XenErrno.ENOSYS));
        Assert.That(_machine.Do((MmuExtOp)99, _machine[0]), Is.EqualTo(XenErrno.ENOSYS));
    }

    [Test]
    public void Release_leaves_no_type_no_reference_and_no_pin()
    {
        Tree tree = Tree.Adopted(_machine);
        _machine.Do(MmuExtOp.PinL1Table, tree.L1);
        _machine.Do(MmuExtOp.NewUserBaseptr, tree.L4, vcpu: 1);
        _machine.Mmu.AcquireDescriptorFrame(_machine[13]);
        _machine.Mmu.AcquireDescriptorFrame(_machine[13]);
        _machine.Mmu.Release();
        Assert.That(_machine.Table.RequireIdle, Throws.Nothing);
    }
}
