using System.Diagnostics;
using System.Globalization;
using Tessera.Plugins.Cpu.Software;
using Tessera.Plugins.Cpu.Software.Memory;
using Tessera.Plugins.Cpu.Software.Translation;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Engine.Software.Tests;

/// <summary>
/// The translator's walls: whatever code and page tables a guest has, and whoever changes them meanwhile, what it reaches is the machine's memory.
/// Every mapping of that lies between guards that nobody may touch, read-only memory is read-only on the host too, what is hidden is closed; a stray
/// access faults there, and the engine says so or the process dies. TESSERA_WALLS is how many instructions, in longer runs of each machine; TESSERA_WALLS_SEED where to begin; TESSERA_WALLS_TRACE a file for the seed.
/// </summary>
[NonParallelizable]
internal sealed class WallsTests
{
    private const long DefaultInstructions = 400_000;
    private const int LeastMachines = 40;
    private const string Wanted = "TESSERA_WALLS";

    /// <summary>The suite takes the same machines each time; bench/guests/walls.sh takes others.</summary>
    private const long DefaultSeed = 20_030_919;

    /// <summary>Names a file that has the seed under way: a stray access of the engine's own code takes the process with it.</summary>
    private const string Trace = "TESSERA_WALLS_TRACE";

    [TestCase(false)]
    [TestCase(true)]
    public void Random_code_with_hostile_page_tables_reaches_nothing_outside_the_machine(bool plain)
    {
        long wanted = Setting(Wanted, DefaultInstructions) / 2;
        long first = Setting("TESSERA_WALLS_SEED", DefaultSeed);
        SortedDictionary<string, long> ends = [];
        long instructions = 0, seed = first;
        TestContext.Progress.WriteLine($"walls: TESSERA_WALLS_SEED={first}, plain {plain}");
        for (; instructions < wanted || seed < first + LeastMachines; seed++)
        {
            if (Environment.GetEnvironmentVariable(Trace) is { Length: > 0 } trace)
                File.WriteAllText(trace, $"TESSERA_WALLS_SEED={seed} plain {plain}\n");
            using HostileMachine machine = new(plain, (int)seed);
            try
            {
                instructions += machine.Run(ends);
            }
            catch (AssertionException failure)
            {
                throw new AssertionException($"TESSERA_WALLS_SEED={seed}, plain {plain}: {failure.Message}", failure);
            }
        }

        TestContext.Out.WriteLine($"seeds {first} to {seed - 1}: at least {instructions} instructions");
        TestContext.Out.WriteLine(string.Join("; ", ends.Select(end => $"{end.Key} {end.Value}")));
        using (Assert.EnterMultipleScope())
        {
            // What should be tried was tried.
            Assert.That(ends.Keys, Is.SupersetOf(new[] { "Preempted", "Syscall", "Hypercall", "Fatal", "Exception 6", "Exception 13", "Exception 14" }));
            Assert.That(File.ReadLines("/proc/self/maps").Where(line => line.Contains("tessera-code", StringComparison.Ordinal) && line.Contains("wx", StringComparison.Ordinal)), Is.Empty);
        }
    }

    private static long Setting(string name, long otherwise) =>
        long.TryParse(Environment.GetEnvironmentVariable(name), NumberStyles.None, CultureInfo.InvariantCulture, out long value) ? value : otherwise;

    /// <summary>A machine of two CPUs in guarded memory, all of it random by one seed but for the few tables that lead to code.</summary>
    private sealed unsafe class HostileMachine : IDisposable
    {
        // SAFETY: writes inside its own guarded memory only.
        private const int Frames = 64;
        private const int Tables = 8;
        private const int Sane = 4;
        private const int FixedFrames = 4;
        private const int ForeignFrames = 4;
        private const int FixedAt = Frames + 16;
        private const int ForeignAt = 5000;

        /// <summary>Entries after which a wild machine begins with tables that lead somewhere, as it did at first; and all of them in a usual run.</summary>
        private const int Entries = 400;

        /// <summary>And where as many instructions as said are wanted: making a machine takes longer than so many entries.</summary>
        private const int ManyEntries = 4000;
        private const ulong Rights = 7;
        private const ulong Large = 0x80;
        private const ulong NoExecute = 1UL << 63;
        private const long Quantum = 30_000;

        private readonly Random _random;

        /// <summary>Nothing is put right again, and more is changed: every entry ends soon, and in other ways.</summary>
        private readonly bool _isWild;
        private readonly HostileCode _code;
        private readonly GuardedMemory _memory = new(Frames);
        private readonly GuardedMemory _fixed = new(FixedFrames);
        private readonly GuardedMemory _foreign = new(ForeignFrames);
        private readonly bool[] _isShown = new bool[ForeignFrames];
        private readonly SoftwareEngine _engine;
        private readonly IEngineThread _thread;
        private readonly SoftwareMachine _machine;
        private readonly SoftwareCpu[] _cpus;

