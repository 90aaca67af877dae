using Tessera.Memory.Tests.Support;
using Tessera.Sdk;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;
using static Tessera.Sdk.Conformance.Memory.Entry;

namespace Tessera.Memory.Tests;

/// <summary>Entries that the guest's side wrote itself and that are accounted for afterwards, or refused.</summary>
[TestFixture]
internal sealed class AdoptionTests
{
    private Machine _machine = null!;
    private Tree _tree = null!;

    private IAdoptsEntries Adopter => (IAdoptsEntries)_machine.Mmu.Raw;

    [SetUp]
    public void Boot()
    {
        _machine = new Machine();
        _tree = Tree.Adopted(_machine);
    }

    [TestCase(P | U | RW, FrameType.Writable, 1L, 0L)]
    [TestCase(P | U, FrameType.None, 0L, 1L)]
    [TestCase(P | U | RW | A | D | NX, FrameType.Writable, 1L, 0L)]
    public void A_good_entry_is_counted_and_dropped_as_by_hypercall(ulong flags, FrameType type, long count, long references)
    {
        ulong entry = _machine[10].Address | flags;
        _machine.Poke(_tree.L1, 5, entry);
        Assert.That(Adopter.TryAdopt(Machine.Address(_tree.L1, 5), entry), Is.True);
        Assert.That((_machine.TypeOf(_machine[10]), _machine.Table.ReferencesOf(_machine[10])), Is.EqualTo(((type, count), references)));
        Check();
        Assert.That(_machine.Write(_tree.L1, 5, 0), Is.EqualTo(XenErrno.Success));
        Check();
    }

    [Test]
    public void The_CPU_may_have_used_the_entry_meanwhile()
    {
        _machine.Poke(_tree.L1, 5, _machine[10].Address | P | U | RW | A | D);
        Assert.That(Adopter.TryAdopt(Machine.Address(_tree.L1, 5), _machine[10].Address | P | U | RW), Is.True);
    }

    [Test]
    public void A_level_1_table_can_be_linked_once_it_is_one()
    {
        ulong entry = _machine[11].Address | P | U | RW;
        _machine.Poke(_tree.L2, 7, entry);
        Assert.That(Adopter.TryAdopt(Machine.Address(_tree.L2, 7), entry), Is.False, "it was never validated");
        Assert.That(_machine.TypeOf(_machine[11]).Count, Is.Zero);
        Assert.That(_machine.Do(MmuExtOp.PinL1Table, _machine[11]), Is.EqualTo(XenErrno.Success));
        Assert.That(Adopter.TryAdopt(Machine.Address(_tree.L2, 7), entry), Is.True);
        Check((_machine[11], 1));
    }

    [Test]
    public void What_an_update_would_have_refused_or_memory_does_not_hold_is_refused()
    {
        ulong good = _machine[10].Address | P | U | RW;
        (ulong Written, ulong Claimed)[] bad =
        [
            (good, good ^ 0x1000), (good, good ^ RW), (0, good), (good & ~U, good & ~U), (good | G, good | G), (good | PCD, good | PCD), (good | PSE, good | PSE),
            (Machine.ForeignFrame.Address | P | U, Machine.ForeignFrame.Address | P | U), (_tree.L1.Address | P | U | RW, _tree.L1.Address | P | U | RW), (0, 0),
        ];
        foreach ((ulong written, ulong claimed) in bad)
        {
            _machine.Poke(_tree.L1, 5, written);
            Assert.That(Adopter.TryAdopt(Machine.Address(_tree.L1, 5), claimed), Is.False, $"{written:x} {claimed:x}");
        }

        _machine.Poke(_tree.L1, 5, 0);
        _machine.Poke(_machine[12], 5, good);
        ulong[] places = [Machine.Address(_machine[12], 5), Machine.Address(_tree.L3, 5), Machine.Address(_tree.L4, 5), Machine.Address(Machine.ForeignFrame, 0), ulong.MaxValue, Machine.Address(_tree.L1, 5) + 4];
        foreach (ulong place in places)
            Assert.That(Adopter.TryAdopt(place, good), Is.False, $"{place:x}");
        Check();
    }

    [Test]
    public void An_entry_that_was_never_accepted_and_leads_outside_touches_no_accounts()
    {
        _machine.Poke(_tree.L1, 5, Machine.ForeignFrame.Address | P | U | RW);
        int before = _machine.Counting.Changes;
        Assert.That(() => _machine.Write(_tree.L1, 5, 0), Throws.TypeOf<TamperedTablesException>());
        Assert.That(_machine.Counting.Changes, Is.EqualTo(before));
    }

    private void Check(params ReadOnlySpan<(Mfn Frame, int Level)> pins)
    {
        Dictionary<Mfn, int> all = new() { [_tree.L4] = 4 };
        foreach ((Mfn frame, int level) in pins)
            all[frame] = level;
        Recount.Check(_machine, all, new Dictionary<Mfn, int>());
    }
}
