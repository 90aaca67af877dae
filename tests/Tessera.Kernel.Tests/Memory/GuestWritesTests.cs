using System.Runtime.InteropServices;
using Tessera.Kernel.Traps;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests;

/// <summary>Whatever the VMM writes into a domain's memory goes through one door: never into a table, and the engine is told.</summary>
internal sealed class GuestWritesTests
{
    private const byte Cli = 0xFA;
    private const int Hot = 65;
    private const int Page = HandDomain.FreePage;
    private const int ArgumentPage = 500;
    private HandMachine _machine = null!;
    private HandDomain _guest = null!;

    [SetUp]
    public void Power_on()
    {
        _machine = new HandMachine();
        _guest = _machine.Create();
        // Without the level a kernel's `cli` is an ordinary #GP.
        MemoryMarshal.Write(_guest.Page(ArgumentPage), 1u);
        Vcpu vcpu = _guest.Domain.Vcpus[0];
        ref GuestCpuState state = ref vcpu.Cpu.State;
        (state.Rax, state.Rdi, state.Rsi) = ((ulong)Hypercall.PhysdevOp, (ulong)PhysdevOp.SetIopl, _guest.Address(ArgumentPage));
        _ = _machine.Machine.Hypercalls.Run(vcpu, _machine.Pcpu, 2);
        Assert.That(state.Rax, Is.Zero);
    }

    [TearDown]
    public void Everything_ends_with_the_domain()
    {
        HandGuestMachine engine = _guest.GuestMachine;
        _machine.Machine.Destroy(_guest.Domain);
        long left = _machine.Machine.Frames.AssignedFrames;
        _machine.Dispose();
        Assert.That((left, engine.Open.Count), Is.EqualTo((0L, 0)));
    }

    [Test]
    public void A_hot_instruction_in_a_page_table_is_not_patched()
    {
        _guest.MakeTable(Page);
        ulong entry = _guest.Frame(Page + 1).Address | 0x25 | ((ulong)Cli << 56);
        Assert.That(_guest.Domain.Mmu.Update(_guest.Frame(Page).Address, entry), Is.EqualTo(XenErrno.Success));
        Execute(_guest.Address(Page) + 7);
        Assert.That(_guest.Domain.MmuHost.Table(_guest.Frame(Page))[0], Is.EqualTo(entry));
        Assert.That(_guest.GuestMachine.Written, Does.Not.ContainKey(_guest.Frame(Page)));
    }

    [Test]
    public void A_hot_instruction_in_a_descriptor_table_is_not_patched()
    {
        _guest.Page(Page).Clear();
        _guest.Page(Page)[0] = Cli;
        Assert.That(_guest.Domain.Mmu.UpdateVaMapping(0, new VirtualAddress(_guest.Address(Page)), _guest.Frame(Page).Address | 0x21), Is.EqualTo(XenErrno.Success));
        Assert.That(_guest.Domain.Mmu.AcquireDescriptorFrame(_guest.Frame(Page)), Is.EqualTo(XenErrno.Success));
        Execute(_guest.Address(Page));
        Assert.That(_guest.Page(Page)[0], Is.EqualTo(Cli));
        _guest.Domain.Mmu.ReleaseDescriptorFrame(_guest.Frame(Page));
    }

    [Test]
    public void A_hot_instruction_in_code_is_patched_and_the_engine_told()
    {
        _guest.Page(Page)[9] = Cli;
        Execute(_guest.Address(Page) + 9);
        Assert.That((_guest.Page(Page)[9], _guest.GuestMachine.Written[_guest.Frame(Page)]), Is.EqualTo(((byte)0x90, 1)));
        Assert.That(_guest.Domain.Frames.TypeOf(_guest.Frame(Page)), Is.EqualTo((FrameType.Writable, 1L)), "only the guest's own mapping is left");
    }

    [Test]
    public void An_answer_is_told_and_never_lands_in_a_table()
    {
        Assert.That(_guest.Domain.Guest.TryWrite(0, _guest.Address(Page) + 4092, 1UL), Is.True);
        Assert.That(_guest.GuestMachine.Written.Keys, Is.SupersetOf(new[] { _guest.Frame(Page), _guest.Frame(Page + 1) }));
        _guest.MakeTable(Page + 2);
        Assert.That(_guest.Domain.Guest.TryWrite(0, _guest.Address(Page + 2), 1UL), Is.False);
        Assert.That(_guest.Domain.Writes.TryWrite(_guest.Frame(Page + 2).Address, [1]), Is.False);
    }

    [Test]
    public void Pages_that_the_VMM_shares_are_open_as_long_as_the_domain_lives()
    {
        Domain domain = _guest.Domain;
        Mfn[] shared = [domain.Memory.SharedInfoFrame, domain.Memory.GrantFrame(0), domain.Memory.GrantFrame(31), domain.Memory.GrantStatusFrame(0)];
        Assert.That(_guest.GuestMachine.Open.Keys, Is.SupersetOf(shared));
        Assert.That(_guest.GuestMachine.Open, Has.Count.EqualTo(domain.WrittenByVmm.Count));
    }

    [Test]
    public void A_grant_for_writing_opens_its_frame_and_ends()
    {
        HandDomain other = _machine.Create();
        _guest.Grant(9, other.Id, Page);
        int open = _guest.GuestMachine.Open.Count;
        MapOperation map = other.MapAt(_guest, 9, Page);
        Assert.That(_guest.GuestMachine.Open[_guest.Frame(Page)], Is.EqualTo(1));
        Assert.That(other.Unmap(map.Handle, other.Address(Page)), Is.EqualTo(GrantStatus.Okay));
        Assert.That(_guest.GuestMachine.Open, Has.Count.EqualTo(open));
        _machine.Machine.Destroy(other.Domain);
    }

    [Test]
    public void What_the_MMU_writes_into_plain_memory_is_told()
    {
        IDomainMmu mmu = _guest.Domain.Mmu;
        Assert.That(mmu.Extended(0, (uint)MmuExtOp.ClearPage, _guest.Frame(Page), Mfn.None), Is.EqualTo(XenErrno.Success));
        Assert.That(mmu.Extended(0, (uint)MmuExtOp.CopyPage, _guest.Frame(Page + 1), _guest.Frame(Page)), Is.EqualTo(XenErrno.Success));
        Assert.That(mmu.Update(_guest.Frame(Page + 2).Address, 5), Is.EqualTo(XenErrno.Success));
        Assert.That(_guest.GuestMachine.Written.Keys, Is.SupersetOf(new[] { _guest.Frame(Page), _guest.Frame(Page + 1), _guest.Frame(Page + 2) }));
    }

    private void Execute(ulong address)
    {
        InstructionEmulator emulator = new();
        Vcpu vcpu = _guest.Domain.Vcpus[0];
        for (int time = 0; time < Hot; time++)
        {
            vcpu.Cpu.State.Rip = address;
            Assert.That(emulator.TryPrivileged(vcpu, _machine.Machine.Cpuid), Is.True);
        }
    }
}
