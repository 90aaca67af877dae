using System.Diagnostics;
using Iced.Intel;
using Tessera.Plugins.Cpu.Kvm;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Kvm.Tests;

[TestFixture]
internal sealed class MachineTests : EngineFixture
{
    [Test]
    public void Fifty_machines_take_turns_on_one_thread() => OnEngineThread(thread =>
    {
        List<TestGuest> guests = [];
        try
        {
            for (int index = 0; index < 50; index++)
            {
                TestGuest guest = Counting();
                guest.State.Rbx = (ulong)index;
                guests.Add(guest);
            }

            for (int round = 1; round <= 10; round++)
            {
                for (int index = 0; index < guests.Count; index++)
                {
                    Assert.That(guests[index].Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
                    Assert.That((guests[index].State.Rax, guests[index].State.Rbx), Is.EqualTo(((ulong)round, (ulong)index)));
                }
            }
        }
        finally
        {
            guests.ForEach(guest => guest.Dispose());
        }
    });

    [Test]
    public void A_trap_allocates_nothing() => OnEngineThread(thread =>
    {
        using TestGuest guest = new(Engine);
        guest.Assemble(code =>
        {
            guest.Hypercall(code);
            code.syscall();
            code.ud2();
        });
        Cycle(200);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Cycle(4000);
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero, "over 16,000 traps, with page-table changes and preemptions");

        void Cycle(int rounds)
        {
            int entry = TestGuest.EntryOf(TestGuest.Data);
            ulong value = guest.Words(TestGuest.L1)[entry];
            for (int round = 0; round < rounds; round++)
            {
                guest.State.Rip = TestGuest.Code;
                guest.Change(TestGuest.L1, entry, round % 2 == 0 ? 0 : value);
                for (int trap = 0; trap < 3; trap++)
                    guest.Run(thread);
                guest.Cpus[0].Run(thread, Nanoseconds.Zero);
            }
        }
    });

    [Test]
    public void Disposing_leaves_no_descriptor_behind() => OnEngineThread(_ =>
    {
        Once();
        int before = OpenKvmDescriptors();
        for (int round = 0; round < 20; round++)
            Once();
        Assert.That(OpenKvmDescriptors(), Is.EqualTo(before));

        void Once()
        {
            using KvmEngine engine = new(new KvmOptions());
            using TestGuest guest = new(engine, cpus: 2);
        }

        static int OpenKvmDescriptors() => Directory.EnumerateFileSystemEntries("/proc/self/fd")
            .Count(path => new FileInfo(path).LinkTarget?.Contains("kvm", StringComparison.Ordinal) == true);
    });

    [Test]
    public void A_thread_gets_its_affinity_and_signals_back() => OnEngineThread(_ =>
    {
        string before = OwnStatus();
        using (Engine.EnterThread(0))
            Assert.That(OwnStatus(), Is.Not.Empty);
        Assert.That(OwnStatus(), Is.EqualTo(before));

        static string OwnStatus() => string.Join('\n', File.ReadLines("/proc/thread-self/status")
            .Where(line => line.StartsWith("SigBlk", StringComparison.Ordinal) || line.StartsWith("SigPnd", StringComparison.Ordinal) || line.StartsWith("Cpus_allowed:", StringComparison.Ordinal)));
    });

    [Test]
    public void A_host_cpu_that_does_not_exist_is_refused_with_a_cure()
    {
        EngineException exception = Assert.Throws<EngineException>(() => Engine.EnterThread(4095))!;
        Assert.That(exception.Message, Does.Contain("4095"));
        Assert.That(exception.Cure, Is.Not.Empty);
    }

    [Test]
    public void Wrong_layouts_are_refused()
    {
        long first = Engine.Facts.ReservedFrames;
        Assert.Throws<ArgumentException>(() => Create([new MemoryRegion(new Mfn(first - 1), 1, 4096, false)]));
        Assert.Throws<ArgumentException>(() => Create([new MemoryRegion(new Mfn(first), 2, 4096, false), new MemoryRegion(new Mfn(first + 1), 1, 4096 * 16, false)]));
        Assert.Throws<ArgumentException>(() => Create([new MemoryRegion(new Mfn(first), 1, 4097, false)]));
        Assert.Throws<ArgumentOutOfRangeException>(() => Create([], cpus: 0));

        void Create(MemoryRegion[] regions, int cpus = 1) =>
            Engine.CreateMachine(new GuestMachineLayout { Name = "wrong", Regions = regions, MaxCpus = cpus }).Dispose();
    }

    [Test]
    public void Frequent_preemption_in_a_storm_of_traps_loses_no_trap() => OnEngineThread(thread =>
    {
        // Each turn faults, makes a syscall and a hypercall, in this order; the state must go round whole however slices fall.
        using TestGuest guest = new(Engine);
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
                Assert.That(trap.IsInterruptible);
                continue;
            }

            Assert.That(trap.Kind, Is.EqualTo((traps % 3) switch { 0 => TrapKind.Exception, 1 => TrapKind.Syscall, _ => TrapKind.Hypercall }), trap.Diagnosis);
            if (trap.Kind == TrapKind.Exception)
                guest.State.Rip += 2;
            Assert.That(guest.State.Rax, Is.EqualTo(++expected));
            traps++;
        }

        TestContext.Out.WriteLine($"{preemptions} preemptions");
    });

    [Test]
    public void Two_threads_run_two_cpus_of_one_machine_while_tables_change() => OnEngineThread(thread =>
    {
        using TestGuest guest = new(Engine, cpus: 2);
        guest.Assemble(code =>
        {
            code.mov(rax, __qword_ptr[rbx]);
            guest.Hypercall(code);
        });
        int entry = TestGuest.EntryOf(TestGuest.Data);
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
        Assert.That(failure, Is.Null);

        void Turns(IEngineThread self, int cpu)
        {
            ref GuestCpuState state = ref guest.Cpus[cpu].State;
            state.Rbx = TestGuest.Data;
            for (int turn = 0; turn < 1500; turn++)
            {
                ulong atLeast;
                lock (table)
                {
                    generation++;
                    int frame = TestGuest.FirstData + (int)(generation % 8);
                    guest.Words(frame)[0] = generation;
                    guest.Change(TestGuest.L1, entry, guest.Frame(frame).Address | TestGuest.Rights);
                    atLeast = generation;
                }

                state.Rip = TestGuest.Code;
                Trap trap = guest.Run(self, cpu);
                Assert.That(trap.Kind, Is.EqualTo(TrapKind.Hypercall), trap.Diagnosis);
                Assert.That(state.Rax, Is.GreaterThanOrEqualTo(atLeast));
            }
        }
    });

    private TestGuest Counting()
    {
        TestGuest guest = new(Engine);
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
