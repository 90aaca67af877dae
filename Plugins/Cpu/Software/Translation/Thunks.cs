using Tessera.Plugins.Cpu.Software.Memory;

namespace Tessera.Plugins.Cpu.Software.Translation;

/// <summary>
/// The ways into and out of translated code, written at the start of each arena.
/// <para>
/// While guest code runs: RSP is the state block, with a stack of the engine's own below it; guest RCX is in R10 and guest RSP in R15; guest R15 is in
/// R9, guest R9, R10 and R11 in memory (<see cref="Host"/>); RCX and R11 are scratch; everything else is where the guest has it. FS and GS stay the host's.
/// </para>
/// </summary>
internal sealed unsafe class Thunks
{
    // SAFETY: only writes through the emitter, into an arena that was just made.

    /// <summary>Scratch: counts and `jrcxz`.</summary>
    public const int Rcx = 1;

    /// <summary>Scratch: addresses.</summary>
    public const int R11 = 11;

    /// <summary>Where guest RCX is.</summary>
    public const int GuestRcx = 10;

    /// <summary>Where guest RSP is.</summary>
    public const int GuestRsp = 15;

    /// <summary>Where <see cref="Fault"/> lies in every arena.</summary>
    public const int FaultOffset = 0;

    private const int StackPointer = 4;
    private const int Rdi = 7;
    private const int Equal = 4;
    private const int NotEqual = 5;

    /// <summary>`vzeroupper`: the runtime's SSE code is slow otherwise, and so is the guest's.</summary>
    private static ReadOnlySpan<byte> ClearUpper => [0xc5, 0xf8, 0x77];

    /// <summary>Guest registers, by number, to host registers; -1 is memory: the three that compiled code uses least beside RSP and RCX's places.</summary>
    private static readonly sbyte[] HostRegisters = [0, GuestRcx, 2, 3, GuestRsp, 5, 6, 7, 8, -1, -1, -1, 12, 13, 14, 9];

    private readonly HostFeatures _features;

    public Thunks(Emitter emitter, HostFeatures features)
    {
        _features = features;
        Fault = emitter.Here;
        nint faultJump = Leave(emitter, ExitReason.Fault);
        Exit = emitter.Here;
        WriteExit(emitter);
        emitter.Patch(faultJump, Exit);
        Link = Leave(emitter, ExitReason.Link, Exit);
        Miss = Leave(emitter, ExitReason.Miss, Exit);
        Helper = Leave(emitter, ExitReason.Helper, Exit);
        Deadline = Leave(emitter, ExitReason.Deadline, Exit);
        Single = Leave(emitter, ExitReason.Single, Exit);
        Syscall = Leave(emitter, ExitReason.Syscall, Exit);
        Indirect = emitter.Here;
        AskVictims(emitter);
        emitter.StoreState(StateBlock.Rip, R11);
        _ = Leave(emitter, ExitReason.Indirect, Exit);
        Enter = emitter.Here;
        WriteEnter(emitter);
        LoadX87 = emitter.Here;
        WriteLoadX87(emitter);
        SaveX87 = emitter.Here;
        emitter.Bytes([0x48, 0x0f, 0xae, 0x07]); // fxsave64 [rdi]
        emitter.Bytes([0xdb, 0xe3, 0xc3]); // fninit; ret
    }

    /// <summary>`void enter(state block, code)`.</summary>
    public nint Enter { get; }

    /// <summary>Out, with a reason already in the state block.</summary>
    public nint Exit { get; }

    /// <summary>Where the handler of host faults goes on.</summary>
    public nint Fault { get; }

    public nint Link { get; }

    public nint Miss { get; }

    public nint Helper { get; }

    public nint Deadline { get; }

    public nint Single { get; }

    public nint Syscall { get; }

    /// <summary>Out, with the target in R11.</summary>
    public nint Indirect { get; }

    /// <summary>Called by translated code before its first x87 instruction.</summary>
    public nint LoadX87 { get; }

    /// <summary>`void save(area)`: FXSAVE64, then the host's registers as new.</summary>
    public nint SaveX87 { get; }

