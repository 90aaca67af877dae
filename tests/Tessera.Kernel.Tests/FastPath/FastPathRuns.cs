using Iced.Intel;
using Tessera.Guests;
using Tessera.Sdk;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Kernel.Tests.FastPath;

/// <summary>Hypercalls answered inside the guest: right for those who play by the rules, and deadly for those who do not, alone.</summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.Each))]
[NonParallelizable]
internal sealed class FastPathRuns(string engine)
{
    private TestMachine _machine = null!;

    [SetUp]
    public void StartMachine() => _machine = TestMachine.Start(engine);

    [TearDown]
    public void StopMachine() => _machine?.Dispose();

    [TestCase(FastPathMode.Auto)]
    [TestCase(FastPathMode.Off)]
    public void Paging_finds_nothing_wrong_and_every_count_ends_at_zero(FastPathMode mode)
    {
        using TestMachine machine = TestMachine.Start(engine, fastPaths: mode);
        Domain paging = machine.Run("paging", new PagingOptions { Pages = 16, Rounds = 300 });
        Assert.That(paging.Vcpus[0].Accelerator is not null, Is.EqualTo(mode == FastPathMode.Auto && machine.Machine.Engine.Facts.InterceptsSyscalls));
        machine.WaitForEnd(paging);
        Assert.That((paging.ExitReason, TestMachine.ReportOf(paging).Units), Is.EqualTo(("poweroff", 300UL)), TestMachine.Describe(paging));
        machine.Machine.Destroy(paging);
        Assert.That((paging.HadFalseAccounts, machine.Machine.Frames.AssignedFrames), Is.EqualTo((false, 0L)));
    }

    [Test]
    public void Entries_written_in_ring_3_are_counted_as_by_hypercall()
    {
        OwnTables guest = Own();
        ulong entry = guest.EntryOf(guest.Data + 0x1000), old = guest.Word(entry);
        Mfn frame = PageTableEntry.FrameOf(old);
        (FrameType Type, long Count) before = guest.Domain.Frames.TypeOf(frame);
        guest.Start(code =>
        {
            guest.Update(code, entry, 0);
            guest.Update(code, entry, frame.Address | 0x163);
            code.mov(rbx, rax);
            code.mov(rdx, guest.Data + 0x1000);
            code.mov(rcx, 0x600d_f00d_600d_f00d);
            code.mov(__qword_ptr[rdx], rcx);
            OwnTables.PowerOff(code, guest.Data);
        });
        _machine.WaitForEnd(guest.Domain);
        Assert.That(guest.Domain.ExitReason, Is.EqualTo("poweroff"));
        Assert.That(guest.Own.Adopted, Is.EqualTo(1));
        Assert.That(guest.Domain.Frames.TypeOf(frame), Is.EqualTo(before));
        Assert.That(guest.Word(entry) & ~0x60UL, Is.EqualTo(frame.Address | 0x7), "U is set and G taken away, as by hypercall");
        Assert.That(guest.Word(frame.Address), Is.EqualTo(0x600d_f00d_600d_f00d), "the mapping works");
        DestroyCleanly(guest);
    }

    [TestCase(0x10, TestName = "A cache attribute is left to the VMM, which refuses it")]
    [TestCase(0x1000_0000_0000, TestName = "A frame outside is left to the VMM, which refuses it")]
    public void An_unusual_entry_is_refused(long bits)
    {
        OwnTables guest = Own();
        ulong entry = guest.EntryOf(guest.Data + 0x1000), old = guest.Word(entry);
        guest.Start(code =>
        {
            guest.Update(code, entry, 0);
            guest.Update(code, entry, old ^ (ulong)bits);
            code.mov(rbx, guest.Data);
            code.mov(__qword_ptr[rbx + 0x200], rax);
            OwnTables.PowerOff(code, guest.Data);
        });
        _machine.WaitForEnd(guest.Domain);
        Assert.That(guest.Domain.Mmu.Translate(0, userMode: false, new VirtualAddress(guest.Data), forWriting: false, out ulong data), Is.True);
        Assert.That((long)guest.Word(data + 0x200), Is.Negative);
        Assert.That(guest.Word(entry), Is.Zero);
        Assert.That(guest.Own.Adopted, Is.Zero);
        DestroyCleanly(guest);
    }

