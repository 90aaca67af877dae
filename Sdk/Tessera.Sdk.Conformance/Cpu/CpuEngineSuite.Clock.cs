using Iced.Intel;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Sdk.Conformance.Cpu;

// IGuestClock: time that follows from work.
public sealed partial class CpuEngineSuite
{
    private const long NoEnd = long.MaxValue / 2;
    private const int ComesAndGoes = 20;
    private static readonly GuestTime CountedTime = new() { InstructionsPerMicrosecond = 300, Seed = 5 };

    [Check("Cpus are clocks where the facts say so and nowhere else.")]
    private void Cpus_are_clocks_where_the_facts_say_so()
    {
        using EngineGuest guest = new(Engine, time: Engine.Facts.OwnsTime ? CountedTime : null);
        Expect.Equal(guest.Cpus[0] is IGuestClock, Engine.Facts.OwnsTime);
    }

    [Check("Equal work gives equal time and equal results however often Run is called, and in each of two runs.")]
    [Case(1)]
    [Case(7)]
    [Case(997)]
    [Case(10_000)]
    [Case(NoEnd)]
    private void Equal_work_gives_equal_time_however_often_Run_is_called(long slice) => OnEngineThread(thread =>
    {
        (long time, ulong[] seen) = Work(thread, NoEnd, static _ => { });
        (long sliced, ulong[] slicedSeen) = Work(thread, slice, static _ => { });
        Expect.Equal((sliced, slicedSeen), (time, seen));
    });

    [Check("What the engine must forget of page tables and code changes neither time nor results.")]
    private void What_the_engine_must_forget_changes_neither_time_nor_results() => OnEngineThread(thread =>
    {
        (long time, ulong[] seen) = Work(thread, NoEnd, static _ => { });
        (long disturbed, ulong[] disturbedSeen) = Work(thread, 501, static guest =>
        {
            guest.CodeChanged();
            ulong entry = guest.Words(EngineGuest.L2)[2];
            guest.Change(EngineGuest.L2, 2, 0);
            guest.Change(EngineGuest.L2, 2, entry);
        });
        Expect.Equal((disturbed, disturbedSeen), (time, seen));
    });

    [Check("Each instruction counts once, one that faults when it is carried out.")]
    private void Each_instruction_counts_once_and_one_that_faults_when_it_is_carried_out() => OnEngineThread(thread =>
    {
        using EngineGuest guest = Counted();
        ulong entry = guest.Words(EngineGuest.L1)[DataEntry];
        guest.Change(EngineGuest.L1, DataEntry, 0);
        guest.Assemble(code =>
        {
            for (int index = 0; index < 10; index++)
                code.inc(rax);
            code.mov(__qword_ptr[rbx], rax);
            for (int index = 0; index < 5; index++)
                code.inc(rax);
            code.ud2();
        });
        guest.State.Rbx = EngineGuest.Data;
        long time = 1_000;
        Trap trap = Clock(guest).Run(thread, ref time, NoEnd);
        Expect.Equal((trap.Kind, trap.Vector, time), (TrapKind.Exception, (byte)14, 1_010L), "up to the fault");
        trap = Clock(guest).Run(thread, ref time, NoEnd);
        Expect.Equal((trap.Vector, time), ((byte)14, 1_010L), "the fault once more");
        guest.Change(EngineGuest.L1, DataEntry, entry);
        trap = Clock(guest).Run(thread, ref time, NoEnd);
        Expect.Equal((trap.Kind, trap.Vector, time), (TrapKind.Exception, (byte)6, 1_016L), "the store and what follows");
    });

    [Check("A time that has come already lets nothing happen.")]
    [Case(5_000)]
    [Case(4_999)]
    [Case(0)]
    [Case(-1)]
    [Case(long.MinValue)]
    private void A_time_that_has_come_already_lets_nothing_happen(long until) => OnEngineThread(thread =>
    {
        using EngineGuest guest = CountedLoop();
        long time = 5_000;
        Trap trap = Clock(guest).Run(thread, ref time, until);
        Expect.Equal((trap.Kind, trap.IsInterruptible, time), (TrapKind.Preempted, true, 5_000L));
        Expect.Equal((guest.State.Rip, guest.State.Rax), (EngineGuest.Code, 0UL));
    });

