using Iced.Intel;
using Tessera.Plugins.Cpu.Software;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Software.Tests;

/// <summary>Work is counted the same whatever the quantum, and one instruction at a time; that deadlines and what the engine forgets change nothing is for the conformance suite.</summary>
[TestFixture(false)]
[TestFixture(true)]
internal sealed class WorkTests(bool plain)
{
    private const ulong TrapFlag = 0x100;
    private const int Unmapped = 20;
    private const ulong UnmappedPage = EngineGuest.Base + (Unmapped * 4096UL);
    private static readonly GuestTime Time = new() { InstructionsPerMicrosecond = 300, Seed = 5 };

    [Test]
    public void The_count_is_that_of_running_one_instruction_at_a_time()
    {
        // A string instruction is one step and counts by its length: without it each instruction counts one.
        (long stepped, _) = Run(1_000, guest => guest.State.Rflags |= TrapFlag, strings: false);
        (long whole, _) = Run(30_000, static _ => { }, strings: false);
        Assert.That(whole, Is.EqualTo(stepped));
    }

    [TestCase(1_000)]
    [TestCase(10_000)]
    [TestCase(100_000)]
    public void The_count_and_all_that_a_guest_sees_are_the_same_at_every_quantum(long quantum)
    {
        (long time, ulong[] seen) = Run(30_000, static _ => { });
        for (int run = 0; run < 3; run++)
        {
            (long otherTime, ulong[] otherSeen) = Run(quantum, static _ => { });
            Assert.That((otherTime, otherSeen), Is.EqualTo((time, seen)));
        }
    }

    [Test]
    public void A_deadline_strikes_at_the_same_instruction_at_every_quantum()
    {
        List<(long Time, ulong Rip)> at = Stops(1_000);
        Assert.That(at, Has.Count.GreaterThan(100));
        Assert.That(Stops(10_000), Is.EqualTo(at));
        Assert.That(Stops(100_000), Is.EqualTo(at));
    }

    [Test]
    public void A_long_string_instruction_comes_back_in_its_middle()
    {
        using SoftwareEngine engine = new(new SoftwareOptions { Plain = plain });
        using IEngineThread thread = engine.EnterThread(0);
        using EngineGuest guest = new(engine, time: Time);
        for (int page = 0; page < 480; page++)
            guest.Words(EngineGuest.L1)[32 + page] = guest.Frame(EngineGuest.FirstData).Address | EngineGuest.Rights;
        guest.Assemble(code =>
        {
            code.rep.stosb();
            guest.Hypercall(code);
        });
        guest.State.Rdi = EngineGuest.Base + (32 * 4096);
        guest.State.Rcx = 480 * 4096;
        long time = 0;
        Assert.That(((IGuestClock)guest.Cpus[0]).Run(thread, ref time, 1_000).Kind, Is.EqualTo(TrapKind.Preempted));
        Assert.That(guest.State.Rcx, Is.GreaterThan(0UL).And.LessThan(480UL * 4096));
        Assert.That(((IGuestClock)guest.Cpus[0]).Run(thread, ref time, long.MaxValue).Kind, Is.EqualTo(TrapKind.Hypercall));
        Assert.That(time, Is.EqualTo((480 * 4096 / 32) + 1));
    }

    [Test]
    public void Code_that_is_read_again_at_each_instruction_comes_back_too()
    {
        using SoftwareEngine engine = new(new SoftwareOptions { Plain = plain });
        using IEngineThread thread = engine.EnterThread(0);
        using EngineGuest guest = new(engine, time: Time);
        ((ITracksWrites)guest.Machine).WritesBegin(guest.CodeFrame);
        guest.Assemble(code =>
        {
            Label here = code.CreateLabel();
            code.Label(ref here);
            code.jmp(here);
        });
        long time = 0;
        Assert.That(((IGuestClock)guest.Cpus[0]).Run(thread, ref time, 5_000).Kind, Is.EqualTo(TrapKind.Preempted));
        Assert.That(time, Is.EqualTo(5_000));
    }

    private List<(long Time, ulong Rip)> Stops(long quantum)
    {
        List<(long, ulong)> stops = [];
        long next = 0;
        _ = Run(quantum, guest => stops.Add((next += 997, guest.State.Rip)), slice: 997);
        return stops;
    }

