using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using Tessera.Guests;
using Tessera.Images;
using Tessera.Kernel.Memory;
using Tessera.Kernel.Time;
using Tessera.Plugins.Memory.DirectPaging;
using Tessera.Plugins.Memory.StaticPartition;
using Tessera.Plugins.Schedulers.RoundRobin;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Xen;
using static Tessera.Kernel.Tests.Scripted.Script;
using static Tessera.Kernel.Tests.Scripted.Struct;

namespace Tessera.Kernel.Tests.Scripted;

/// <summary>
/// A domain whose kernel is a script, on a whole machine in virtual time: the physical CPU, the scheduler core and the traps' way are the
/// real ones, and all that a row looks at is
/// what an engine has: registers and memory. It has set a trap table, callbacks and its GS base, and events are masked. This file alone
/// knows how a machine is made.
/// </summary>
internal sealed unsafe class ScriptedGuest : IDisposable
{
    public const ulong VirtBase = 0xffff_ffff_8000_0000;

    private const int PageBytes = 4096;
    private const long Pages = 512;
    private const ulong InterruptFlag = 0x200;
    private const ulong ClearedByBounce = 0x7_4100; // TF NT RF VM AC
    private const long LongestStep = 1_000_000;

    private static readonly KernelImage Image = KernelImage.Load(BuiltinGuests.Build("spin"), "spin");

    private readonly Machine _machine;
    private readonly ScriptedEngine _engine;
    private readonly CountingScheduler _scheduler;
    private readonly List<Exception> _failures;
    private readonly Domain _domain;
    private readonly ScriptedGuest? _first;
    private readonly ScriptedMachine _hardware;
    private readonly ScriptedCpu _cpu;
    private readonly ulong _root;
    private readonly List<(R Register, ulong Value)> _registers = [];
    private readonly List<(ulong Address, byte[] Bytes)> _stores = [];
    private ScriptedGuest? _other;
    private Before? _before;

    public ScriptedGuest()
        : this(null)
    {
    }

    private ScriptedGuest(ScriptedGuest? first)
    {
        _first = first;
        (_engine, _scheduler, _failures) = (first?._engine ?? new ScriptedEngine(), first?._scheduler ?? new CountingScheduler(),
            first?._failures ?? []);
        _machine = first?._machine ?? new Machine(new MachineConfiguration
        {
            HostCpus = [0],
            MemoryLimitBytes = 16L << 20,
            Engine = _engine,
            Mmu = new DirectPaging(),
            MemoryPolicy = new StaticPartition(),
            Scheduler = _scheduler,
            SchedulerName = "round-robin",
            FallbackScheduler = () => new RoundRobinScheduler(new RoundRobinOptions()),
            VirtualTime = new VirtualTimeOptions { Turn = new Nanoseconds(1000), InstructionsPerMicrosecond = 1000 },
        })
        {
            Failed = _failures.Add,
        };
        _domain = _machine.CreateDomain(new DomainConfiguration
        {
            Name = first is null ? "first" : "other",
            Image = Image,
            MemoryBytes = Pages * PageBytes,
        });
        _hardware = _engine.Machines[^1];
        _cpu = _hardware.Cpus[0];
        _root = _cpu.State.Root.Address;
        SharedInfo = MemoryMarshal.Read<ulong>(Memory[(int)(_cpu.State.Rsi - VirtBase + StartInfo.SharedInfo)..]);
        _machine.Start(_domain);
        Boot();
    }

    /// <summary>The domain's number.</summary>
    public ulong Id => _domain.Id.Value;

    /// <summary>Machine address of shared_info.</summary>
    public ulong SharedInfo { get; }

    /// <summary>Another domain of the machine, booted when it is first asked for.</summary>
    public ScriptedGuest Other => _first ?? (_other ??= MakeOther());

    /// <summary>The vCPU.</summary>
    public ScriptedCpu Cpu => _cpu;

    private MemoryRegion Region => _hardware.Layout.Regions[0];

    // SAFETY: the engine's view of the domain's memory, which lives as long as the machine.
    private Span<byte> Memory => new((void*)Region.HostAddress, OwnFrames * PageBytes);

    /// <summary>How many frames are its own: memory, shared_info, the grant table and its status.</summary>
    public int OwnFrames { get; } = (int)DomainMemory.FramesFor(Pages);

    /// <summary>With what the VMM has behind them.</summary>
    public int AllFrames => (int)Region.Frames;

    /// <summary>The number of a page's machine frame.</summary>
    public ulong Frame(int page) => (ulong)(Region.First.Value + page);

