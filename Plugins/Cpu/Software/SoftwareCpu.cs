using System.Diagnostics;
using Iced.Intel;
using Tessera.Plugins.Cpu.Software.Memory;
using Tessera.Plugins.Cpu.Software.Native;
using Tessera.Plugins.Cpu.Software.Translation;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Plugins.Cpu.Software;

/// <summary>
/// One vCPU: enters translated code, and does in C# what translated code leaves for: TLB misses, jumps that are not linked, instructions that
/// need help, faults of the host's processor. Registers are the state block's while it runs, <see cref="State"/>'s in between.
/// </summary>
internal sealed unsafe partial class SoftwareCpu : IGuestCpu, IGuestClock
{
    // SAFETY: state blocks live until Dispose; guest memory is only reached where the walker said it is; one thread at a time runs a machine.

    private const int Bytes4K = 4096;
    private const ulong ArithmeticFlags = 0x8d5;
    private const ulong DirectionFlag = 0x400;
    private const ulong TrapFlag = 0x100;

    /// <summary>TF, NT, AC and ID: kept apart, since the host's would act on them.</summary>
    private const ulong SoftFlags = 0x100 | 0x4000 | 0x4_0000 | 0x20_0000;
    private const ulong AlwaysSet = 0x202;
    private const ushort FlatCode64 = 0xe033;
    private const ushort FlatData = 0xe02b;

    private readonly SoftwareMachine _machine;
    private Translator _translator;
    private AloneCode _alone = null!;
    private readonly VectorArea _vectors = new();
    private readonly List<RootContext> _contexts = [];
    private GuestCpuState _state;
    private RootContext _context = null!;
    private long _tick;
    private bool _disposed;

    /// <summary>The code that was found last may be jumped to from elsewhere in its page.</summary>
    private bool _linkable;

    /// <summary>The instruction under way is one that TF steps over.</summary>
    private bool _stepping;

    public SoftwareCpu(SoftwareMachine machine)
    {
        _machine = machine;
        _translator = machine.Translator;
        _random = machine.Time?.Seed ?? 0;
        _state.Cs = FlatCode64;
        _state.Ss = _state.Ds = _state.Es = FlatData;
        _state.Dr6 = 0xffff0ff0;
        _state.Dr7 = 0x400;
        _context = NewContext();
    }

    private enum Step
    {
        /// <summary>Look the next instruction up at <see cref="StateBlock.Rip"/>.</summary>
        LookUp,

        /// <summary>Enter the code that was found.</summary>
        Enter,

        /// <summary>Look at the time and at kicks before the next instruction.</summary>
        Look,

        /// <summary>Come back with the trap.</summary>
        Trap,

        /// <summary>Let another CPU of the machine have a turn.</summary>
        GiveWay,
    }

    /// <inheritdoc/>
    public ref GuestCpuState State => ref _state;

    /// <summary>What it keeps of each root.</summary>
    public IReadOnlyList<RootContext> Contexts => _contexts;

    /// <inheritdoc/>
    public Trap Run(IEngineThread thread, Nanoseconds deadline)
    {
        SoftwareThread self = (SoftwareThread)thread;
        _alone = self.Alone;
        Trap trap = new() { Kind = TrapKind.Preempted, IsInterruptible = true };
        while (true)
        {
            if (self.TakeKick() || (MayBeLate(deadline.Value) && IsLate(deadline.Value)) || !_machine.TryEnter(self, deadline.Value))
                return trap;
            Step step;
            try
            {
                step = Execute(self, deadline.Value, ref trap);
            }
            finally
            {
                _machine.Leave();
            }

            if (step == Step.Trap)
                return trap;
        }
    }

    /// <summary>No page may be written without notice any more.</summary>
    public void FlushWrites()
    {
        foreach (RootContext context in _contexts)
            context.FlushWrites();
    }

    /// <summary>Forgets what came from an L1 entry.</summary>
    public void Drop(ulong entryAddress)
    {
        foreach (RootContext context in _contexts)
            context.Drop(entryAddress);
    }