        public HostileMachine(bool plain, int seed)
        {
            _random = new Random(seed);
            _isWild = _random.Next(2) == 0;
            _code = new HostileCode(_random);
            _engine = new SoftwareEngine(new SoftwareOptions { Plain = plain });
            _thread = _engine.EnterThread(Environment.ProcessorCount - 1);
            for (int page = 0; page < FixedFrames; page++)
            {
                // What is read-only has entries too, which lead to somewhere, and no accessed bits.
                for (int index = 0; index < 512; index++)
                    ((ulong*)_fixed.Page(page))[index] = Frame(_random.Next(Frames)).Address | Rights;
                _fixed.Open(page, writable: false);
            }

            for (int page = 0; page < ForeignFrames; page++)
                _foreign.Close(page);
            _machine = (SoftwareMachine)_engine.CreateMachine(new GuestMachineLayout
            {
                Name = "walls",
                Regions = [new MemoryRegion(Frame(0), Frames, _memory.Page(0), IsReadOnly: false), new MemoryRegion(Frame(FixedAt), FixedFrames, _fixed.Page(0), IsReadOnly: true)],
                MaxCpus = 2,
            });
            Assert.That(Arena(), Is.EqualTo((CodeStart, CodeStart + CodeSpace.SlotBytes)), "the only machine's code runs where it says");
            _cpus = [(SoftwareCpu)_machine.CreateCpu(0), (SoftwareCpu)_machine.CreateCpu(1)];
            for (int frame = Tables; frame < Frames; frame++)
                _code.Fill(new Span<byte>((void*)_memory.Page(frame), 4096));
            for (int frame = 0; frame < Tables; frame++)
                Rewrite(frame);
            Restore();
        }

        /// <summary>Enters it again and again; counts how each time ended.</summary>
        /// <returns>How many instructions ran at least.</returns>
        public long Run(IDictionary<string, long> ends)
        {
            long instructions = 0;
            bool isLost = true;
            int entries = Environment.GetEnvironmentVariable(Wanted) is null ? Entries : ManyEntries;
            for (int entry = 0; entry < entries; entry++)
            {
                if (entry % (_isWild ? Entries : 32) == 0)
                    Restore();
                Disturb();
                SoftwareCpu cpu = _cpus[_random.Next(2)];
                if (isLost || _isWild || _random.Next(8) == 0)
                    Prepare(ref cpu.State);
                else
                    GoOn(ref cpu.State);
                Trap trap = cpu.Run(_thread, new Nanoseconds(Stopwatch.GetTimestamp()) + Nanoseconds.FromMicroseconds(100));
                isLost = trap.Kind == TrapKind.Fatal || (trap.Kind == TrapKind.Exception && (trap.ErrorCode & 0x10) != 0);
                string end = trap.Kind == TrapKind.Exception ? $"Exception {trap.Vector}" : $"{trap.Kind}";
                ends[end] = (ends.TryGetValue(end, out long count) ? count : 0) + 1;
                if (trap.Kind == TrapKind.Fatal)
                    Assert.That(trap.Diagnosis, Does.Contain("memory that the machine does not have"));
                RootContext current = cpu.Contexts.MaxBy(context => context.Used)!;
                instructions += Math.Max(1, Quantum - (long)current[StateBlock.Budget]);
                if (entry % 16 == 0)
                    Check();
            }

            return instructions;
        }

        public void Dispose()
        {
            _machine.Dispose();
            _thread.Dispose();
            _engine.Dispose();
            _memory.Dispose();
            _fixed.Dispose();
            _foreign.Dispose();
        }