    /// <summary>Machine address of the entry of a level that an address goes through.</summary>
    public ulong EntryOf(ulong address, int level)
    {
        ulong table = _root;
        for (int at = 4; ; at--)
        {
            ulong entry = table + (((address >> (3 + (9 * at))) & 511) * 8);
            if (at == level)
                return entry;
            table = PageTableEntry.FrameOf(MemoryMarshal.Read<ulong>(Memory[OffsetOf(entry)..])).Address;
        }
    }

    /// <summary>Runs a row.</summary>
    public void Check(Row row)
    {
        foreach (Step step in row.After ?? [])
            Prepare(step);
        if (row.Step.Trap is null && row.Step.Until is null)
            Assert.Fail("a row's step is something that the VMM learns of");
        Outcome outcome = Perform(row.Step);
        Before before = _before!;
        Assert.That((outcome, _domain.ExitReason), Is.EqualTo((row.Outcome, row.Reason is null ? "" : _domain.ExitReason)));
        Assert.That(_domain.ExitReason, Does.Contain(row.Reason ?? ""));
        byte[] memory = before.Memory;
        ulong[] registers = before.Registers;
        bool isHypercall = !before.UserMode && row.Step.Trap?.Kind is TrapKind.Syscall or TrapKind.Hypercall && !before.Is(R.Is32Bit);
        if (row.Rax is { } rax)
            registers[(int)R.Rax] = rax.Of(this);
        else if (isHypercall)
            registers[(int)R.Rax] = 0;
        foreach ((R register, Value value) in row.Registers ?? [])
            registers[(int)register] = value.Of(this);
        if (row.Out is { } structure)
            Expect(memory, new Store(row.Step.Stores[0].Address, structure));
        foreach (Store store in row.Memory ?? [])
            Expect(memory, store);
        foreach (int port in row.Events ?? [])
            ExpectPending(memory, port);
        if (row.Enters is { } bounce)
            ExpectEntry(before, bounce);
        if (outcome != Outcome.Ends)
            AssertRegisters(registers);
        AssertMemory(memory);
        int printed = (int)(_domain.Console.BytesWritten - before.ConsoleBytes);
        Assert.That(Encoding.ASCII.GetString(_domain.Console.Tail(printed)), Is.EqualTo(row.Console ?? ""), "console");
        Assert.That(_failures, Is.Empty);
    }

    public void Dispose()
    {
        if (_first is null)
        {
            _machine.Dispose();
            _engine.Dispose();
        }

        Assert.That(_failures, Is.Empty);
    }

    /// <summary>Does what comes before a row; a hypercall must not fail.</summary>
    public void Prepare(Step step)
    {
        if (step.IsOthers)
        {
            ScriptedGuest other = Other;
            _machine.Pause(_domain);
            _machine.Resume(other._domain);
            other.Prepare(step with { IsOthers = false });
            _machine.Pause(other._domain);
            _machine.Resume(_domain);
            return;
        }

        if (step.Trap is null && step.Until is null)
        {
            Collect(step);
            return;
        }

        bool isHypercall = !IsUserMode && step.Trap?.Kind is TrapKind.Syscall;
        _ = Perform(step);
        if (isHypercall)
            Assert.That((long)_cpu.State.Rax, Is.Not.InRange(-1000, -1), "a hypercall before the row failed");
    }

    private bool IsUserMode => _domain.Vcpus[0].Context.UserMode;

    private void Boot()
    {
        Prepare(Sets(
            (R.Rbx, 0xbbbb), (R.Rcx, 0xc0c0), (R.Rdx, 0xd0d0), (R.Rsi, 0x5151), (R.Rdi, 0xd1d1), (R.Rbp, 0xbebe), (R.Rsp, KernelStack),
            (R.R8, 0x0808), (R.R9, 0x0909), (R.R10, 0x1010), (R.R11, 0x1b1b), (R.R12, 0x1212), (R.R13, 0x1313), (R.R14, 0x1414),
            (R.R15, 0x1515), (R.Rip, At(CodePage, 0x100)), (R.Rflags, 0x246), (R.GsBase, KernelGs)));
        List<Struct> table = [];
        for (int vector = 0; vector < 32; vector++)
        {
            if (vector is not (5 or 8))
                table.Add(Gate(vector, dpl: vector is 3 or 4 ? 3 : 0, masks: vector == 1));
        }

        table.AddRange([Gate(0x80, 3, false), Gate(0x81, 1, false), Gate(0x82, 0, false), new Struct(U64(0), U64(0))]);
        Prepare(Call(Hypercall.SetTrapTable, Array([.. table])));
        CallbackType[] types = [CallbackType.Event, CallbackType.Failsafe, CallbackType.Syscall];
        Prepare(Call(Hypercall.SetCallbacks, [.. types.Select(type => (Argument)Callback(type))]));

        static Struct Gate(int vector, int dpl, bool masks) =>
            new(U8(vector), U8(dpl | (masks ? TrapInfoFlags.MaskEvents : 0)), U16(FlatSelectors.Code64), U64(Handler(vector)));
    }