    [Check("It comes back at the first backward jump from the time on.")]
    private void It_comes_back_at_the_first_backward_jump_from_the_time_on() => OnEngineThread(thread =>
    {
        using EngineGuest guest = CountedLoop();
        for (long until = 1; until < 200; until++)
        {
            guest.State.Rip = EngineGuest.Code;
            long time = 0;
            Trap trap = Clock(guest).Run(thread, ref time, until);
            Expect.Equal((trap.Kind, trap.IsInterruptible), (TrapKind.Preempted, true));
            Expect.Equal((time, guest.State.Rip), ((until + LoopLength - 1) / LoopLength * LoopLength, EngineGuest.Code), $"until {until}");
        }
    });

    [Check("Calls, returns and indirect jumps are places to come back at, and those of a long run are those of many short ones.")]
    private void Calls_returns_and_indirect_jumps_are_places_to_come_back_at() => OnEngineThread(thread =>
    {
        using EngineGuest guest = Counted();
        ulong[] targets = new ulong[4];
        guest.Assemble(code =>
        {
            Label again = code.CreateLabel(), function = code.CreateLabel(), target = code.CreateLabel(), forward = code.CreateLabel(), returned = code.CreateLabel();
            code.Label(ref again);
            code.inc(rax);
            code.jmp(forward);
            code.ud2();
            code.Label(ref forward);
            code.lea(rdx, __[target]);
            code.lea(rsi, __[function]);
            code.lea(rdi, __[returned]);
            code.mov(__qword_ptr[rbx], rdx);
            code.mov(__qword_ptr[rbx + 8], rsi);
            code.mov(__qword_ptr[rbx + 16], rdi);
            code.call(function);
            code.Label(ref returned);
            code.inc(rax);
            code.jmp(rdx);
            code.ud2();
            code.Label(ref function);
            code.inc(rax);
            code.ret();
            code.Label(ref target);
            code.inc(rax);
            code.jmp(again);
        });
        List<(long Time, ulong Rip)> places = Places(guest, thread, 40);
        guest.Words(EngineGuest.FirstData)[..3].CopyTo(targets);
        targets[3] = EngineGuest.Code;
        Expect.EqualItems(places.Select(place => place.Rip).Distinct().Order(), targets.Order());
        for (long until = 1; until < places[^1].Time; until++)
        {
            StartOver(guest);
            long time = 0;
            _ = Clock(guest).Run(thread, ref time, until);
            Expect.Equal((time, guest.State.Rip), places.First(place => place.Time >= until), $"until {until}");
        }
    });

    [Check("The time stamp counter is the clock.")]
    [Case(0)]
    [Case(1)]
    [Case(123_456_789)]
    private void The_time_stamp_counter_is_the_clock(long start) => OnEngineThread(thread =>
    {
        using EngineGuest guest = Counted();
        const int Before = 100;
        guest.Assemble(code =>
        {
            for (int index = 0; index < Before; index++)
                code.nop();
            code.rdtsc();
            code.mov(rsi, rax);
            code.mov(rdi, rdx);
            code.rdtscp();
            guest.Hypercall(code);
        });
        long time = start;
        Expect.Equal(Clock(guest).Run(thread, ref time, NoEnd).Kind, TrapKind.Hypercall);
        AssertCounter((guest.State.Rdi << 32) | guest.State.Rsi, start + Before);
        AssertCounter((guest.State.Rdx << 32) | guest.State.Rax, start + Before + 3);

        static void AssertCounter(ulong counter, long work) =>
            Expect.True((long)counter >= CountedTime.ToNanoseconds(work) && (long)counter <= CountedTime.ToNanoseconds(work + 1));
    });

