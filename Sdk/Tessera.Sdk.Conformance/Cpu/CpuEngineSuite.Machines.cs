using System.Diagnostics;
using Iced.Intel;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Sdk.Conformance.Cpu;

// Machines, threads, and what a trap costs the collector.
public sealed partial class CpuEngineSuite
{
    [Check("Fifty machines take turns on one thread.")]
    private void Fifty_machines_take_turns_on_one_thread() => OnEngineThread(thread =>
    {
        List<EngineGuest> guests = [];
        try
        {
            for (int index = 0; index < 50; index++)
            {
                EngineGuest guest = Counting();
                guest.State.Rbx = (ulong)index;
                guests.Add(guest);
            }

            for (int round = 1; round <= 10; round++)
            {
                for (int index = 0; index < guests.Count; index++)
                {
                    Expect.Equal(guests[index].Run(thread).Kind, TrapKind.Hypercall);
                    Expect.Equal((guests[index].State.Rax, guests[index].State.Rbx), ((ulong)round, (ulong)index));
                }
            }
        }
        finally
        {
            guests.ForEach(guest => guest.Dispose());
        }
    });

    [Check("A trap allocates nothing.")]
    private void A_trap_allocates_nothing() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        guest.Assemble(code =>
        {
            guest.Hypercall(code);
            code.syscall();
            code.ud2();
        });
        Cycle(200);
        Expect.AllocatesNothing(() => Cycle(4000), "over 16,000 traps, with page-table changes and preemptions");

        void Cycle(int rounds)
        {
            int entry = EngineGuest.EntryOf(EngineGuest.Data);
            ulong value = guest.Words(EngineGuest.L1)[entry];
            for (int round = 0; round < rounds; round++)
            {
                guest.State.Rip = EngineGuest.Code;
                guest.Change(EngineGuest.L1, entry, round % 2 == 0 ? 0 : value);
                for (int trap = 0; trap < 3; trap++)
                    guest.Run(thread);
                guest.Cpus[0].Run(thread, Nanoseconds.Zero);
            }
        }
    });

    [Check("A thread gets its affinity and signals back.")]
    private void A_thread_gets_its_affinity_and_signals_back() => OnEngineThread(_ =>
    {
        string before = OwnStatus();
        using (Engine.EnterThread(0))
            Expect.True(OwnStatus().Length > 0);
        Expect.Equal(OwnStatus(), before);

        static string OwnStatus() => string.Join('\n', File.ReadLines("/proc/thread-self/status")
            .Where(line => line.StartsWith("SigBlk", StringComparison.Ordinal) || line.StartsWith("SigPnd", StringComparison.Ordinal) || line.StartsWith("Cpus_allowed:", StringComparison.Ordinal)));
    });

    [Check("A host cpu that does not exist is refused with a cure.")]
    private void A_host_cpu_that_does_not_exist_is_refused_with_a_cure()
    {
        EngineException exception = Expect.Throws<EngineException>(() => Engine.EnterThread(4095))!;
        Expect.True(exception.Message.Contains("4095", StringComparison.Ordinal));
        Expect.True(exception.Cure.Length > 0);
    }

    [Check("Wrong layouts are refused.")]
    private void Wrong_layouts_are_refused()
    {
        long first = Engine.Facts.ReservedFrames;
        Expect.Throws<ArgumentException>(() => Create([new MemoryRegion(new Mfn(first - 1), 1, 4096, false)]));
        Expect.Throws<ArgumentException>(() => Create([new MemoryRegion(new Mfn(first), 2, 4096, false), new MemoryRegion(new Mfn(first + 1), 1, 4096 * 16, false)]));
        Expect.Throws<ArgumentException>(() => Create([new MemoryRegion(new Mfn(first), 1, 4097, false)]));
        Expect.Throws<ArgumentOutOfRangeException>(() => Create([], cpus: 0));

        void Create(MemoryRegion[] regions, int cpus = 1) =>
            Engine.CreateMachine(new GuestMachineLayout { Name = "wrong", Regions = regions, MaxCpus = cpus }).Dispose();
    }

    [Check("Frequent preemption in a storm of traps loses no trap.")]
    private void Frequent_preemption_in_a_storm_of_traps_loses_no_trap() => OnEngineThread(thread =>
    {
        // Each turn faults, makes a syscall and a hypercall, in this order; the state must go round whole however slices fall.
        using EngineGuest guest = new(Engine);
        guest.Assemble(code =>
        {
            Label again = code.CreateLabel();
            code.Label(ref again);
            code.inc(rax);
            code.ud2();
            code.inc(rax);
            code.syscall();
            code.inc(rax);
            guest.Hypercall(code);
            code.jmp(again);
        });
        ulong expected = 0;
        int preemptions = 0;
        int attempts = 0;
        for (int traps = 0; traps < 6000;)
        {
            Trap trap = guest.Cpus[0].Run(thread, new Nanoseconds(Stopwatch.GetTimestamp() + 15_000 + (attempts++ % 97 * 1_500)));
            if (trap.Kind == TrapKind.Preempted)
            {
                preemptions++;
                Expect.True(trap.IsInterruptible);
                continue;
            }

            Expect.Equal(trap.Kind, (traps % 3) switch { 0 => TrapKind.Exception, 1 => TrapKind.Syscall, _ => TrapKind.Hypercall }, trap.Diagnosis);
            if (trap.Kind == TrapKind.Exception)
                guest.State.Rip += 2;
            Expect.Equal(guest.State.Rax, ++expected);
            traps++;
        }

        Note($"{preemptions} preemptions");
    });

    [Check("Two threads run two cpus of one machine while tables change.")]
    private void Two_threads_run_two_cpus_of_one_machine_while_tables_change() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine, cpus: 2);
        guest.Assemble(code =>
        {
            code.mov(rax, __qword_ptr[rbx]);
            guest.Hypercall(code);
        });
        int entry = EngineGuest.EntryOf(EngineGuest.Data);
        Lock table = new();
        ulong generation = 0;
        Exception? failure = null;
        Thread other = new(() =>
        {
            try
            {
                using IEngineThread second = Engine.EnterThread(Environment.ProcessorCount > 1 ? 1 : 0);
                Turns(second, 1);
            }
            catch (Exception exception)
            {
                failure = exception;
            }
        });
        other.Start();
        Turns(thread, 0);
        other.Join();
        Expect.True(failure is null);

        void Turns(IEngineThread self, int cpu)
        {
            ref GuestCpuState state = ref guest.Cpus[cpu].State;
            state.Rbx = EngineGuest.Data;
            for (int turn = 0; turn < 1500; turn++)
            {
                ulong atLeast;
                lock (table)
                {
                    generation++;
                    int frame = EngineGuest.FirstData + (int)(generation % 8);
                    guest.Words(frame)[0] = generation;
                    guest.Change(EngineGuest.L1, entry, guest.Frame(frame).Address | EngineGuest.Rights);
                    atLeast = generation;
                }

                state.Rip = EngineGuest.Code;
                Trap trap = guest.Run(self, cpu);
                Expect.Equal(trap.Kind, TrapKind.Hypercall, trap.Diagnosis);
                Expect.True(state.Rax >= atLeast);
            }
        }
    });

    private EngineGuest Counting()
    {
        EngineGuest guest = new(Engine);
        guest.Assemble(code =>
        {
            Label again = code.CreateLabel();
            code.Label(ref again);
            code.inc(rax);
            guest.Hypercall(code);
            code.jmp(again);
        });
        return guest;
    }
}