    private ScriptedGuest MakeOther()
    {
        _machine.Pause(_domain);
        ScriptedGuest other = new(this);
        _machine.Pause(other._domain);
        _machine.Resume(_domain);
        return other;
    }

    private void Collect(Step step)
    {
        foreach ((R register, Value value) in step.Registers)
            _registers.Add((register, value.Of(this)));
        foreach (Store store in step.Stores)
        {
            ulong address = store.Address.Of(this);
            byte[] bytes = Memory.Slice(OffsetOf(address), store.Bytes.Bytes).ToArray();
            store.Bytes.Write(this, bytes);
            _stores.Add((address, bytes));
        }
    }

    /// <summary>Lets the guest take a step, and the machine go on until the guest is entered again or nothing happens any more.</summary>
    private Outcome Perform(Step step)
    {
        Collect(step);
        Trap trap = step.Trap ?? new Trap { Kind = TrapKind.Preempted, IsInterruptible = true };
        trap.FaultAddress = step.Address?.Of(this) ?? 0;
        Func<ScriptedCpu, (Trap Trap, long Time)> next = cpu =>
        {
            foreach ((R register, ulong value) in _registers)
                Set(ref cpu.State, register, value);
            foreach ((ulong address, byte[] bytes) in _stores)
                bytes.CopyTo(Memory[OffsetOf(address)..]);
            _registers.Clear();
            _stores.Clear();
            _before = Now();
            return (trap, Math.Max(1, step.Time));
        };
        if (step.Until is { } until)
        {
            // Whoever sleeps has no step to take; the registers and memory to compare with are those of now.
            _before = Now();
            _cpu.Next = _registers.Count + _stores.Count > 0 ? next : null;
            _cpu.IsBack = false;
            _machine.RunUntil(new Nanoseconds(until));
        }
        else
        {
            (_cpu.Next, _cpu.IsBack) = (next, false);
            _machine.RunUntil(_machine.Now + new Nanoseconds(LongestStep + step.Time),
                () => (_cpu.IsBack && _cpu.Next is null) || HasEnded);
        }

        Assert.That(_cpu.Next, Is.Null, "the guest sleeps, or has ended: it takes no step");
        return HasEnded ? Outcome.Ends
            : !_cpu.IsBack ? Outcome.Sleeps
            : _scheduler.Yields != _before!.Yields ? Outcome.Yields
            : step.Until is null && _scheduler.Decisions != _before.Decisions ? Outcome.IsPreempted
            : Outcome.GoesOn;
    }

    private bool HasEnded => _domain.State is DomainState.Shutdown or DomainState.Suspended or DomainState.Crashed;

    private Before Now() =>
        new(Registers(), Memory.ToArray(), IsUserMode, _scheduler.Decisions, _scheduler.Yields, _domain.Console.BytesWritten);

    private int OffsetOf(ulong address)
    {
        ulong offset = address >= VirtBase ? address - VirtBase : address - Region.First.Address;
        Assert.That(offset, Is.LessThan((ulong)Memory.Length), $"0x{address:x} is not the guest's");
        return (int)offset;
    }

    private void Expect(byte[] memory, Store store)
    {
        Memory<byte> expected = memory.AsMemory(OffsetOf(store.Address.Of(this)), store.Bytes.Bytes);
        store.Bytes.Write(this, expected);
        store.Bytes.Ignore(Memory.Slice(OffsetOf(store.Address.Of(this)), store.Bytes.Bytes), expected);
    }

    private void ExpectPending(byte[] memory, int port)
    {
        Span<byte> shared = memory.AsSpan(OffsetOf(SharedInfo));
        shared[Sdk.Xen.SharedInfo.EventPending + (port / 8)] |= (byte)(1 << (port % 8));
        shared[VcpuInfo.PendingSelector + (port / 512)] |= (byte)(1 << (port / 64 % 8));
        shared[VcpuInfo.UpcallPending] = 1;
    }

