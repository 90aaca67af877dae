using Iced.Intel;
using Tessera.Plugins.Cpu.Software;
using Tessera.Sdk;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Software.Tests;

/// <summary>Hardware breakpoints strike where the debug registers say and nowhere else, and CR0.TS keeps vector registers from a task that has not got them yet.</summary>
[TestFixture(false)]
[TestFixture(true)]
internal sealed class BreakpointTests(bool plain) : GuestFixture(plain)
{
    private const ulong Resume = 0x1_0000;
    private const ulong Execute = 0;
    private const ulong Write = 1;
    private const ulong ReadWrite = 3;
    private const ulong Variable = EngineGuest.Data + 0x108;

    [Test]
    public void One_to_execute_is_a_fault_before_the_instruction_each_time() => With((guest, thread) =>
    {
        ulong place = 0;
        guest.Assemble(code =>
        {
            Label again = code.CreateLabel();
            code.mov(ecx, 5);
            code.Label(ref again);
            code.inc(rax);
            code.inc(rbx); // here
            code.dec(ecx);
            code.jne(again);
            guest.Hypercall(code);
        });
        place = EngineGuest.Code + 5 + 3;
        // Translated before it is armed, too.
        Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
        (guest.State.Rip, guest.State.Rax, guest.State.Rbx) = (EngineGuest.Code, 0, 0);
        Arm(guest, 2, place, Execute, 0);
        for (ulong round = 0; round < 5; round++)
        {
            Struck(guest, thread, 2, place);
            Assert.That((guest.State.Rax, guest.State.Rbx), Is.EqualTo((round + 1, round)));
            guest.State.Rflags |= Resume;
        }

        Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
        Assert.That(guest.State.Rbx, Is.EqualTo(5));
        guest.State.Dr7 = 0x400;
        guest.State.Rip = EngineGuest.Code;
        Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
    });

    [Test]
    public void A_page_fault_of_the_instruction_that_may_pass_comes_back_to_it() => With((guest, thread) =>
    {
        int entry = EngineGuest.EntryOf(EngineGuest.Data);
        ulong mapped = guest.Words(EngineGuest.L1)[entry];
        guest.Words(EngineGuest.L1)[entry] = 0;
        guest.State.Rbx = EngineGuest.Data;
        guest.Assemble(code =>
        {
            code.mov(rax, __qword_ptr[rbx]);
            guest.Hypercall(code);
        });
        Arm(guest, 0, EngineGuest.Code, Execute, 0);
        Struck(guest, thread, 0, EngineGuest.Code);
        guest.State.Rflags |= Resume;
        Trap trap = guest.Run(thread);
        Assert.That((trap.Kind, trap.Vector), Is.EqualTo((TrapKind.Exception, (byte)14)));
        guest.Change(EngineGuest.L1, entry, mapped);
        Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
    });

    [TestCase("mov", true)]
    [TestCase("lock", true)]
    [TestCase("vector", true)]
    [TestCase("push", true)]
    [TestCase("call", true)]
    [TestCase("stos", true)]
    [TestCase("bts", true)]
    [TestCase("load", false)]
    [TestCase("pop", false)]
    [TestCase("lods", false)]
    [TestCase("cmp", false)]
    public void One_to_write_is_a_trap_after_each_write(string what, bool writes) => With((guest, thread) =>
    {
        (guest.State.Rdi, guest.State.Rsi, guest.State.Rbx, guest.State.Rcx) = (Variable, Variable, Variable, 3);
        bool usesStack = what is "push" or "call" or "pop";
        guest.State.Rsp = !usesStack ? EngineGuest.StackTop : what == "pop" ? Variable : Variable + 8;
        ulong next = 0;
        guest.Assemble(code =>
        {
            Label after = code.CreateLabel();
            switch (what)
            {
                case "mov": code.mov(__dword_ptr[rbx], eax); break;
                case "lock": code.@lock.add(__qword_ptr[rbx - 4], rax); break;
                case "vector": code.movups(__xmmword_ptr[rbx - 8], xmm0); break;
                case "push": code.push(rax); break;
                case "call": code.call(after); break;
                case "stos": code.stosb(); break;
                case "bts": code.bts(__dword_ptr[rbx], ecx); break;
                case "load": code.mov(eax, __dword_ptr[rbx]); break;
                case "pop": code.pop(rax); break;
                case "lods": code.lodsb(); break;
                default: code.cmp(__dword_ptr[rbx], eax); break;
            }

            code.Label(ref after);
            guest.Hypercall(code);
        });
        foreach (ulong kind in (ulong[])[Write, ReadWrite])
        {
            ref GuestCpuState state = ref guest.State;
            (state.Rip, state.Rdi, state.Rsi, state.Dr6) = (EngineGuest.Code, Variable, Variable, 0xffff_0ff0);
            if (usesStack)
                state.Rsp = what == "pop" ? Variable : Variable + 8;
            Arm(guest, 1, Variable, kind, 3);
            if (writes || kind == ReadWrite)
                next = Struck(guest, thread, 1, 0);
            Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
            Assert.That(next, Is.EqualTo(0).Or.EqualTo(guest.State.Rip - (ulong)guest.HypercallInstruction.Count));
        }
    });