    [Check("Random numbers follow the seed.")]
    private void Random_numbers_follow_the_seed() => OnEngineThread(thread =>
    {
        ulong[] first = Random(5);
        Expect.Equal(first.Distinct().Count(), first.Length);
        Expect.Equal(Random(5), first);
        Expect.True(!Random(6).Intersect(first).Any());

        ulong[] Random(ulong seed)
        {
            using EngineGuest guest = Counted(CountedTime with { Seed = seed });
            const int Count = 200;
            guest.Assemble(code =>
            {
                Label again = code.CreateLabel(), failed = code.CreateLabel();
                code.mov(rbx, EngineGuest.Data);
                code.mov(ecx, Count);
                code.Label(ref again);
                code.rdrand(rax);
                code.jnc(failed);
                code.mov(__qword_ptr[rbx], rax);
                code.rdseed(rax);
                code.jnc(failed);
                code.mov(__qword_ptr[rbx + 8], rax);
                code.add(rbx, 16);
                code.dec(ecx);
                code.jne(again);
                guest.Hypercall(code);
                code.Label(ref failed);
                code.ud2();
            });
            long time = 0;
            Expect.Equal(Clock(guest).Run(thread, ref time, NoEnd).Kind, TrapKind.Hypercall);
            return guest.Words(EngineGuest.FirstData)[..(Count * 2)].ToArray();
        }
    });

    [Check("A repeated instruction counts by how much it did.")]
    private void A_repeated_instruction_counts_by_how_much_it_did() => OnEngineThread(thread =>
    {
        long[] times = [.. new ulong[] { 0, 512, 4_096, 12_288, 12_288 }.Select(Time)];
        Expect.EqualItems(times[..4], times[..4].Distinct().Order());
        Expect.Equal(times[4], times[3]);

        long Time(ulong bytes)
        {
            using EngineGuest guest = Counted();
            guest.Assemble(code =>
            {
                code.rep.movsb();
                guest.Hypercall(code);
            });
            (guest.State.Rsi, guest.State.Rdi, guest.State.Rcx) = (EngineGuest.Data, EngineGuest.Data + 0x4010, bytes);
            long time = 0;
            Expect.Equal(Clock(guest).Run(thread, ref time, NoEnd).Kind, TrapKind.Hypercall);
            return time;
        }
    });

    [Check("A kick ends a counted run, one before it at once.")]
    private void A_kick_ends_a_counted_run() => OnEngineThread(thread =>
    {
        using EngineGuest guest = CountedLoop();
        thread.Kick();
        long time = 17;
        Expect.Equal(Clock(guest).Run(thread, ref time, NoEnd).Kind, TrapKind.Preempted);
        Expect.Equal((time, guest.State.Rax), (17L, 0UL));
        using Timer kicker = new(_ => thread.Kick(), null, 1, Timeout.Infinite);
        Expect.Equal(Clock(guest).Run(thread, ref time, NoEnd).Kind, TrapKind.Preempted);
        Expect.Equal(time, 17 + ((long)guest.State.Rax * LoopLength), "what was done counts");
    });

    private const int LoopLength = 10;

    private static IGuestClock Clock(EngineGuest guest) => (IGuestClock)guest.Cpus[0];

    /// <summary>A guest whose time is work; skips the test where the engine does not count it.</summary>
    private EngineGuest Counted(GuestTime? time = null)
    {
        if (!Engine.Facts.OwnsTime)
            throw new NotPromisedException($"The engine {Engine.Facts.Name} does not count what guests do (EngineFacts.OwnsTime, IGuestClock).");
        return new EngineGuest(Engine, time: time ?? CountedTime);
    }

    /// <summary>Counts in RAX, an endless loop of <see cref="LoopLength"/> instructions.</summary>
    private EngineGuest CountedLoop()
    {
        EngineGuest guest = Counted();
        guest.Assemble(code =>
        {
            Label again = code.CreateLabel();
            code.Label(ref again);
            for (int index = 0; index < LoopLength - 2; index++)
                code.nop();
            code.inc(rax);
            code.jmp(again);
        });
        return guest;
    }

    private static void StartOver(EngineGuest guest)
    {
        guest.State.Rip = EngineGuest.Code;
        guest.State.Rsp = EngineGuest.StackTop;
        guest.State.Rbx = EngineGuest.Data;
    }