    /// <summary>
    /// Xen's bounce frame (create_bounce_frame): what the guest's handler finds on its stack, and in which state it begins.
    /// </summary>
    private void ExpectEntry(Before before, Bounce bounce)
    {
        ulong[] registers = before.Registers;
        bool isUser = before.UserMode || bounce.FromUser;
        Span<byte> info = before.Memory.AsSpan(OffsetOf(SharedInfo));
        ulong mask = info[VcpuInfo.UpcallMask] == 0 ? 0UL : 1;
        ulong Saved(R register)
        {
            foreach ((R named, Value value) in bounce.Saved)
            {
                if (named == register)
                    return value.Of(this);
            }

            return registers[(int)register];
        }

        bool isFlagsNamed = bounce.Saved.Any(named => named.Register == R.Rflags);
        List<ulong> frame = [Saved(R.Rcx), Saved(R.R11)];
        if (bounce.Error is { } error)
            frame.Add(error.Of(this));
        frame.Add(Saved(R.Rip));
        frame.Add((isUser ? Saved(R.Cs) : Saved(R.Cs) & ~3UL) | (mask << 32));
        frame.Add(isFlagsNamed ? Saved(R.Rflags) : (Saved(R.Rflags) & ~InterruptFlag) | (mask == 0 ? InterruptFlag : 0));
        frame.Add(Saved(R.Rsp));
        frame.Add(Saved(R.Ss));
        ulong stack = ((isUser ? KernelStack : Saved(R.Rsp)) & ~15UL) - ((ulong)frame.Count * 8);
        MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(frame)).CopyTo(before.Memory.AsSpan(OffsetOf(stack)));
        if (bounce.Masks)
            info[VcpuInfo.UpcallMask] = 1;
        (registers[(int)R.Rsp], registers[(int)R.Rip]) = (stack, bounce.Handler.Of(this));
        registers[(int)R.Rflags] = (registers[(int)R.Rflags] & ~ClearedByBounce) | InterruptFlag;
        (registers[(int)R.Cs], registers[(int)R.Ss], registers[(int)R.Is32Bit]) = (FlatSelectors.Code64, FlatSelectors.Data, 0);
        if (isUser)
            (registers[(int)R.GsBase], registers[(int)R.Root]) = (KernelGs, _root >> 12);
    }

    private void AssertRegisters(ulong[] expected)
    {
        ulong[] actual = Registers();
        foreach (R register in Enum.GetValues<R>())
            Assert.That($"{register} {actual[(int)register]:x}", Is.EqualTo($"{register} {expected[(int)register]:x}"));
    }

    private void AssertMemory(byte[] expected)
    {
        int at = Memory.CommonPrefixLength(expected);
        if (at == expected.Length)
            return;
        at &= ~7;
        long inSharedInfo = (long)(Region.First.Address + (ulong)at - SharedInfo);
        string where = inSharedInfo >= 0 ? $"shared_info + 0x{inSharedInfo:x}" : $"page {at / PageBytes} + 0x{at % PageBytes:x}";
        ulong actual = MemoryMarshal.Read<ulong>(Memory[at..]);
        Assert.That($"{where}: {actual:x}", Is.EqualTo($"{where}: {MemoryMarshal.Read<ulong>(expected.AsSpan(at)):x}"));
    }

    private ulong[] Registers()
    {
        ulong[] all = new ulong[Enum.GetValues<R>().Length];
        ref GuestCpuState state = ref _cpu.State;
        MemoryMarshal.CreateReadOnlySpan(ref state.Rax, (int)R.Dr7 + 1).CopyTo(all);
        ReadOnlySpan<ulong> others =
        [
            state.Cs, state.Ss, state.Ds, state.Es, state.Fs, state.Gs,
            (ulong)state.Root.Value, state.Is32Bit ? 1UL : 0, state.TaskSwitched ? 1UL : 0,
        ];
        others.CopyTo(all.AsSpan((int)R.Cs));
        return all;
    }

    private static void Set(ref GuestCpuState state, R register, ulong value)
    {
        switch (register)
        {
            case <= R.Dr7: Unsafe.Add(ref state.Rax, (int)register) = value; break;
            case R.Cs: state.Cs = (ushort)value; break;
            case R.Ss: state.Ss = (ushort)value; break;
            case R.Ds: state.Ds = (ushort)value; break;
            case R.Es: state.Es = (ushort)value; break;
            case R.Fs: state.Fs = (ushort)value; break;
            case R.Gs: state.Gs = (ushort)value; break;
            case R.Is32Bit: state.Is32Bit = value != 0; break;
            case R.TaskSwitched: state.TaskSwitched = value != 0; break;
            default: throw new ArgumentOutOfRangeException(nameof(register), register, "A guest does not set it.");
        }
    }

    /// <summary>How everything was when the trap came; rows then say what is different.</summary>
    private sealed record Before(ulong[] Registers, byte[] Memory, bool UserMode, int Decisions, int Yields, long ConsoleBytes)
    {
        public bool Is(R register) => Registers[(int)register] != 0;
    }

    /// <summary>Round robin that counts.</summary>
    private sealed class CountingScheduler() : WrappedScheduler(new RoundRobinScheduler(new RoundRobinOptions()))
    {
        public int Decisions { get; private set; }

        public int Yields { get; private set; }

        protected override void Before(SchedulerCall call, SchedulableVcpu? vcpu)
        {
            Decisions += call == SchedulerCall.Schedule ? 1 : 0;
            Yields += call == SchedulerCall.Yield ? 1 : 0;
        }
    }
}