    /// <summary>Where a guest register is; -1 in the state block.</summary>
    public static int Host(int register) => HostRegisters[register];

    private static nint Leave(Emitter emitter, ExitReason reason)
    {
        emitter.StoreState32(StateBlock.Reason, (int)reason);
        return emitter.JumpLater();
    }

    private static nint Leave(Emitter emitter, ExitReason reason, nint exit)
    {
        nint here = emitter.Here;
        emitter.Patch(Leave(emitter, reason), exit);
        return here;
    }

    /// <summary>XRSTOR of nothing but the x87 registers: FXRSTOR would load vector registers as well. Leaves the flags and every register but RCX alone.</summary>
    private static void WriteLoadX87(Emitter emitter)
    {
        emitter.Depth = sizeof(ulong); // the return address
        emitter.StoreState(StateBlock.Borrowed, 0);
        emitter.StoreState(StateBlock.Borrowed + 8, 2);
        emitter.MoveImmediate(0, 1);
        emitter.MoveImmediate(2, 0);
        emitter.LoadState(Rcx, StateBlock.VectorArea);
        emitter.Memory(wide: true, 0x0fae, 5, Rcx, VectorArea.X87); // xrstor64
        emitter.LoadState(0, StateBlock.Borrowed);
        emitter.LoadState(2, StateBlock.Borrowed + 8);
        emitter.StoreState64(StateBlock.X87Live, 1, Rcx);
        emitter.Byte(0xc3);
        emitter.Depth = 0;
    }

    /// <summary>Goes on at the target in R11 if the victim cache has it. Uses RCX.</summary>
    private static void AskVictims(Emitter emitter)
    {
        emitter.PushFlags();
        emitter.Move(Rcx, R11);
        emitter.ShiftRight(Rcx, StateBlock.VictimShift);
        emitter.Registers(wide: true, 0x33, Rcx, R11); // xor
        emitter.Arithmetic(4, Rcx, StateBlock.VictimEntries - 1, wide: false);
        emitter.StateIndexed(wide: true, 0x3b, R11, Rcx, StateBlock.VictimTags);
        nint none = emitter.JumpIfLater(NotEqual);
        emitter.PopFlags();
        emitter.JumpIndexed(Rcx, StateBlock.VictimTargets);
        emitter.Patch(none, emitter.Here);
        emitter.Byte(0x9d); // popfq
    }

    private void WriteEnter(Emitter emitter)
    {
        emitter.Bytes([0x55, 0x53, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57]); // push rbp, rbx, r12 to r15
        emitter.Memory(wide: true, 0x89, StackPointer, Rdi, StateBlock.HostStack);
        emitter.Move(StackPointer, Rdi);
        emitter.State(wide: false, 0x0fae, 3, StateBlock.HostMxcsr); // stmxcsr
        LoadMxcsr(emitter, from: StateBlock.HostMxcsr, to: StateBlock.Mxcsr);
        LoadVectors(emitter);
        emitter.StoreState(StateBlock.Resume, 6);
        LoadFlags(emitter);
        for (int register = 0; register < 16; register++)
        {
            if (Host(register) >= 0)
                emitter.LoadState(Host(register), StateBlock.Register(register));
        }

        emitter.LoadState(R11, StateBlock.Rip); // what a block that is entered from elsewhere wants to know
        emitter.State(wide: false, 0xff, 4, StateBlock.Resume); // jmp [resume]
    }

    private void WriteExit(Emitter emitter)
    {
        for (int register = 0; register < 16; register++)
        {
            if (Host(register) >= 0)
                emitter.StoreState(StateBlock.Register(register), Host(register));
        }

        emitter.PushFlags();
        emitter.PopState(StateBlock.Flags);
        emitter.Byte(0xfc); // cld
        SaveVectors(emitter);
        emitter.State(wide: false, 0x0fae, 3, StateBlock.Mxcsr); // stmxcsr
        LoadMxcsr(emitter, from: StateBlock.Mxcsr, to: StateBlock.HostMxcsr);
        emitter.LoadState(StackPointer, StateBlock.HostStack);
        emitter.Bytes([0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5b, 0x5d, 0xc3]);
    }

