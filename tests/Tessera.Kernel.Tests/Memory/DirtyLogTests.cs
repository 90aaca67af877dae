using Tessera.Kernel.Memory;
using Tessera.Sdk;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests;

/// <summary>The log has what guest code writes, as the engine says, and whatever the VMM writes into the domain's memory.</summary>
internal sealed class DirtyLogTests
{
    private const int Page = HandDomain.FreePage;
    private HandMachine _machine = null!;
    private HandDomain _guest = null!;
    private DirtyLog _log = null!;
    private ulong[] _bitmap = null!;
    private int[] _always = null!;

    [SetUp]
    public void Power_on()
    {
        _machine = new HandMachine();
        _guest = _machine.Create();
        _log = _guest.Domain.StartLog()!;
        _bitmap = new ulong[_log.Elements];
        _always = Take();
    }

    [TearDown]
    public void Power_off()
    {
        _machine.Machine.Destroy(_guest.Domain);
        _log.Dispose();
        _machine.Dispose();
    }

    [Test]
    public void What_the_VMM_writes_at_any_time_is_always_in_it()
    {
        Assert.That(_always.Select(index => DomainMemory.First + index), Is.EquivalentTo(_guest.Domain.WrittenByVmm));
        Assert.That(Take(), Is.EqualTo(_always));
    }

    [Test]
    public void What_guest_code_writes_is_in_it_once()
    {
        _ = _guest.GuestMachine.Dirty!.Add(_guest.Frame(Page));
        Assert.That(New(), Is.EqualTo(new[] { Page }));
        Assert.That(New(), Is.Empty);
    }

    [Test]
    public void What_the_VMM_writes_once_is_in_it_once_and_the_engine_is_told()
    {
        Assert.That(_guest.Domain.Guest.TryWrite(0, _guest.Address(Page) + 4092, 1UL), Is.True);
        Assert.That(New(), Is.EqualTo(new[] { Page, Page + 1 }));
        Assert.That(New(), Is.Empty);
        Assert.That(_guest.GuestMachine.Written.Keys, Is.SupersetOf(new[] { _guest.Frame(Page), _guest.Frame(Page + 1) }));
    }

    [Test]
    public void What_the_MMU_writes_is_in_it()
    {
        IDomainMmu mmu = _guest.Domain.Mmu;
        int table = (int)(PageTableEntry(Page).Value - DomainMemory.First.Value);
        _guest.Clear(Page);
        Assert.That(New(), Is.EqualTo(new[] { table }));
        Assert.That(mmu.Extended(0, (uint)MmuExtOp.ClearPage, _guest.Frame(Page + 1), Mfn.None), Is.EqualTo(XenErrno.Success));
        Assert.That(mmu.Update(_guest.Frame(Page + 2).Address, 5), Is.EqualTo(XenErrno.Success));
        Assert.That(New(), Is.EqualTo(new[] { Page + 1, Page + 2 }));
    }

    [Test]
    public void A_frame_that_leaves_is_in_it()
    {
        _guest.Domain.Writes.Discard(_guest.Frame(Page), 1);
        Assert.That(New(), Is.EqualTo(new[] { Page }));
    }

    [Test]
    public void A_granted_frame_is_in_it_as_long_as_others_may_write_it_and_once_more()
    {
        HandDomain other = _machine.Create();
        _guest.Grant(9, other.Id, Page);
        MapOperation map = other.MapAt(_guest, 9, Page);
        Assert.That(New(), Is.EqualTo(new[] { Page }));
        Assert.That(New(), Is.EqualTo(new[] { Page }));
        Assert.That(other.Unmap(map.Handle, other.Address(Page)), Is.EqualTo(GrantStatus.Okay));
        Assert.That(New(), Is.EqualTo(new[] { Page }), "written between the last look and its end");
        Assert.That(New(), Is.Empty);
        _machine.Machine.Destroy(other.Domain);
    }

    [Test]
    public void Without_it_nothing_is_noted_and_the_engine_still_told()
    {
        _log.Dispose();
        Assert.That(_guest.GuestMachine.Dirty, Is.Null);
        Assert.That(_guest.Domain.MmuHost.Log, Is.Null);
        Assert.That(_guest.Domain.Writes.Tracker, Is.SameAs(_guest.GuestMachine));
        Assert.That(_guest.Domain.Guest.TryWrite(0, _guest.Address(Page), 1UL), Is.True);
        Assert.That(_guest.GuestMachine.Written.Keys, Does.Contain(_guest.Frame(Page)));
        _log = _guest.Domain.StartLog()!;
        Assert.That(Take(), Is.EqualTo(_always), "a new one begins empty");
    }

    private Mfn PageTableEntry(int page) => Sdk.Cpu.X64.PageTableEntry.FrameOf(_guest.EntryAddress(page));

    /// <summary>The domain's frames in the log, by number, beyond those that always are.</summary>
    private int[] New() => [.. Take().Except(_always)];

    private int[] Take()
    {
        Array.Fill(_bitmap, ulong.MaxValue);
        _log.Take(_bitmap);
        return [.. Enumerable.Range(0, _bitmap.Length * 64).Where(frame => (_bitmap[frame / 64] & (1UL << (frame % 64))) != 0)];
    }
}