    /// <summary>Where a guest comes back that is always asked to do so at once.</summary>
    private static List<(long Time, ulong Rip)> Places(EngineGuest guest, IEngineThread thread, int count)
    {
        StartOver(guest);
        List<(long, ulong)> places = [];
        long time = 0;
        while (places.Count < count)
        {
            Expect.Equal(Clock(guest).Run(thread, ref time, time + 1).Kind, TrapKind.Preempted);
            places.Add((time, guest.State.Rip));
        }

        return places;
    }

    /// <summary>Runs a program that does a little of everything, to its end.</summary>
    /// <returns>The time it took, and what the guest has in its registers and memory.</returns>
    private (long Time, ulong[] Seen) Work(IEngineThread thread, long slice, Action<EngineGuest> between)
    {
        using EngineGuest guest = Counted();
        guest.Words(EngineGuest.L1)[ComesAndGoes] = 0;
        guest.Assemble(code => WriteWork(code, guest));
        long time = 0;
        for (; ; )
        {
            between(guest);
            Trap trap = Clock(guest).Run(thread, ref time, time + slice);
            if (trap.Kind == TrapKind.Hypercall)
                break;
            if (trap is { Kind: TrapKind.Exception, Vector: 14 })
                guest.Change(EngineGuest.L1, ComesAndGoes, guest.Frame(EngineGuest.FirstData + 4).Address | EngineGuest.Rights);
            else if (trap is { Kind: TrapKind.Exception, Vector: 0 })
                guest.State.Rcx = 3;
            else if (trap.Kind == TrapKind.Syscall)
                guest.Change(EngineGuest.L1, ComesAndGoes, 0);
            else if (trap.Kind != TrapKind.Preempted)
                Expect.Fail($"{trap.Kind} {trap.Vector} at 0x{guest.State.Rip:x}");
        }

        GuestCpuState state = guest.State;
        return (time, [state.Rax, state.Rdx, state.Rdi, state.Rsi, state.R8, state.R9, .. guest.Words(EngineGuest.FirstData)[..64]]);
    }

    private static void WriteWork(Assembler code, EngineGuest guest)
    {
        Label outer = code.CreateLabel(), skip = code.CreateLabel(), inner = code.CreateLabel(), function = code.CreateLabel(), begin = code.CreateLabel(), table = code.CreateLabel();
        Label quiet = code.CreateLabel(), patched = code.CreateLabel();
        code.mov(rbx, EngineGuest.Data);
        code.mov(r12d, 1_000);
        code.jmp(begin);
        code.Label(ref function);
        code.lea(r8, __[r8 + rax]);
        code.ret();
        code.Label(ref begin);
        code.nop();
        code.Label(ref outer);

        // Jumps forwards and back, calls and an indirect jump.
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

        // The counter, random numbers, an access across two pages and to one that comes and goes.
        code.rdtsc();
        code.xor(__dword_ptr[rbx + 16], eax);
        code.rdrand(r9);
        code.adc(__qword_ptr[rbx + 24], r9);
        code.xor(__qword_ptr[rbx + 0xffc], r12);
        code.mov(rax, EngineGuest.Base + (ComesAndGoes * 4096UL));
        code.xor(__dword_ptr[rax], r12d);
        code.test(r12d, 0x1f);
        code.jne(quiet);
        code.syscall();

        // A division by zero, and code that is written.
        code.xor(ecx, ecx);
        code.xor(edx, edx);
        code.mov(eax, 100);
        code.div(rcx);
        code.lea(rsi, __[patched]);
        code.mov(__byte_ptr[rsi + 1], r12b);
        code.Label(ref quiet);
        code.nop();
        code.Label(ref patched);
        code.mov(al, 1);
        code.lea(r8, __[r8 + rax]);

        // String instructions.
        code.lea(rdi, __[rbx + 0x1f80]);
        code.lea(rsi, __[rbx + 0x10]);
        code.mov(ecx, 37);
        code.rep.movsq();
        code.mov(ecx, 19);
        code.lea(rdi, __[rbx + 0x30]);
        code.repne.scasb();
        code.dec(r12d);
        code.jne(outer);
        guest.Hypercall(code);
    }
}