        /// <summary>Where the only machine's code runs.</summary>
        private static (ulong Start, ulong End) Arena()
        {
            string[] bounds = File.ReadLines("/proc/self/maps").Single(line => line.Contains("memfd:tessera-code", StringComparison.Ordinal) && line.Contains("r-xs", StringComparison.Ordinal)).Split(' ')[0].Split('-');
            return (ulong.Parse(bounds[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture), ulong.Parse(bounds[1], NumberStyles.HexNumber, CultureInfo.InvariantCulture));
        }

        /// <summary>Where the code of now runs: a machine that has filled half of what all share gets code of its own, elsewhere.</summary>
        private ulong CodeStart => (ulong)_machine.Translator.Thunks.Fault - Thunks.FaultOffset;

        private Mfn Frame(int index) => new(SoftwareEngine.ReservedFrames + index);

        private Span<ulong> Words(int frame) => new((void*)_memory.Page(frame), 512);

        /// <summary>What a table may have in it: anything, but often enough something that works.</summary>
        private ulong Entry(int table)
        {
            ulong target = _random.Next(16) switch
            {
                0 => Frame(FixedAt + _random.Next(FixedFrames)).Address,
                1 => Frame(ForeignAt + _random.Next(ForeignFrames)).Address,
                2 => Frame(_random.Next(Tables)).Address,
                3 => Frame(table).Address,
                4 => Frame(_random.Next(2) == 0 ? Frames - 1 : 0).Address,
                5 => Frame(_random.Next(4) switch { 0 => -1, 1 => Frames, 2 => FixedAt + FixedFrames, _ => -(int)SoftwareEngine.ReservedFrames }).Address,
                6 => (ulong)_random.NextInt64() & 0x000f_ffff_ffff_f000,
                _ => Frame(_random.Next(Frames)).Address,
            };
            ulong rights = _random.Next(8) switch { 0 => (ulong)_random.Next(4096), 1 => 5, 2 => Rights | Large, 3 => Rights | NoExecute, _ => Rights };
            return target | rights;
        }

        /// <summary>Changes something before the next entry: told as the VMM tells, or not, as another vCPU does.</summary>
        private void Disturb()
        {
            for (int times = _isWild ? _random.Next(4) : Math.Max(0, _random.Next(12) - 8); times > 0; times--)
            {
                int frame = _random.Next(Tables), index = _random.Next(2) == 0 ? _random.Next(8) : _random.Next(512);
                switch (_random.Next(8))
                {
                    case < 3:
                        Change(frame, index, Entry(frame));
                        break;
                    case 3:
                        Words(frame)[index] = Entry(frame);
                        break;
                    case 4:
                        frame = _random.Next(Frames);
                        _code.Fill(new Span<byte>((byte*)_memory.Page(frame) + _random.Next(4000), 64));
                        _machine.MemoryWritten(Frame(frame));
                        break;
                    case 5:
                        _machine.RootRetired(Frame(_random.Next(Tables)));
                        break;
                    default:
                        ShowOrHide(_random.Next(ForeignFrames));
                        break;
                }
            }
        }

        private void Rewrite(int table)
        {
            for (int index = 0; index < 512; index++)
                Change(table, index, table > 2 && !_isWild && _random.Next(8) != 0 ? Frame(_random.Next(Frames)).Address | Rights : Entry(table));
        }

        /// <summary>Frames 0 to 2 lead to the level-1 tables 3 to 6 again, one of which begins anew.</summary>
        private void Restore()
        {
            Change(0, 0, Frame(1).Address | Rights);
            Change(1, 0, Frame(2).Address | Rights);
            for (int table = 0; table < Sane; table++)
                Change(2, table, Frame(3 + table).Address | Rights);
            Rewrite(3 + _random.Next(Sane));
        }

        private void Change(int table, int index, ulong entry)
        {
            ulong old = Words(table)[index];
            Words(table)[index] = entry;
            _machine.EntryChanged(Frame(table).Address + ((ulong)index * 8), old, entry);
        }

        private void ShowOrHide(int foreign)
        {
            if (_isShown[foreign])
            {
                _machine.Hide(Frame(ForeignAt + foreign));
                _foreign.Close(foreign);
            }
            else
            {
                bool isReadOnly = foreign % 2 == 0;
                _foreign.Open(foreign, !isReadOnly);
                Assert.That(_machine.TryShow(new MemoryRegion(Frame(ForeignAt + foreign), 1, _foreign.Page(foreign), isReadOnly)), Is.True);
            }

            _isShown[foreign] = !_isShown[foreign];
        }

        private void Prepare(ref GuestCpuState state)
        {
            Span<ulong> registers = stackalloc ulong[16];
            foreach (ref ulong register in registers)
                register = Address();
            (state.Rax, state.Rbx, state.Rcx, state.Rdx, state.Rsi, state.Rdi, state.Rsp, state.Rbp) = (registers[0], registers[1], registers[2], registers[3], registers[4], registers[5], registers[6], registers[7]);
            (state.R8, state.R9, state.R10, state.R11, state.R12, state.R13, state.R14, state.R15) = (registers[8], registers[9], registers[10], registers[11], registers[12], registers[13], registers[14], registers[15]);
            if (_random.Next(2) == 0)
                state.Rcx = (ulong)_random.Next(5000);
            state.Rip = Address();
            state.Rflags = 0x202 | ((ulong)_random.Next(1 << 12) & (_random.Next(8) == 0 ? 0xfd5UL : 0x8d5UL));
            state.FsBase = _random.Next(2) == 0 ? 0 : Address();
            state.GsBase = _random.Next(2) == 0 ? 0 : Address();
            state.Root = _random.Next(16) switch { 0 => Frame(Frames), 1 => Frame(_random.Next(Frames)), 2 => Frame(FixedAt), 3 => Frame(_random.Next(Tables)), _ => Frame(0) };
        }

        /// <summary>After whatever ended the last entry, a little further on, with one register anew.</summary>
        private void GoOn(ref GuestCpuState state)
        {
            state.Rip = _random.Next(8) == 0 ? Address() : state.Rip + (ulong)_random.Next(1, 8);
            state.Rflags = (state.Rflags & ~0x100UL) | 0x202;
            switch (_random.Next(6))
            {
                case 0: state.Rbx = Address(); break;
                case 1: state.Rsp = Address(); break;
                case 2: state.Rdi = Address(); break;
                case 3: state.Rsi = Address(); break;
                case 4: state.Rax = Address(); break;
                default: state.R9 = Address(); break;
            }
        }

        private ulong Address()
        {
            ulong offset = _random.Next(3) switch { 0 => (ulong)_random.Next(4096), 1 => 4096 - (ulong)_random.Next(1, 40), _ => (ulong)_random.Next(512) * 8 };
            return _random.Next(16) switch
            {
                0 => (ulong)_random.NextInt64() << _random.Next(2),
                1 when _random.Next(2) == 0 => _random.Next(2) == 0 ? 0 - StateBlock.NoPageIn(_random.Next(2)) + offset : StateBlock.NoCodeIn(StateBlock.JumpEntries - _random.Next(1, 3)),
                1 => (ulong)((long)((ulong)_random.NextInt64() << 16) >> 16),
                2 => _memory.Edge(_random.Next(2) == 0) + (ulong)(long)_random.Next(-64, 64),
                3 => (_random.Next(2) == 0 ? _fixed : _foreign).Edge(_random.Next(2) == 0) + (ulong)(long)_random.Next(-64, 64),
                4 => ((ulong)_random.Next(4) << 39) | ((ulong)_random.Next(4) << 30) | ((ulong)_random.Next(8) << 21) | offset,
                _ => ((ulong)_random.Next(Sane) << 21) | ((ulong)_random.Next(512) << 12) | offset,
            };
        }

        /// <summary>
        /// What translated code may reach without asking: pages of the machine, for writing none that is read-only or has been translated; and code in the arena. Looked at so often that nothing
        /// is asserted where nothing is wrong.
        /// </summary>
        private void Check()
        {
            foreach (SoftwareCpu cpu in _cpus)
            {
                foreach (RootContext context in cpu.Contexts)
                {
                    if (context.Root < 0 || context.Epoch != _machine.Epoch)
                        continue;
                    for (int slot = 0; slot < StateBlock.TlbEntries; slot++)
                    {
                        if (Wrong(context, slot) is { } wrong)
                            Assert.Fail($"slot {slot} leads to 0x{context[StateBlock.TlbHost + (slot * 8)]:x}: {wrong}");
                    }

                    for (int jump = 0; jump < StateBlock.JumpEntries && context.CodeEpoch == _machine.CodeEpoch; jump++)
                    {
                        ulong target = context[StateBlock.JumpTargets + (jump * 8)];
                        if (context[StateBlock.JumpTags + (jump * 8)] != StateBlock.NoCodeIn(jump) && target - CodeStart >= CodeSpace.SlotBytes)
                            Assert.Fail($"jump {jump} leads to 0x{target:x}");
                    }
                }
            }
        }

        /// <summary>What is wrong with a slot; null for nothing.</summary>
        private string? Wrong(RootContext context, int slot)
        {
            ulong read = context[StateBlock.TlbRead + (slot * 8)], write = context[StateBlock.TlbWrite + (slot * 8)], host = context[StateBlock.TlbHost + (slot * 8)];
            ulong empty = StateBlock.NoPageIn(slot);
            if (RootContext.SlotOf(0 - empty) == slot || RootContext.SlotOf(0 - empty - 1) == slot)
                return "what is looked for in it matches it empty";
            if (read == empty && write == empty)
                return null;
            if (context[StateBlock.TlbDelta + (slot * 8)] != host + read)
                return "one slot, two answers";
            if (write != empty && write != read)
                return "another page to write";
            return (host & 4095) == 0 && Allows(host, write != empty) ? null : "not the machine's, or not to be written";
        }

        private bool Allows(ulong host, bool write)
        {
            ulong own = host - (ulong)_memory.Page(0);
            if (own < Frames * 4096UL)
                return !write || !_machine.Frames.HoldsCode(Frame(0).Address + own);
            if (host - (ulong)_fixed.Page(0) < FixedFrames * 4096UL)
                return !write;
            ulong foreign = (host - (ulong)_foreign.Page(0)) >> 12;
            return foreign < ForeignFrames && _isShown[foreign] && (!write || foreign % 2 != 0);
        }
    }
}
