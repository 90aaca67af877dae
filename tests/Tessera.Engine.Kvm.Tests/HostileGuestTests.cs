using Iced.Intel;
using Tessera.Plugins.Cpu.Kvm;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Kvm.Tests;

[TestFixture]
internal sealed class HostileGuestTests : EngineFixture
{
    private const byte Port = EngineArea.Port;

    private ulong Slot(EngineGuest guest) => (ulong)((long)((ulong)guest.Machine.RootEntries[0].Slot << 55) >> 16);

    [TestCase("in")]
    [TestCase("outs")]
    [TestCase("rep outs")]
    public void Other_accesses_to_the_port_do_nothing_but_run_on_or_fault(string access) => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        guest.Assemble(code =>
        {
            code.mov(edx, (int)Port);
            code.mov(rsi, EngineGuest.Data);
            code.mov(ecx, 2);
            if (access == "in")
                code.@in(al, dx);
            else if (access == "outs")
                code.outsb();
            else
                code.rep.outsb();
            code.mov(ebp, 0x600d);
            guest.Hypercall(code);
        });
        Trap trap = guest.Run(thread);
        // Each byte of a string output may look like a hypercall: the guest asked for one, and goes on when resumed.
        for (int bytes = 0; bytes < 2 && trap.Kind == TrapKind.Hypercall && guest.State.Rbp != 0x600d; bytes++)
            trap = guest.Run(thread);
        Assert.That(trap.Kind, Is.AnyOf(TrapKind.Hypercall, TrapKind.Exception), trap.Diagnosis);
        if (trap.Kind == TrapKind.Hypercall)
            Assert.That(guest.State.Rbp, Is.EqualTo(0x600d));
    });

    [TestCase("outWide")]
    [TestCase("outOther")]
    [TestCase("inOther")]
    [TestCase("outFar")]
    public void Other_ports_and_wider_accesses_are_protection_faults(string access) => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        guest.Assemble(code =>
        {
            code.mov(edx, access == "outFar" ? 0xfff0 : Port + (access == "outWide" ? 0 : 1));
            switch (access)
            {
                case "outWide": code.@out(dx, eax); break;
                case "inOther": code.@in(al, dx); break;
                default: code.@out(dx, al); break;
            }

            code.nop();
        });
        Trap trap = guest.Run(thread);
        Assert.That((trap.Kind, trap.Vector, trap.ErrorCode), Is.EqualTo((TrapKind.Exception, (byte)13, 0u)), trap.Diagnosis);
        Assert.That(guest.State.Rip, Is.EqualTo(EngineGuest.Code + 5));
    });

    [Test]
    public void Jumping_to_the_syscall_stub_is_a_syscall_and_elsewhere_in_it_an_exception() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        ulong stub = SyscallStub(guest);
        guest.State.Rip = stub;
        guest.State.Rcx = EngineGuest.Code + 0x40;
        guest.State.R11 = 0xffffffffffffffff;
        Trap trap = guest.Run(thread);
        Assert.That((trap.Kind, guest.State.Rip), Is.EqualTo((TrapKind.Syscall, EngineGuest.Code + 0x40)), trap.Diagnosis);

        guest.Assemble(code => guest.Hypercall(code));
        guest.State.Rip = EngineGuest.Code;
        Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall), "flags of nonsense are cut to what ring 3 may have");
        Assert.That(guest.State.Rflags & 0x3000, Is.Zero, "no I/O privilege");

        for (int offset = 1; offset < 64; offset++)
        {
            guest.State.Rip = stub + (ulong)offset;
            guest.State.Rflags = 2;
            trap = guest.Run(thread);
            // The stub of 32-bit calls is no call unless the processor came there in ring 0: only an `out` like any other.
            Assert.That(trap.Kind, Is.EqualTo(offset == EngineArea.CompatSyscallStub ? TrapKind.Hypercall : TrapKind.Exception), $"offset {offset}: {trap.Diagnosis}");
        }
    });

    [Test]
    public void Nothing_else_of_the_engines_slot_can_be_read_written_or_run() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        ulong stub = SyscallStub(guest);
        guest.Assemble(code =>
        {
            code.mov(__qword_ptr[rbx], rax);
            guest.Hypercall(code);
        });
        guest.Assemble(
            code =>
            {
                code.mov(rax, __qword_ptr[rbx]);
                guest.Hypercall(code);
            },
            0x100);
        // The fixed frames, a CPU's descriptor tables and system page, and the alias of memory.
        for (int page = 0; page < 600; page++)
        {
            ulong address = Slot(guest) + ((ulong)page * 4096) + (page >= 560 ? 1UL << 30 : 0);
            foreach ((int offset, bool execute) in ((int, bool)[])[(0, false), (0x100, false), (0, true)])
            {
                if (address == (stub & ~0xfffUL) && offset != 0)
                    continue;
                if (address == (stub & ~0xfffUL) && execute)
                    continue;
                // Where `syscall` may be sent elsewhere: its jumps and their targets are read-only to the guest.
                EngineArea area = ((KvmMachine)guest.Machine).Area;
                if ((area.IsRedirectedEntry(address) || area.IsRedirectedEntry(address - 4096)) && (offset != 0 || execute))
                    continue;
                guest.State.Rip = execute ? address : EngineGuest.Code + (ulong)offset;
                guest.State.Rbx = address;
                Trap trap = guest.Run(thread);
                Assert.That((trap.Kind, trap.Vector), Is.EqualTo((TrapKind.Exception, (byte)14)), $"{address:x} {offset} {execute} {trap.Diagnosis}");
                Assert.That(trap.FaultAddress, Is.EqualTo(address));
            }
        }
    });

    [Test]
    public void An_address_that_is_not_canonical_is_a_protection_fault() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        guest.State.Rip = 0x8000_0000_0000;
        Trap trap = guest.Run(thread);
        Assert.That((trap.Kind, trap.Vector), Is.EqualTo((TrapKind.Exception, (byte)13)));
        guest.State.FsBase = 0x1234_8000_0000_0000;
        guest.State.Rip = EngineGuest.Code;
        guest.Assemble(code => guest.Hypercall(code));
        Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
    });

    [TestCase(0x80)]
    [TestCase(0x20)]
    [TestCase(0xe)]
    [TestCase(8)]
    public void Software_interrupts_are_exceptions(int number) => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        guest.Assemble(code => code.@int((byte)number));
        Trap trap = guest.Run(thread);
        Assert.That(trap.Kind, Is.EqualTo(TrapKind.Exception), trap.Diagnosis);
        Assert.That(trap.Vector, Is.EqualTo(6).Or.EqualTo(13).Or.EqualTo(11));
        Assert.That(guest.State.Rip, Is.EqualTo(EngineGuest.Code));
    });

    [Test]
    public void No_stack_at_all_does_not_hurt_the_engine() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        guest.Assemble(code => code.ud2());
        foreach (ulong stack in (ulong[])[0, 0xffff_ffff_ffff_ffff, 0x8000_0000_0000, Slot(guest) + 0x5000])
        {
            guest.State.Rsp = stack;
            guest.State.Rip = EngineGuest.Code;
            Trap trap = guest.Run(thread);
            Assert.That((trap.Kind, trap.Vector), Is.EqualTo((TrapKind.Exception, (byte)6)), trap.Diagnosis);
            Assert.That(guest.State.Rsp, Is.EqualTo(stack));
        }
    });

    [Test]
    public void Random_bytes_as_code_never_get_out() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        const int Seed = 20260711;
        TestContext.Out.WriteLine($"seed {Seed}");
        Random random = new(Seed);
        byte[] bytes = new byte[512];
        GuestCpuState start = guest.State;
        for (int round = 0; round < 300; round++)
        {
            random.NextBytes(bytes);
            guest.Assemble(code => code.db(bytes));
            GuestCpuState state = start;
            state.Rcx = (ulong)random.NextInt64();
            state.R11 = (ulong)random.NextInt64();
            state.Rdx = Port;
            guest.State = state;
            for (int step = 0; step < 4; step++)
            {
                Trap trap = guest.Run(thread, milliseconds: 2);
                Assert.That(trap.Kind, Is.Not.EqualTo(TrapKind.Fatal), $"round {round}: {trap.Diagnosis}");
                guest.State.Rip = EngineGuest.Code + (ulong)random.Next(512);
            }
        }
    });

    /// <summary>Where `syscall` goes, learnt as a guest would: the one page of the slot that it can read.</summary>
    private static ulong SyscallStub(EngineGuest guest) => ((KvmMachine)guest.Machine).Area.SyscallEntry;
}
