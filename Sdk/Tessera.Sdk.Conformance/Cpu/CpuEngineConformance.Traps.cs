using Iced.Intel;
using NUnit.Framework;
using Tessera.Sdk.Cpu;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Sdk.Conformance.Cpu;

// Every kind of trap, with the state it leaves.
public abstract partial class CpuEngineConformance
{
    /// <summary>A hypercall instruction traps after itself and keeps every register.</summary>
    [Test]
    public void A_hypercall_instruction_traps_after_itself_and_keeps_every_register() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        guest.Assemble(code =>
        {
            code.mov(rax, 0x1122334455667788UL);
            code.mov(r15, 0xfedcba9876543210UL);
            guest.Hypercall(code);
            code.add(rax, r15);
            guest.Hypercall(code);
        });
        Trap trap = guest.Run(thread);
        Assert.That(trap.Kind, Is.EqualTo(TrapKind.Hypercall), trap.Diagnosis);
        Assert.That(guest.State.Rip, Is.EqualTo(EngineGuest.Code + 22));
        Assert.That(guest.State.Rax, Is.EqualTo(0x1122334455667788UL));
        Assert.That(guest.State.R15, Is.EqualTo(0xfedcba9876543210UL));
        guest.State.R15 = 1;
        trap = guest.Run(thread);
        Assert.That(trap.Kind, Is.EqualTo(TrapKind.Hypercall));
        Assert.That(guest.State.Rax, Is.EqualTo(0x1122334455667789UL));
    });

    /// <summary>A syscall traps with the caller's rip and flags.</summary>
    [Test]
    public void A_syscall_traps_with_the_callers_rip_and_flags() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        guest.Assemble(code =>
        {
            code.stc();
            code.std();
            code.syscall();
            code.setc(bl);
            code.syscall();
        });
        Trap trap = guest.Run(thread);
        Assert.That(trap.Kind, Is.EqualTo(TrapKind.Syscall), trap.Diagnosis);
        Assert.That(guest.State.Rip, Is.EqualTo(EngineGuest.Code + 4));
        Assert.That(guest.State.Rflags & 0x401, Is.EqualTo(0x401), "carry and direction");
        Assert.That(guest.State.Cs, Is.EqualTo(0xe033));
        Assert.That(guest.State.Ss, Is.EqualTo(0xe02b));
        trap = guest.Run(thread);
        Assert.That(trap.Kind, Is.EqualTo(TrapKind.Syscall));
        Assert.That(guest.State.Rbx & 0xff, Is.EqualTo(1));
    });

    /// <summary>A page fault says where and how and goes on when mapped.</summary>
    [Test]
    public void A_page_fault_says_where_and_how_and_goes_on_when_mapped() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        int entry = EngineGuest.EntryOf(EngineGuest.Data);
        ulong mapped = guest.Words(EngineGuest.L1)[entry];
        guest.Words(EngineGuest.L1)[entry] = 0;
        guest.Assemble(code =>
        {
            code.mov(rbx, EngineGuest.Data + 0x128);
            code.mov(__qword_ptr[rbx], rbx);
            guest.Hypercall(code);
        });
        Trap trap = guest.Run(thread);
        Assert.That(trap.Kind, Is.EqualTo(TrapKind.Exception), trap.Diagnosis);
        Assert.That(trap.Vector, Is.EqualTo(14));
        Assert.That(trap.ErrorCode, Is.EqualTo(6), "user, write, not present");
        Assert.That(trap.FaultAddress, Is.EqualTo(EngineGuest.Data + 0x128));
        Assert.That(guest.State.Rip, Is.EqualTo(EngineGuest.Code + 10));
        Assert.That(guest.State.Rsp, Is.EqualTo(EngineGuest.StackTop));
        Assert.That(guest.State.Cs, Is.EqualTo(0xe033));
        guest.Change(EngineGuest.L1, entry, mapped);
        trap = guest.Run(thread);
        Assert.That(trap.Kind, Is.EqualTo(TrapKind.Hypercall), trap.Diagnosis);
        Assert.That(guest.Words(EngineGuest.FirstData)[0x128 / 8], Is.EqualTo(EngineGuest.Data + 0x128));
    });

    /// <summary>A faulting instruction traps at itself and can be skipped.</summary>
    [TestCase("ud2", 6, 0)]
    [TestCase("cli", 13, 0)]
    [TestCase("hlt", 13, 0)]
    [TestCase("div", 0, 0)]
    public void A_faulting_instruction_traps_at_itself_and_can_be_skipped(string instruction, int vector, int error) => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        guest.Assemble(code =>
        {
            code.xor(ecx, ecx);
            switch (instruction)
            {
                case "ud2": code.ud2(); break;
                case "cli": code.cli(); break;
                case "hlt": code.hlt(); break;
                default: code.div(ecx); break;
            }

            for (int pad = 0; pad < 4; pad++)
                code.nop();
            guest.Hypercall(code);
        });
        Trap trap = guest.Run(thread);
        Assert.That(trap.Kind, Is.EqualTo(TrapKind.Exception), trap.Diagnosis);
        Assert.That(trap.Vector, Is.EqualTo(vector));
        Assert.That(trap.ErrorCode, Is.EqualTo(error));
        Assert.That(guest.State.Rip, Is.EqualTo(EngineGuest.Code + 2));
        guest.State.Rip += 2;
        Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
    });

    /// <summary>A breakpoint traps after itself.</summary>
    [Test]
    public void A_breakpoint_traps_after_itself() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        guest.Assemble(code =>
        {
            code.int3();
            guest.Hypercall(code);
        });
        Trap trap = guest.Run(thread);
        Assert.That((trap.Kind, trap.Vector), Is.EqualTo((TrapKind.Exception, (byte)3)), trap.Diagnosis);
        Assert.That(guest.State.Rip, Is.EqualTo(EngineGuest.Code + 1));
        Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
    });

    /// <summary>Segment bases are the states and the guests.</summary>
    [Test]
    public void Segment_bases_are_the_states_and_the_guests() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        guest.Words(EngineGuest.FirstData)[1] = 0xaaaa;
        guest.Words(EngineGuest.FirstData + 1)[1] = 0xbbbb;
        guest.State.FsBase = EngineGuest.Data;
        guest.State.GsBase = EngineGuest.Data + 0x1000;
        guest.Assemble(code =>
        {
            code.mov(rax, __qword_ptr.fs[8]);
            code.mov(rcx, __qword_ptr.gs[8]);
            guest.Hypercall(code);
            code.mov(rdx, 0x123456789000UL);
            code.wrfsbase(rdx);
            code.syscall();
        });
        Trap trap = guest.Run(thread);
        Assert.That(trap.Kind, Is.EqualTo(TrapKind.Hypercall), trap.Diagnosis);
        Assert.That((guest.State.Rax, guest.State.Rcx), Is.EqualTo((0xaaaaUL, 0xbbbbUL)));
        trap = guest.Run(thread);
        Assert.That(trap.Kind, Is.EqualTo(TrapKind.Syscall), $"{trap.Vector} {trap.Diagnosis}");
        Assert.That(guest.State.FsBase, Is.EqualTo(0x123456789000UL));
    });
}
