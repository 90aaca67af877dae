using Tessera.Memory.Tests.Support;
using Tessera.Sdk;
using Tessera.Sdk.Xen;
using static Tessera.Memory.Tests.Support.Entry;

namespace Tessera.Memory.Tests;

[TestFixture]
internal sealed class WalkTests
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
    public void An_address_translates_to_its_byte()
    {
        Assert.That(_machine.Mmu.Translate(0, userMode: false, Tree.Page(0, 0x123), forWriting: true, out ulong machine), Is.True);
        Assert.That(machine, Is.EqualTo(_machine[8].Address + 0x123));
    }

    [Test]
    public void Writing_needs_the_writable_bit_at_every_level()
    {
        Assert.That(_machine.Mmu.Translate(0, userMode: false, Tree.Page(1), forWriting: false, out _), Is.True);
        Assert.That(_machine.Mmu.Translate(0, userMode: false, Tree.Page(1), forWriting: true, out _), Is.False);
        _machine.Write(_tree.L3, 0, _tree.L2.Address | P);
        Assert.That(_machine.Mmu.Translate(0, userMode: false, Tree.Page(0), forWriting: false, out _), Is.True);
        Assert.That(_machine.Mmu.Translate(0, userMode: false, Tree.Page(0), forWriting: true, out _), Is.False);
    }

    [TestCase(0xFFFF_8880_0000_3000UL, Description = "not present at level 1")]
    [TestCase(0xFFFF_8880_0020_0000UL, Description = "not present at level 2")]
    [TestCase(0x0000_0000_0000_0000UL, Description = "not present at level 4")]
    [TestCase(0x0000_8880_0000_0000UL, Description = "not canonical")]
    [TestCase(0xFFFF_8080_0000_0000UL, Description = "a VMM slot")]
    [TestCase(0xFFFF_8700_0000_0000UL, Description = "a VMM slot")]
    public void What_is_not_mapped_does_not_translate(ulong address) =>
        Assert.That(_machine.Mmu.Translate(0, userMode: false, new VirtualAddress(address), forWriting: false, out _), Is.False);

    [Test]
    public void Each_mode_walks_its_own_root()
    {
        Assert.That(_machine.Mmu.Translate(0, userMode: true, Tree.Page(0), forWriting: false, out _), Is.False);
        _machine.Do(MmuExtOp.NewUserBaseptr, _tree.L4);
        Assert.That(_machine.Mmu.Translate(0, userMode: true, Tree.Page(0), forWriting: false, out _), Is.True);
    }

    [Test]
    public void The_entry_of_an_address_is_found_whether_or_not_it_is_present()
    {
        Assert.That(_machine.Mmu.FindEntry(0, Tree.Page(77), out ulong entry), Is.True);
        Assert.That(entry, Is.EqualTo(Machine.Address(_tree.L1, 77)));
        Assert.That(_machine.Mmu.FindEntry(0, Tree.Page(512), out _), Is.False);
        Assert.That(_machine.Mmu.FindEntry(1, Tree.Page(0), out _), Is.False);
        Assert.That(_machine.Mmu.FindEntry(0, new VirtualAddress(0xFFFF_8080_0000_0000), out _), Is.False);
    }
}
