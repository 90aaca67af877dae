using Tessera.Memory.Tests.Support;
using Tessera.Sdk;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;
using static Tessera.Sdk.Conformance.Memory.Entry;

namespace Tessera.Memory.Tests;

/// <summary>A guest chooses how much hangs below a table: nothing that it asks for may take longer than a fixed number of entries at a stretch.</summary>
[TestFixture]
internal sealed class PreemptionTests
{
    private const int Entries = MmuLimits.EntriesAtOnce;

    // An entry changes two accounts at most: its target's, and its own table's with the last entry. The rest is the operation's own.
    private const int Bound = Entries + 32;

    private static readonly IReadOnlyDictionary<Mfn, int> None = new Dictionary<Mfn, int>();

    private Machine _machine = null!;
    private IDomainMmu _mmu = null!;
    private Tree _tree = null!;

    [SetUp]
    public void Power_on()
    {
        _machine = new Machine();
        _mmu = _machine.Mmu.Raw;
        _tree = Tree.Adopted(_machine);
    }

    [Test]
    public void An_update_that_links_or_unlinks_is_done_in_stretches([Values(2, 3, 4)] int level)
    {
        Mfn table = level switch { 4 => _tree.L4, 3 => _tree.L3, _ => _tree.L2 };
        Mfn below = BuildWide(level - 1);
        for (int round = 0; round < 3; round++)
        {
            foreach (ulong entry in (ulong[])[below.Address | P | RW, 0])
            {
                while (Stretch(() => _mmu.Update(Machine.Address(table, 300), entry)) == XenErrno.ERESTART)
                {
                    Assert.That(_machine.Read(table, 300), Is.Zero, "not before the table is good");
                    Finish();
                }

                Assert.That(_machine.Read(table, 300) & ~U, Is.EqualTo(entry));
                Finish();
            }
        }

        Recount.Check(_machine, new Dictionary<Mfn, int> { [_tree.L4] = 4 }, None);
    }

    [Test]
    public void A_long_validation_that_fails_tells_so_once_and_leaves_nothing()
    {
        Mfn root = BuildWide(4);
        _machine.Poke(_machine[23], 511, Machine.ForeignFrame.Address | P);
        Assert.That(Do(MmuExtOp.PinL4Table, root), Is.EqualTo(XenErrno.ERESTART));
        Finish();
        Recount.Check(_machine, new Dictionary<Mfn, int> { [_tree.L4] = 4 }, None);
        Assert.That(Do(MmuExtOp.PinL4Table, root), Is.EqualTo(XenErrno.EPERM));
        _machine.Poke(_machine[23], 511, 0);
        Assert.That(_machine.Do(MmuExtOp.PinL4Table, root), Is.EqualTo(XenErrno.Success), "the next one looks again");
        Recount.Check(_machine, new Dictionary<Mfn, int> { [_tree.L4] = 4, [root] = 4 }, None);
    }

    [Test]
    public void A_validation_that_nobody_asks_for_again_is_forgotten_with_the_next_long_one()
    {
        Mfn root = BuildWide(4);
        Assert.That(Do(MmuExtOp.PinL4Table, root), Is.EqualTo(XenErrno.ERESTART));
        Finish();
        Assert.That(_machine.TypeOf(root), Is.EqualTo((FrameType.L4, 1L)));
        Assert.That(_machine.Do(MmuExtOp.PinL1Table, _machine[30]), Is.EqualTo(XenErrno.Success), "a short one does not care");
        Assert.That(_machine.TypeOf(root), Is.EqualTo((FrameType.L4, 1L)));
        Mfn other = Build(4, [11, 12, 13, 14, 15], [16, 4, 5]);
        Assert.That(_machine.Do(MmuExtOp.PinL4Table, other), Is.EqualTo(XenErrno.Success));
        Assert.That(_machine.TypeOf(root), Is.EqualTo((FrameType.None, 0L)));
        Recount.Check(_machine, new Dictionary<Mfn, int> { [_tree.L4] = 4, [_machine[30]] = 1, [other] = 4 }, None);
    }

    // A table of this level with eight full L1 tables below it: with one of level 4, eleven full tables.
    private Mfn BuildWide(int level) => Build(level, [20, 21, 22, 23, 24, 25, 26, 27], [17, 18, 19]);

    private Mfn Build(int level, int[] tables, int[] above)
    {
        foreach (int table in tables)
        {
            for (int index = 0; index < 512; index++)
                _machine.Poke(_machine[table], index, _machine[10].Address | P);
        }

        Mfn below = _machine[tables[0]];
        for (int up = 2; up <= level; up++)
        {
            Mfn table = _machine[above[up - 2]];
            _machine.PokeAll(table, 0);
            for (int index = 0; index < 512; index++)
                _machine.Poke(table, index, (up == 2 ? _machine[tables[index % tables.Length]] : below).Address | P | RW);
            below = table;
        }

        return below;
    }

    private XenErrno Do(MmuExtOp command, Mfn frame) => _mmu.Extended(0, (uint)command, frame, Mfn.None);

    private T Stretch<T>(Func<T> what)
    {
        int before = _machine.Counting.Changes;
        T answer = what();
        Assert.That(_machine.Counting.Changes - before, Is.LessThanOrEqualTo(Bound));
        return answer;
    }

    private void Finish()
    {
        while (!Stretch(() => _mmu.Work(Entries)))
        {
        }
    }
}