    [Test]
    public void Beside_what_is_watched_nothing_strikes() => With((guest, thread) =>
    {
        guest.State.Rbx = Variable;
        guest.Assemble(code =>
        {
            code.mov(__dword_ptr[rbx - 4], eax);
            code.mov(__byte_ptr[rbx + 2], al);
            code.mov(eax, __dword_ptr[rbx]);
            code.mov(__qword_ptr[rbx + 0x1000], rax);
            code.mov(__word_ptr[rbx + 1], ax); // one byte of it
            guest.Hypercall(code);
        });
        Arm(guest, 3, Variable, Write, 1);
        ulong at = Struck(guest, thread, 3, 0);
        Assert.That(at, Is.EqualTo(EngineGuest.Code + 3 + 3 + 2 + 7 + 4));
        Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
    });

    [Test]
    public void Across_pages_and_in_repeated_strings_it_strikes_at_the_element() => With((guest, thread) =>
    {
        const ulong Border = EngineGuest.Data + 0x1000;
        guest.State.Rdi = Border - 20;
        guest.State.Rcx = 40;
        guest.Assemble(code =>
        {
            code.rep.stosb();
            code.mov(__qword_ptr[rdi - 23], rax); // 20 + 3 before: across the border
            guest.Hypercall(code);
        });
        Arm(guest, 0, Border, Write, 0);
        ulong at = Struck(guest, thread, 0, 0);
        Assert.That((at, guest.State.Rcx, guest.State.Rdi), Is.EqualTo((EngineGuest.Code, 19UL, Border + 1)));
        at = Struck(guest, thread, 0, 0);
        Assert.That((at, guest.State.Rcx), Is.EqualTo((EngineGuest.Code + 2 + 4, 0UL)));
        Assert.That(guest.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
    });

    [Test]
    public void A_long_loop_over_a_breakpoints_page_comes_back_in_time() => With((guest, thread) =>
    {
        guest.Assemble(code =>
        {
            Label again = code.CreateLabel();
            code.Label(ref again);
            code.inc(rax);
            code.jmp(again);
        });
        Arm(guest, 0, EngineGuest.Code + 0x800, Execute, 0);
        Assert.That(guest.Run(thread, milliseconds: 200).Kind, Is.EqualTo(TrapKind.Preempted));
        ((ITracksWrites)guest.Machine).WritesBegin(guest.CodeFrame);
        guest.State.Dr7 = 0x400;
        Assert.That(guest.Run(thread, milliseconds: 200).Kind, Is.EqualTo(TrapKind.Preempted));
        ((ITracksWrites)guest.Machine).WritesEnd(guest.CodeFrame);
    });

    [TestCase("fld", true)]
    [TestCase("fwait", true)]
    [TestCase("emms", true)]
    [TestCase("movups", true)]
    [TestCase("vaddps", true)]
    [TestCase("fxsave", true)]
    [TestCase("ldmxcsr", true)]
    [TestCase("lfence", false)]
    [TestCase("movnti", false)]
    [TestCase("mov", false)]
    public void A_switched_task_finds_its_vector_registers_off(string what, bool faults) => With((guest, thread) =>
    {
        guest.State.Rbx = EngineGuest.Data;
        guest.Words(EngineGuest.FirstData)[0] = 0x1f80;
        guest.Assemble(code =>
        {
            code.inc(eax);
            switch (what)
            {
                case "fld": code.fld1(); break;
                case "fwait": code.wait(); break;
                case "emms": code.emms(); break;
                case "movups": code.movups(xmm1, __xmmword_ptr[rbx]); break;
                case "vaddps": code.vaddps(ymm1, ymm1, ymm2); break;
                case "fxsave": code.fxsave(__[rbx]); break;
                case "ldmxcsr": code.ldmxcsr(__dword_ptr[rbx]); break;
                case "lfence": code.lfence(); break;
                case "movnti": code.movnti(__dword_ptr[rbx + 8], eax); break;
                default: code.mov(ecx, __dword_ptr[rbx]); break;
            }

            guest.Hypercall(code);
        });
        for (int round = 0; round < 3; round++)
        {
            (guest.State.Rip, guest.State.TaskSwitched) = (EngineGuest.Code, true);
            Trap trap = guest.Run(thread);
            if (faults)
            {
                Assert.That((trap.Kind, trap.Vector, guest.State.Rip), Is.EqualTo((TrapKind.Exception, (byte)7, EngineGuest.Code + 2)));
                guest.State.TaskSwitched = false;
                trap = guest.Run(thread);
            }

            Assert.That(trap.Kind, Is.EqualTo(TrapKind.Hypercall), $"{trap.Vector}");
        }
    });

    private static void Arm(EngineGuest guest, int number, ulong address, ulong kind, ulong length)
    {
        ref GuestCpuState state = ref guest.State;
        switch (number)
        {
            case 0: state.Dr0 = address; break;
            case 1: state.Dr1 = address; break;
            case 2: state.Dr2 = address; break;
            default: state.Dr3 = address; break;
        }

        state.Dr7 = 0x400UL | (1UL << (number * 2)) | (kind << (16 + (number * 4))) | (length << (18 + (number * 4)));
        state.Dr6 = 0xffff_0ff0;
    }

    private static ulong Struck(EngineGuest guest, IEngineThread thread, int number, ulong rip)
    {
        Trap trap = guest.Run(thread);
        Assert.That((trap.Kind, trap.Vector), Is.EqualTo((TrapKind.Exception, (byte)1)), $"{trap.Kind} {trap.Vector} at {guest.State.Rip:x}");
        Assert.That(guest.State.Dr6, Is.EqualTo(0xffff_0ff0UL | (1UL << number)));
        if (rip != 0)
            Assert.That(guest.State.Rip, Is.EqualTo(rip));
        guest.State.Dr6 = 0xffff_0ff0;
        return guest.State.Rip;
    }
}
