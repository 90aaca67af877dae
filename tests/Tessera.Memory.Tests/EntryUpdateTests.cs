using Tessera.Memory.Tests.Support;
using Tessera.Sdk;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;
using static Tessera.Sdk.Conformance.Memory.Entry;

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
    public void Linear_mappings_of_tables_are_refused()
    {
        Assert.That(_machine.Write(_tree.L4, 5, _tree.L4.Address | P), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(_machine.Write(_tree.L3, 5, _tree.L3.Address | P), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(_machine.Write(_tree.L2, 5, _tree.L4.Address | P), Is.EqualTo(XenErrno.EINVAL));
    }

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
}