    [Test]
    public void A_request_at_an_address_that_is_not_mapped_is_EFAULT()
    {
        OwnTables guest = Own();
        guest.Start(code =>
        {
            foreach (int number in (int[])[(int)Hypercall.MmuUpdate, (int)Hypercall.MmuextOp])
            {
                code.mov(rdi, 0x10);
                code.mov(esi, 1);
                code.xor(edx, edx);
                code.mov(r10d, DomainIds.Self);
                code.mov(eax, number);
                code.syscall();
                code.mov(rbx, guest.Data);
                code.mov(__qword_ptr[rbx + 0x200 + (number * 8)], rax);
            }

            OwnTables.PowerOff(code, guest.Data);
        });
        _machine.WaitForEnd(guest.Domain);
        Assert.That(guest.Domain.ExitReason, Is.EqualTo("poweroff"));
        Assert.That(guest.Domain.Mmu.Translate(0, userMode: false, new VirtualAddress(guest.Data), forWriting: false, out ulong data), Is.True);
        Assert.That((long)guest.Word(data + 0x200 + ((int)Hypercall.MmuUpdate * 8)), Is.EqualTo(-(long)XenErrno.EFAULT));
        Assert.That((long)guest.Word(data + 0x200 + ((int)Hypercall.MmuextOp * 8)), Is.EqualTo(-(long)XenErrno.EFAULT));
        DestroyCleanly(guest);
    }

    [TestCase(1, 0x1000UL, 0x1067UL)]
    [TestCase(1, 0UL, 0UL)]
    [TestCase(1, ulong.MaxValue, ulong.MaxValue)]
    [TestCase(1020, 8UL, 7UL)]
    [TestCase(1025, 0UL, 0UL)]
    [TestCase(-1, 0UL, 0UL)]
    public void A_forged_log_ends_its_domain_and_no_other(int count, ulong address, ulong value)
    {
        Domain spin = _machine.Run("spin"), paging = _machine.Run("paging");
        OwnTables guest = Own();
        guest.Start(code =>
        {
            code.mov(rbx, guest.Fast.GuestAddress(0));
            code.mov(rax, address);
            code.mov(__qword_ptr[rbx + FastPathLayout.Log], rax);
            code.mov(rax, value);
            code.mov(__qword_ptr[rbx + FastPathLayout.Log + 8], rax);
            code.mov(__dword_ptr[rbx + FastPathLayout.LogCount], count);
            OwnTables.PowerOff(code, guest.Data);
        });
        _machine.WaitForEnd(guest.Domain);
        Assert.That(guest.Domain.ExitReason, Does.StartWith("crash: its fast-path log claims"));
        Unharmed(guest, spin, paging);
    }

    [Test]
    public void An_entry_written_for_a_frame_that_is_not_its_own_ends_the_domain_alone()
    {
        Domain spin = _machine.Run("spin"), paging = _machine.Run("paging");
        OwnTables guest = Own();
        Mfn victim = guest.Domain.Memory.ForeignFrame(3);
        ulong entry = guest.EntryOf(guest.Data + 0x1000);
        guest.Start(code =>
        {
            code.mov(rbx, guest.Alias(entry));
            code.mov(rax, victim.Address | 0x67);
            code.mov(__qword_ptr[rbx], rax);
            guest.Update(code, entry, 0);
            OwnTables.PowerOff(code, guest.Data);
        });
        _machine.WaitForEnd(guest.Domain);
        Assert.That(guest.Domain.ExitReason, Does.StartWith("crash: its page tables are not what it was allowed to write"));
        Unharmed(guest, spin, paging);
    }

    [Test]
    public void Tables_that_were_rewritten_in_silence_are_given_back_all_the_same()
    {
        Domain spin = _machine.Run("spin"), paging = _machine.Run("paging");
        OwnTables guest = Own();
        ulong entry = guest.EntryOf(guest.Data + 0x1000);
        guest.Start(code =>
        {
            code.mov(rbx, guest.Alias(entry));
            code.mov(rax, 0x2067);
            code.mov(__qword_ptr[rbx], rax);
            OwnTables.PowerOff(code, guest.Data);
        });
        _machine.WaitForEnd(guest.Domain);
        Unharmed(guest, spin, paging);
        Assert.That(guest.Domain.HadFalseAccounts, Is.True);
    }