    /// <summary>`ldmxcsr`, which takes its time, unless both values are the same. Uses RAX.</summary>
    private static void LoadMxcsr(Emitter emitter, int from, int to)
    {
        emitter.State(wide: false, 0x8b, 0, from);
        emitter.State(wide: false, 0x3b, 0, to);
        nint same = emitter.JumpIfLater(Equal);
        emitter.State(wide: false, 0x0fae, 2, to);
        emitter.Patch(same, emitter.Here);
    }

    /// <summary>The arithmetic flags and DF: by `sahf` and an addition that overflows, a third of `popfq`'s time. Uses RAX.</summary>
    private void LoadFlags(Emitter emitter)
    {
        nint slow = 0;
        nint done = 0;
        if (_features.BitManipulation)
        {
            emitter.State(wide: false, 0xf6, 0, StateBlock.Flags + 1); // test byte, DF
            emitter.Byte(4);
            slow = emitter.JumpIfLater(NotEqual);
            emitter.State(wide: false, 0x8b, 0, StateBlock.Flags);
            emitter.Bytes([0xc1, 0xe8, 0x0b, 0x83, 0xe0, 0x01, 0x04, 0x7f]); // shr eax, 11; and eax, 1; add al, 127
            emitter.State(wide: false, 0x8a, 4, StateBlock.Flags); // mov ah
            emitter.Byte(0x9e); // sahf
            done = emitter.JumpLater();
            emitter.Patch(slow, emitter.Here);
        }

        emitter.PushState(StateBlock.Flags);
        emitter.PopFlags();
        if (done != 0)
            emitter.Patch(done, emitter.Here);
    }

    private void LoadVectors(Emitter emitter)
    {
        emitter.LoadState(0, StateBlock.VectorArea);
        if (!_features.WideVectors)
        {
            Vectors(emitter, load: true, isWide: false);
            return;
        }

        emitter.Memory(wide: false, 0x80, 7, 0, VectorArea.Wide); // cmp byte, 0
        emitter.Byte(0);
        nint wide = emitter.JumpIfLater(NotEqual);
        emitter.Bytes(ClearUpper);
        Vectors(emitter, load: true, isWide: false);
        nint done = emitter.JumpLater();
        emitter.Patch(wide, emitter.Here);
        Vectors(emitter, load: true, isWide: true);
        emitter.Patch(done, emitter.Here);
    }

    private void SaveVectors(Emitter emitter)
    {
        emitter.LoadState(0, StateBlock.VectorArea);
        Vectors(emitter, load: false, isWide: _features.WideVectors);
        if (!_features.WideVectors)
            return;
        // All of them, or-ed together, show whether an upper half is in use.
        for (int registers = 8; registers > 0; registers /= 2)
        {
            for (int register = 0; register < registers; register++)
                emitter.Bytes([0xc5, (byte)(0x84 | ((15 - registers - register) << 3)), 0x56, (byte)(0xc0 | (register << 3) | register)]); // vorps ymm
        }

        emitter.Bytes([0xc4, 0xe3, 0x7d, 0x19, 0xc0, 0x01]); // vextractf128 xmm0, ymm0, 1
        emitter.Bytes([0xc4, 0xe2, 0x79, 0x17, 0xc0]); // vptest xmm0, xmm0
        emitter.Memory(wide: false, 0x0f95, 0, 0, VectorArea.Wide); // setne
        emitter.Bytes(ClearUpper);
    }

    /// <summary>Moves the vector registers from or to the area that RAX points to: `vmovups`, or `movups` where there is no AVX.</summary>
    private void Vectors(Emitter emitter, bool load, bool isWide)
    {
        for (int register = 0; register < 16; register++)
        {
            if (_features.WideVectors)
                emitter.Bytes([0xc5, (byte)((register < 8 ? 0xf8 : 0x78) | (isWide ? 4 : 0))]);
            else if (register < 8)
                emitter.Byte(0x0f);
            else
                emitter.Bytes([0x44, 0x0f]);
            emitter.Byte(load ? 0x10 : 0x11);
            emitter.Operand(register, 0, VectorArea.Vectors + (register * 32));
        }
    }
}