    /// <summary>Forgets a root.</summary>
    public void DropRoot(long root)
    {
        foreach (RootContext context in _contexts)
        {
            if (context.Root != root)
                continue;
            context.Flush();
            context.Root = -1;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        _context.Dispose();
        foreach (RootContext context in _contexts)
        {
            if (context != _context)
                context.Dispose();
        }

        _vectors.Dispose();
    }

    private Step Execute(SoftwareThread self, long deadline, ref Trap trap)
    {
        _translator = _machine.Translator;
        Switch(_state.Root.Value);
        Load();
        Arm();
        if (EnterMode(ref trap) == Step.Trap)
            return Step.Trap;
        delegate* unmanaged<byte*, nint, void> enter = (delegate* unmanaged<byte*, nint, void>)_translator.Thunks.Enter;
        nint code = 0;
        Step step = Step.LookUp;
        while (true)
        {
            if (step == Step.LookUp)
            {
                step = (_context[StateBlock.SoftFlags] & TrapFlag) != 0 ? Alone(ref code, ref trap) : Find(_context[StateBlock.Rip], ref code, ref trap);
                // It has been carried out, and there is no code to enter.
                if (step == Step.LookUp)
                    continue;
            }

            if (step == Step.Look)
            {
                step = Late(self, deadline, ref trap);
                if (step == Step.LookUp)
                    continue;
            }

            if (step is Step.Trap or Step.GiveWay)
            {
                Settle();
                if (_context[StateBlock.X87Live] != 0)
                    KeepX87();
                return step;
            }

            enter(_context.Block, code);
            step = Handle(self, deadline, ref code, ref trap);
        }
    }

    private Step Handle(SoftwareThread self, long deadline, ref nint code, ref Trap trap)
    {
        int argument = (int)(uint)(_context[StateBlock.Reason] >> 32);
        switch ((ExitReason)(uint)_context[StateBlock.Reason])
        {
            case ExitReason.Link:
                return FollowLink(_translator.Links[argument], ref code, ref trap);
            case ExitReason.Indirect:
                return Step.LookUp;
            case ExitReason.Syscall:
                Save(_context[StateBlock.Rip]);
                _state.Rflags = _state.R11 = Flags();
                _state.Cs = _state.Is32Bit ? FlatCode32 : FlatCode64;
                _state.Ss = FlatData;
                trap = new Trap { Kind = TrapKind.Syscall, IsInterruptible = true };
                return Step.Trap;
            case ExitReason.Miss:
                return Miss(argument < 0 ? _alone[argument] : _translator.Sites[argument], ref code, ref trap);
            case ExitReason.Helper:
                Instruction instruction = Translator.At(argument < 0 ? _alone.Helper : _translator.Helpers[argument], _context[StateBlock.PageBase]);
                _context[StateBlock.Rip] = instruction.IP;
                return Helped(instruction, ref trap);
            case ExitReason.Deadline:
                return Step.Look;
            case ExitReason.Fault:
                return HostFault(ref trap);
            default:
                FinishBounce();
                return AfterInstruction(ref trap);
        }
    }

    /// <summary>
    /// After an instruction that was carried out alone or in C#: it counts, and may be one that is stepped over. A guest may live on such ones alone, so the budget is looked at here
    /// too; where work is counted only after a jump, which is where translated code looks as well.
    /// </summary>
    private Step AfterInstruction(ref Trap trap, bool isJump = false)
    {
        Charge(1);
        _resumed = Nowhere;
        if (_struck != 0)
            return RaiseStruck(_context[StateBlock.Rip], ref trap);
        if (!_stepping)
            return (long)_context[StateBlock.Budget] < 0 && (isJump || !IsCounted) ? Step.Look : Step.LookUp;
        _stepping = false;
        return Raise(Vectors.Debug, 0, _context[StateBlock.Rip], ref trap);
    }

    private Step Late(SoftwareThread self, long deadline, ref Trap trap)
    {
        ulong rip = _context[StateBlock.Rip];
        Settle();
        if (self.TakeKick() || IsLate(deadline))
        {
            Save(rip);
            trap = new Trap { Kind = TrapKind.Preempted, IsInterruptible = true };
            return Step.Trap;
        }

        if (_machine.IsContended)
        {
            Save(rip);
            return Step.GiveWay;
        }

        Grant();
        return Step.LookUp;
    }

    private Step FollowLink(in Link link, ref nint code, ref Trap trap)
    {
        ulong rip = RipAt(link.Target);
        if (link.IsApart)
            return GoApart(link, rip, ref code);
        Step step = Find(rip, ref code, ref trap);
        if (step == Step.Enter && _linkable && _context.PageAt(rip) == link.Page)
            _translator.Connect(link, code);
        return step;
    }

    /// <summary>Goes on in the block in code that checks each access by itself.</summary>
    private Step GoApart(in Link link, ulong rip, ref nint code)
    {
        _context[StateBlock.Rip] = rip;
        CodeMode mode = _context.Mode | CodeMode.Apart;
        code = link.Page.At(mode, link.Target);
        if (code == 0)
        {
            if (_translator.IsFull)
                return Renew(rip);
            code = _translator.Translate(link.Page, link.Target, mode, out long bytes);
            _machine.Translated(bytes);
        }

        _translator.Connect(link, code);
        return Step.Enter;
    }

    /// <summary>The guest address of a place in the page that runs.</summary>
    private ulong RipAt(int offset)
    {
        ulong rip = _context[StateBlock.PageBase] + (ulong)offset;
        return _state.Is32Bit ? (uint)rip : rip;
    }

    /// <summary>Finds or makes the code for an address.</summary>
    private Step Find(ulong rip, ref nint code, ref Trap trap)
    {
        _linkable = true;
        if (_state.Is32Bit)
            rip = (uint)rip;
        _context[StateBlock.Rip] = rip;
        if (_breaking && HasBreakpoint(rip))
        {
            _linkable = false;
            if ((long)_context[StateBlock.Budget] < 0)
                return Step.Look;
            return Alone(ref code, ref trap, stepping: false);
        }

        code = _context.CodeAt(rip);
        if (code != 0)
            return Step.Enter;
        PageCode? page = _context.PageAt(rip);
        if (page is null)
        {
            if (!TryFetch(rip, rip, out Walked at, ref trap))
                return Step.Trap;
            if (!_machine.MayKeepCode(at.Address))
            {
                // Nobody tells when it is written: such code is read again each time, and has no jumps that look at the time.
                _linkable = false;
                if ((long)_context[StateBlock.Budget] < 0)
                    return Step.Look;
                return Alone(ref code, ref trap, stepping: false);
            }

            page = _machine.PageOf(at.Address, at.Host);
            _machine.Frames.MarkRun(at.Address, rip);
            _context.RememberPage(rip, page);
        }

        int offset = (int)(rip & (Bytes4K - 1));
        code = page.At(_context.Mode, offset);
        if (code == 0)
        {
            if (_translator.IsFull)
                return Renew(rip);
            code = _translator.Translate(page, offset, _context.Mode, out long bytes);
            _machine.Translated(bytes);
        }

        if (code == PageCode.Crossing && !TryFindCrossing(rip, page, ref code, ref trap, out Step step))
            return step;

        _context.Remember(rip, code);
        return Step.Enter;
    }

    /// <summary>The code of an instruction that lies across two pages, if it can be kept; otherwise what is to be done, which may be all that there was to do.</summary>
    private bool TryFindCrossing(ulong rip, PageCode page, ref nint code, ref Trap trap, out Step step)
    {
        _linkable = false;
        code = 0;
        step = Step.Trap;
        if (!TryFetch(PageAfter(rip), rip, out Walked next, ref trap))
            return false;
        if (!_machine.MayKeepCode(next.Address))
        {
            step = (long)_context[StateBlock.Budget] < 0 ? Step.Look : Alone(ref code, ref trap, stepping: false);
            return false;
        }

        PageCode second = _machine.PageOf(next.Address, next.Host);
        _machine.Frames.MarkRun(next.Address, rip);
        int offset = (int)(rip & (Bytes4K - 1));
        code = page.At(_context.Mode, offset, second);
        if (code != 0)
            return true;
        if (_translator.IsFull)
        {
            step = Renew(rip);
            return false;
        }

        code = _translator.TranslateCrossing(page, second, offset, _context.Mode, out long bytes);
        _machine.Translated(bytes);
        return true;
    }

    /// <summary>Comes back with an empty generation of code.</summary>
    private Step Renew(ulong rip)
    {
        _machine.RenewCode();
        Save(rip);
        return Step.GiveWay;
    }

    /// <summary>Makes the one instruction at RIP, to be carried out alone, or carries it out.</summary>
    private Step Alone(ref nint code, ref Trap trap, bool stepping = true)
    {
        ulong rip = _context[StateBlock.Rip];
        if (_breaking && Strikes(rip))
            return RaiseStruck(rip, ref trap);
        if (!TryDecode(rip, out Instruction instruction, ref trap))
            return Step.Trap;
        _stepping = stepping;
        if (_translator.TreatmentOf(instruction) is Treatment.Native or Treatment.Nothing)
        {
            code = TranslateAlone(instruction, 0);
            return Step.Enter;
        }

        return Helped(instruction, ref trap);
    }

    private nint TranslateAlone(in Instruction instruction, nint operand)
    {
        _context[StateBlock.PageBase] = instruction.IP & ~(ulong)(Bytes4K - 1);
        return _translator.TranslateAlone(_alone, instruction, operand, _context.Mode);
    }

    private bool TryDecode(ulong rip, out Instruction instruction, ref Trap trap)
    {
        instruction = default;
        if (!TryFetch(rip, rip, out Walked at, ref trap))
            return false;
        if (!_machine.Reader.Crosses(_context.Mode, rip, at.Host))
        {
            instruction = _machine.Reader.Decode(_context.Mode, rip, at.Host);
            return true;
        }

        if (!TryFetch(PageAfter(rip), rip, out Walked next, ref trap))
            return false;
        instruction = _machine.Reader.Decode(_context.Mode, rip, at.Host, next.Host);
        return true;
    }

    /// <summary>Walks for an instruction's bytes.</summary>
    private bool TryFetch(ulong address, ulong rip, out Walked at, ref Trap trap)
    {
        at = default;
        if (!PageWalker.IsCanonical(address))
        {
            _ = Raise(Vectors.GeneralProtection, 0, rip, ref trap);
            return false;
        }

        if (_machine.Walker.Walk(_context.Root, address, Access.Fetch, out at))
            return true;
        _ = at.IsOutside ? Outside(address, at.Address, rip, ref trap) : RaisePageFault(at.ErrorCode, address, rip, ref trap);
        return false;
    }

    private void Load()
    {
        fixed (ulong* from = &_state.Rax)
            ToHardware(from, (ulong*)(_context.Block + StateBlock.Registers));
        _context[StateBlock.Rip] = _state.Rip;
        _context[StateBlock.Flags] = (_state.Rflags & (ArithmeticFlags | DirectionFlag)) | AlwaysSet;
        _context[StateBlock.SoftFlags] = _state.Rflags & SoftFlags;
        _context[StateBlock.FsBase] = _state.FsBase;
        _context[StateBlock.GsBase] = _state.GsBase;
        LoadSelectors();
        Grant();
        _context[StateBlock.X87Live] = 0;
        _bouncing = _stepping = false;
    }

    /// <summary>Selectors, for instructions that read them.</summary>
    private void LoadSelectors()
    {
        ushort* to = (ushort*)(_context.Block + StateBlock.Selectors);
        (to[0], to[1], to[2], to[3], to[4], to[5]) = (_state.Es, _state.Cs, _state.Ss, _state.Ds, _state.Fs, _state.Gs);
    }

    /// <summary>The registers into <see cref="State"/>, at an instruction.</summary>
    private void Save(ulong rip)
    {
        fixed (ulong* to = &_state.Rax)
            FromHardware((ulong*)(_context.Block + StateBlock.Registers), to);
        _state.Rip = rip;
        _state.Rflags = Flags();
        _state.FsBase = _context[StateBlock.FsBase];
        _state.GsBase = _context[StateBlock.GsBase];
    }

    private ulong Flags() => (_context[StateBlock.Flags] & (ArithmeticFlags | DirectionFlag)) | _context[StateBlock.SoftFlags] | AlwaysSet;
}