    [Test]
    public void Memory_beyond_the_domains_own_is_not_there()
    {
        Domain spin = _machine.Run("spin"), paging = _machine.Run("paging");
        OwnTables guest = Own();
        guest.Start(code =>
        {
            code.mov(rbx, guest.Alias(guest.Domain.Memory.ForeignFrame(1).Address));
            code.mov(__qword_ptr[rbx], rax);
            OwnTables.PowerOff(code, guest.Data);
        });
        _machine.WaitForEnd(guest.Domain);
        Assert.That(guest.Domain.State, Is.EqualTo(DomainState.Crashed));
        Unharmed(guest, spin, paging);
    }

    [Test]
    public void The_frame_map_and_the_code_cannot_be_written()
    {
        OwnTables probe = Own();
        foreach (ulong address in (ulong[])[probe.Fast.MapAddress, probe.Fast.CodeAddress(0)])
        {
            OwnTables guest = Own();
            guest.Start(code =>
            {
                code.mov(rbx, address);
                code.mov(__qword_ptr[rbx], rax);
                OwnTables.PowerOff(code, guest.Data);
            });
            _machine.WaitForEnd(guest.Domain);
            Assert.That(guest.Domain.State, Is.EqualTo(DomainState.Crashed));
            DestroyCleanly(guest);
        }
    }

    [Test]
    public void A_table_that_user_mode_runs_on_never_shows_the_alias()
    {
        OwnTables guest = Own();
        VcpuFastPath own = guest.Own;
        Mfn root = guest.Domain.Mmu.Root(0, userMode: false);
        ulong place = root.Address + ((ulong)guest.Fast.Slot * 8);
        Assert.That((guest.Word(place), own.Root), Is.EqualTo((guest.Fast.RootEntry, root)));

        Assert.That(guest.Domain.Mmu.Extended(0, (uint)MmuExtOp.NewUserBaseptr, root, Mfn.None), Is.EqualTo(XenErrno.Success));
        own.RootChanged(userMode: true);
        Assert.That((guest.Word(place), own.Root), Is.EqualTo((0UL, Mfn.None)), "it is both roots: neither mode has the alias");
        own.RootChanged(userMode: false);
        Assert.That((guest.Word(place), own.Root), Is.EqualTo((0UL, Mfn.None)));

        ulong entry = guest.EntryOf(guest.Data + 0x1000), old = guest.Word(entry);
        guest.Start(code =>
        {
            guest.Update(code, entry, 0);
            guest.Update(code, entry, old);
            OwnTables.PowerOff(code, guest.Data);
        });
        _machine.WaitForEnd(guest.Domain);
        Assert.That((guest.Domain.ExitReason, own.Adopted), Is.EqualTo(("poweroff", 0L)), "without fast paths it goes on as ever");
        DestroyCleanly(guest);
    }

    private OwnTables Own()
    {
        if (!_machine.Machine.Engine.Facts.InterceptsSyscalls)
            Assert.Ignore($"On the engine {engine} hypercalls are not answered inside the guest here.");
        return new OwnTables(_machine);
    }

    private void DestroyCleanly(OwnTables guest)
    {
        _machine.Machine.Destroy(guest.Domain);
        Assert.That(guest.Domain.HadFalseAccounts, Is.False);
    }

    private void Unharmed(OwnTables guest, Domain spin, Domain paging)
    {
        _machine.Machine.Destroy(guest.Domain);
        _machine.WaitForUnits(spin, ReportPage.UnitsOf(spin.ReadReportPage()) + 1000);
        _machine.WaitForUnits(paging, ReportPage.UnitsOf(paging.ReadReportPage()) + 20);
        foreach (Domain other in (Domain[])[spin, paging])
        {
            _machine.Machine.Destroy(other);
            Assert.That(other.HadFalseAccounts, Is.False, other.Name);
        }

        Assert.That(_machine.Machine.Frames.AssignedFrames, Is.Zero);
    }
}
