using System.Runtime.InteropServices;
using Tessera.Sdk;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests;

/// <summary>The engine is asked to have every CPU follow before a frame turns into something that no CPU may write, or is gone; and at no other time.</summary>
internal sealed class SynchronizeTests
{
    private const int Page = HandDomain.FreePage;
    private const int ArgumentPage = 500;
    private HandMachine _machine = null!;
    private HandDomain _guest = null!;

    [SetUp]
    public void Power_on()
    {
        _machine = new HandMachine();
        _guest = _machine.Create();
        _guest.GuestMachine.Unfollowed.Clear();
    }

    [TearDown]
    public void Power_off()
    {
        _machine.Machine.Destroy(_guest.Domain);
        _machine.Dispose();
    }

    [Test]
    public void An_update_alone_waits_for_nobody()
    {
        _guest.Clear(Page);
        Assert.That(_guest.GuestMachine.Unfollowed, Is.EqualTo(new[] { _guest.EntryAddress(Page) }));
        Assert.That(_guest.Domain.Mmu.Extended(0, (uint)MmuExtOp.ClearPage, _guest.Frame(Page), Mfn.None), Is.EqualTo(XenErrno.Success));
        Assert.That(_guest.GuestMachine.Unfollowed, Is.Not.Empty);
    }

    [TestCase(MmuExtOp.PinL1Table)]
    [TestCase(MmuExtOp.PinL4Table)]
    public void Before_a_frame_becomes_a_page_table(MmuExtOp pin)
    {
        Empty(Page);
        Assert.That(_guest.Domain.Mmu.Extended(0, (uint)pin, _guest.Frame(Page), Mfn.None), Is.EqualTo(XenErrno.Success));
        Assert.That(_guest.GuestMachine.Unfollowed, Does.Not.Contain(_guest.EntryAddress(Page)));
    }

    [Test]
    public void Before_a_frame_is_plain_memory_again()
    {
        Mfn table = _guest.Frame(Page);
        Empty(Page);
        ulong entry = Domain.Mmu.Root(0, userMode: false).Address;
        Assert.That(Domain.Mmu.Extended(0, (uint)MmuExtOp.PinL3Table, table, Mfn.None), Is.EqualTo(XenErrno.Success));
        Assert.That(Domain.Mmu.Update(entry, table.Address | 0x27), Is.EqualTo(XenErrno.Success));
        Assert.That(Domain.Mmu.Update(entry, 0), Is.EqualTo(XenErrno.Success));
        Assert.That(_guest.GuestMachine.Unfollowed, Is.EqualTo(new[] { entry }), "it is pinned, so it still is a table");
        Assert.That(Domain.Mmu.Extended(0, (uint)MmuExtOp.UnpinTable, table, Mfn.None), Is.EqualTo(XenErrno.Success));
        Assert.That(_guest.GuestMachine.Unfollowed, Is.Empty);
    }

    [Test]
    public void Before_a_frame_becomes_a_descriptor_table()
    {
        Empty(Page);
        Assert.That(Domain.Mmu.AcquireDescriptorFrame(_guest.Frame(Page)), Is.EqualTo(XenErrno.Success));
        Assert.That(_guest.GuestMachine.Unfollowed, Is.Empty);
        Domain.Mmu.ReleaseDescriptorFrame(_guest.Frame(Page));
    }

    [Test]
    public void Before_a_frame_leaves_the_domain()
    {
        _guest.Clear(Page);
        Span<ulong> argument = MemoryMarshal.Cast<byte, ulong>(_guest.Page(ArgumentPage));
        (argument[0], argument[1], argument[2], argument[3]) = (_guest.Address(ArgumentPage) + 64, 1, 0, DomainIds.Self);
        argument[8] = (ulong)_guest.Frame(Page).Value;
        Vcpu vcpu = Domain.Vcpus[0];
        ref GuestCpuState state = ref vcpu.Cpu.State;
        (state.Rax, state.Rdi, state.Rsi) = ((ulong)Hypercall.MemoryOp, (ulong)MemoryOp.DecreaseReservation, _guest.Address(ArgumentPage));
        _ = _machine.Machine.Hypercalls.Run(vcpu, _machine.Pcpu, 2);
        Assert.That((state.Rax, Domain.Balloon.Count), Is.EqualTo((1UL, 1)));
        Assert.That(_guest.GuestMachine.Unfollowed, Is.Empty);
    }

    private Domain Domain => _guest.Domain;

    /// <summary>Empties a page that nothing maps any more.</summary>
    private void Empty(int page)
    {
        _guest.Page(page).Clear();
        _guest.Clear(page);
        Assert.That(_guest.GuestMachine.Unfollowed, Is.Not.Empty);
    }
}