    /// <summary>Runs a program that does a little of everything, to its end.</summary>
    /// <param name="quantum">The engine's quantum.</param>
    /// <param name="between">What is done before each entry.</param>
    /// <param name="slice">How much each entry may do.</param>
    /// <param name="strings">Whether it has string instructions.</param>
    /// <returns>The work it was, and what the guest has in its registers and memory.</returns>
    private (long Time, ulong[] Seen) Run(long quantum, Action<EngineGuest> between, long slice = long.MaxValue / 2, bool strings = true)
    {
        using SoftwareEngine engine = new(new SoftwareOptions { Plain = plain }) { Quantum = quantum };
        using IEngineThread thread = engine.EnterThread(0);
        using EngineGuest guest = new(engine, time: Time);
        guest.Words(EngineGuest.L1)[Unmapped] = 0;
        guest.Assemble(code => Write(code, guest, strings));
        IGuestClock clock = (IGuestClock)guest.Cpus[0];
        long time = 0;
        for (int entries = 0; ; entries++)
        {
            Assert.That(entries, Is.LessThan(3_000_000));
            between(guest);
            Trap trap = clock.Run(thread, ref time, time + slice);
            if (trap.Kind == TrapKind.Hypercall)
                break;
            if (trap is { Kind: TrapKind.Exception, Vector: 14 })
            {
                guest.Change(EngineGuest.L1, Unmapped, guest.Frame(EngineGuest.FirstData + 4).Address | EngineGuest.Rights);
            }
            else if (trap is { Kind: TrapKind.Exception, Vector: 0 })
            {
                guest.State.Rcx = 3;
                guest.Change(EngineGuest.L1, Unmapped, 0);
            }
            else if (trap is not ({ Kind: TrapKind.Preempted } or { Kind: TrapKind.Exception, Vector: 1 }))
            {
                Assert.Fail($"{trap.Kind} {trap.Vector} at 0x{guest.State.Rip:x}");
            }
        }

        GuestCpuState state = guest.State;
        return (time, [state.Rax, state.Rbx, state.Rdx, state.Rdi, state.Rsi, state.Rbp, state.R8, state.R9, state.R12, .. guest.Words(EngineGuest.FirstData)[..64]]);
    }

    private static void Write(Assembler code, EngineGuest guest, bool strings)
    {
        Label outer = code.CreateLabel(), skip = code.CreateLabel(), function = code.CreateLabel(), begin = code.CreateLabel(), inner = code.CreateLabel(), table = code.CreateLabel();
        code.mov(rbx, EngineGuest.Data);
        code.mov(r12d, 3_000);
        code.jmp(begin);
        code.Label(ref function);
        code.lea(r8, __[r8 + rax]);
        code.nop();
        code.ret();
        code.Label(ref begin);
        code.nop();
        code.Label(ref outer);

        // Jumps forwards and back, taken and not.
        code.mov(eax, r12d);
        code.test(al, 3);
        code.jne(skip);
        code.add(r8, 5);
        code.Label(ref skip);
        code.mov(ecx, 4);
        code.Label(ref inner);
        code.add(__qword_ptr[rbx + 8], rcx);
        code.loop(inner);
        code.call(function);
        code.lea(rax, __[table]);
        code.jmp(rax);
        code.ud2();
        code.Label(ref table);

        // The counter and random numbers.
        code.rdtsc();
        code.shl(rdx, 32);
        code.or(rax, rdx);
        code.mov(__qword_ptr[rbx + 16], rax);
        code.rdrand(r9);
        code.adc(__qword_ptr[rbx + 24], r9);

        // Across two pages, a page that comes and goes, a division by zero now and then, code that is written.
        code.mov(rax, __qword_ptr[rbx + 0xffc]);
        code.mov(__qword_ptr[rbx + 0xffc], r12);
        code.mov(rax, UnmappedPage);
        code.xor(__dword_ptr[rax], r12d);
        Label noDivision = code.CreateLabel();
        code.test(r12d, 0xff);
        code.jne(noDivision);
        code.xor(ecx, ecx);
        code.xor(edx, edx);
        code.mov(eax, 100);
        code.div(rcx);
        Label patched = code.CreateLabel();
        code.lea(rsi, __[patched]);
        code.mov(__byte_ptr[rsi + 1], r12b);
        code.Label(ref noDivision);
        code.add(rbp, rax);
        code.Label(ref patched);
        code.mov(al, 1);
        if (strings)
        {
            code.lea(rdi, __[rbx + 0x1f80]);
            code.lea(rsi, __[rbx + 0x10]);
            code.mov(ecx, 37);
            code.rep.movsq();
            code.mov(ecx, 19);
            code.lea(rdi, __[rbx + 0x30]);
            code.repne.scasb();
        }

        code.dec(r12d);
        code.jne(outer);
        guest.Hypercall(code);
    }
}
