using Tessera.Kernel.Memory;
using Tessera.Plugins.Memory.DirectPaging;
using Tessera.Sdk;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests;

/// <summary>Frames for tables of the MMU's own: so many and no more, empty when they are taken, and nobody's but the MMU's.</summary>
internal sealed class MmuTablesTests
{
    private const int Most = 5;
    private const int Page = HandDomain.FreePage;
    private const ulong Present = 1;
    private HandMachine _machine = null!;
    private HandDomain _guest = null!;
    private MmuHost _host = null!;

    [SetUp]
    public void Power_on()
    {
        _machine = new HandMachine(mmu: new HasTables());
        _guest = _machine.Create();
        _host = _guest.Domain.MmuHost;
    }

    [TearDown]
    public void Power_off() => _machine.Dispose();

    [Test]
    public void There_are_so_many_and_no_more()
    {
        Mfn[] three = Take(3);
        Assert.That(_host.TryAllocateTables(new Mfn[3]), Is.False, "all or none");
        Mfn[] two = Take(2);
        Assert.That(_host.TryAllocateTables(new Mfn[1]), Is.False);
        Assert.That(three.Concat(two), Is.Unique);
        Assert.That(_host.TryAllocateTables([]), Is.True);
        _host.FreeTables(three);
        Assert.That(Take(3), Is.EquivalentTo(three));
    }

    [Test]
    public void They_lie_between_the_domains_frames_and_those_of_others_that_it_sees()
    {
        DomainMemory memory = _guest.Domain.Memory;
        foreach (Mfn table in Take(Most))
        {
            Assert.That(table.Value, Is.GreaterThan(memory.Last.Value).And.LessThan(memory.ForeignFrame(0).Value));
            Assert.That(table.Value, Is.LessThan(memory.Region.First.Value + memory.Region.Frames), "the engine has them as memory");
        }
    }

    [Test]
    public void They_are_empty_when_they_are_taken_again_and_the_engine_knows()
    {
        Mfn table = Take(1)[0];
        _host.Table(table)[7] = _guest.Frame(Page).Address | Present;
        _host.Table(table)[8] = 2;
        _guest.GuestMachine.Unfollowed.Clear();
        List<ulong> told = [];
        _guest.GuestMachine.Synchronizing = told.AddRange;
        _host.FreeTables([table]);
        Assert.That(told, Is.EqualTo(new[] { table.Address + (7 * sizeof(ulong)) }), "it is told of what was present, and every CPU follows");
        Assert.That(Take(1)[0], Is.EqualTo(table));
        Assert.That(_host.Table(table).ContainsAnyExcept(0UL), Is.False);
    }

    [Test]
    public void What_was_not_taken_is_nobodys()
    {
        Mfn table = Take(1)[0];
        Assert.That(() => _host.FreeTables([table + 1]), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(() => _host.Table(table + 1), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(() => _host.Table(table + Most), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(() => _host.Table(_guest.Domain.Memory.ForeignFrame(0)), Throws.InstanceOf<ArgumentOutOfRangeException>());
        _host.FreeTables([table]);
        Assert.That(() => _host.FreeTables([table]), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(() => _host.Table(table), Throws.InstanceOf<ArgumentOutOfRangeException>());
    }

    [Test]
    public void No_guest_can_name_one()
    {
        Mfn table = Take(1)[0];
        IDomainMmu mmu = _guest.Domain.Mmu;
        Assert.That(_host.Frames.Has(table), Is.False);
        foreach (ulong flags in (ulong[])[Present, Present | 2])
            Assert.That(mmu.UpdateVaMapping(0, new VirtualAddress(_guest.Address(Page)), table.Address | flags), Is.EqualTo(XenErrno.EPERM));
        Assert.That(mmu.Update(mmu.Root(0, userMode: false).Address, table.Address | Present), Is.EqualTo(XenErrno.EINVAL), "as a table below");
        Assert.That(mmu.Update(table.Address, 5), Is.EqualTo(XenErrno.EINVAL));
        foreach (MmuExtOp command in (MmuExtOp[])[MmuExtOp.PinL1Table, MmuExtOp.PinL4Table, MmuExtOp.NewBaseptr, MmuExtOp.NewUserBaseptr, MmuExtOp.ClearPage])
            Assert.That(mmu.Extended(0, (uint)command, table, Mfn.None), Is.EqualTo(XenErrno.EINVAL), $"{command}");
        Assert.That(mmu.Extended(0, (uint)MmuExtOp.CopyPage, _guest.Frame(Page), table), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(mmu.AcquireDescriptorFrame(table), Is.EqualTo(XenErrno.EINVAL));
        Assert.That(_guest.Domain.Writes.TryWrite(table.Address, [1]), Is.False);
        HandDomain other = _machine.Create();
        _guest.Grant(9, other.Id, table.Value);
        Assert.That(other.MapAt(_guest, 9, Page).Status, Is.Not.EqualTo(GrantStatus.Okay));
    }

    [Test]
    public void They_count_against_the_machines_memory_until_the_domain_is_gone()
    {
        long with = _machine.Machine.Frames.AssignedFrames;
        Assert.That(with, Is.EqualTo(DomainMemory.FramesFor(_guest.Domain.Memory.RamFrames) + Most));
        _machine.Machine.Destroy(_guest.Domain);
        Assert.That(_machine.Machine.Frames.AssignedFrames, Is.Zero);
    }

    [Test]
    public void An_MMU_that_keeps_one_is_named_when_its_domain_is_gone()
    {
        _ = Take(1);
        Assert.That(() => _machine.Machine.Destroy(_guest.Domain), Throws.InvalidOperationException.With.Message.Contains("did not give back 1 of its tables"));
        Assert.That(_machine.Machine.Frames.AssignedFrames, Is.Zero);
    }

    private Mfn[] Take(int count)
    {
        Mfn[] tables = new Mfn[count];
        Assert.That(_host.TryAllocateTables(tables), Is.True);
        return tables;
    }

    /// <summary>Direct paging, with tables of its own that only the test takes.</summary>
    private sealed class HasTables : IMmuVirtualization
    {
        public long TableFrames(long frames) => Most;

        public IDomainMmu Attach(IMmuHost host) => new DirectPaging().Attach(host);
    }
}
