using Iced.Intel;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Sdk.Conformance.Cpu;

// Changes of page tables that every CPU has followed, whatever it is doing.
public sealed partial class CpuEngineSuite
{
    private const int SynchronizeRounds = 50;

    [Check("Nobody is waited for when no cpu runs.")]
    [Case(1)]
    [Case(2)]
    private void Nobody_is_waited_for_when_no_cpu_runs(int cpus)
    {
        using EngineGuest guest = new(Engine, cpus);
        ulong entry = guest.Words(EngineGuest.L1)[DataEntry];
        Turn(10);
        Expect.AllocatesNothing(() => Turn(1000), "by a thousand changes that every CPU was to follow");

        void Turn(int times)
        {
            for (int time = 0; time < times; time++)
            {
                guest.Change(EngineGuest.L1, DataEntry, time % 2 == 0 ? 0 : entry);
                guest.Machine.Synchronize();
                guest.Machine.Synchronize();
            }
        }
    }

    [Check("After synchronizing no cpu writes through an entry that is gone.")]
    [Case(EngineGuest.L1)]
    [Case(EngineGuest.L2)]
    private void After_synchronizing_no_cpu_writes_through_an_entry_that_is_gone(int level) => OnEngineThread(_ =>
    {
        const int OtherTable = 64;
        using EngineGuest guest = CountingInMemory(cpus: 2);
        // Two ways for the counter to go: by the data page's own entry, or by another table with another data page.
        guest.Words(EngineGuest.L1).CopyTo(guest.Words(OtherTable));
        (int index, ulong first, ulong second) = level == EngineGuest.L1
            ? (DataEntry, Page(0), Page(1))
            : (2, guest.Frame(EngineGuest.L1).Address | EngineGuest.Rights, guest.Frame(OtherTable).Address | EngineGuest.Rights);
        guest.Words(OtherTable)[DataEntry] = Page(1);
        using Runner runner = new(Engine, guest, cpu: 1);
        for (int round = 0; round < SynchronizeRounds; round++)
        {
            int from = EngineGuest.FirstData + (round % 2), to = EngineGuest.FirstData + ((round + 1) % 2);
            runner.Await(() => Counter(from) != 0, "the guest does not count");
            ulong before = Counter(to);
            guest.Change(level, index, round % 2 == 0 ? second : first);
            guest.Machine.Synchronize();
            ulong left = Counter(from);
            runner.Await(
                () =>
                {
                    Expect.Equal(Counter(from), left, $"the CPU goes on writing to the old page, round {round}");
                    return Counter(to) != before;
                },
                "the guest does not count in the new page");
        }

        ulong Page(int number) => guest.Frame(EngineGuest.FirstData + number).Address | EngineGuest.Rights;

        ulong Counter(int frame) => Volatile.Read(ref guest.Words(frame)[0]);
    });

    /// <summary>A guest that counts in its first data page, for ever.</summary>
    private EngineGuest CountingInMemory(int cpus)
    {
        EngineGuest guest = new(Engine, cpus);
        guest.Assemble(code =>
        {
            Label again = code.CreateLabel();
            code.mov(rbx, EngineGuest.Data);
            code.Label(ref again);
            code.inc(__qword_ptr[rbx]);
            code.jmp(again);
        });
        return guest;
    }

    /// <summary>One CPU that runs on a thread of its own until the end.</summary>
    private sealed class Runner : IDisposable
    {
        private readonly Thread _thread;
        private readonly ManualResetEventSlim _entered = new();
        private IEngineThread? _self;
        private Exception? _failure;
        private bool _ends;

        public Runner(ICpuEngine engine, EngineGuest guest, int cpu)
        {
            _thread = new Thread(() =>
            {
                try
                {
                    using (_self = engine.EnterThread(Environment.ProcessorCount > 1 ? 1 : 0))
                    {
                        _entered.Set();
                        while (!Volatile.Read(ref _ends))
                        {
                            Trap trap = guest.Cpus[cpu].Run(_self, Nanoseconds.Never);
                            Expect.Equal(trap.Kind, TrapKind.Preempted, trap.Diagnosis);
                        }
                    }
                }
                catch (Exception exception)
                {
                    _failure = exception;
                    _entered.Set();
                }
            });
            _thread.Start();
            _entered.Wait();
        }

        /// <summary>Waits for what the guest does; as long as a hung guest is waited for.</summary>
        public void Await(Func<bool> done, string orElse)
        {
            SpinWait wait = default;
            while (!done())
            {
                if (_failure is not null || !_thread.IsAlive)
                    Expect.Fail($"{orElse}: {_failure?.Message}");
                wait.SpinOnce();
            }
        }

        public void Dispose()
        {
            Volatile.Write(ref _ends, true);
            while (!_thread.Join(1))
                _self?.Kick();
            _entered.Dispose();
        }
    }
}
