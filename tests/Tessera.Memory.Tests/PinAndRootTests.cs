using Tessera.Memory.Tests.Support;
using Tessera.Sdk;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;
using static Tessera.Sdk.Conformance.Memory.Entry;

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
    public void A_failed_pin_rolls_back_every_level()
    {
        Tree tree = new(_machine);
        _machine.Poke(tree.L4, 511, Machine.ForeignFrame.Address | P);
        Assert.That(_machine.Do(MmuExtOp.PinL4Table, tree.L4), Is.EqualTo(XenErrno.EINVAL));
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
        Assert.That(_machine.Do(MmuExtOp.NewBaseptr, new Mfn(0)), Is.EqualTo(XenErrno.EINVAL));
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

}
