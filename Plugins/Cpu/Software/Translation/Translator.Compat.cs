using Iced.Intel;

namespace Tessera.Plugins.Cpu.Software.Translation;

// 32-bit code: the same instructions in their 64-bit encodings, with addresses and the stack of 32 bits. Its segments are flat but for the bases of FS and GS.
internal sealed unsafe partial class Translator
{
    // SAFETY: only writes through the emitter.
    private const int Word = 4;

    /// <summary>The mode of the code that is translated.</summary>
    private CodeMode Mode { get; set; }

    /// <summary>Whether an instruction raises #NM, since its registers belong to another task.</summary>
    public static bool IsSwitchedOff(in Instruction instruction, CodeMode mode) => (mode & CodeMode.NoVectors) != 0 && instruction.Code.NeedsVectorState();

    /// <summary>Whether an instruction reaches memory by a segment that is null, or writes by CS.</summary>
    public bool IsRefused(in Instruction instruction, CodeMode mode)
    {
        lock (_gate)
            return Refuses(instruction, mode);
    }

    private bool Refuses(in Instruction instruction, CodeMode mode)
    {
        if (instruction.Mnemonic is Mnemonic.Lea or Mnemonic.Nop)
            return false;
        for (int operand = 0; operand < instruction.OpCount; operand++)
        {
            Register segment = instruction.GetOpKind(operand) switch
            {
                OpKind.Memory or OpKind.MemorySegSI or OpKind.MemorySegESI or OpKind.MemorySegDI or OpKind.MemorySegEDI => instruction.MemorySegment,
                OpKind.MemoryESDI or OpKind.MemoryESEDI => Register.ES,
                _ => Register.None,
            };
            bool refused = segment switch
            {
                Register.CS => _groups.Writes(instruction),
                Register.DS => (mode & CodeMode.NoDs) != 0,
                Register.ES => (mode & CodeMode.NoEs) != 0,
                Register.FS => (mode & CodeMode.NoFs) != 0,
                Register.GS => (mode & CodeMode.NoGs) != 0,
                _ => false,
            };
            if (refused)
                return true;
        }

        return false;
    }

    private void WriteCompat(Instruction instruction, bool flagsWanted, int count, bool isLast)
    {
        if (Refuses(instruction, Mode))
        {
            LeaveForHelp(instruction, count);
            return;
        }

        switch (instruction.Mnemonic == Mnemonic.Syscall ? FlowControl.Next : instruction.FlowControl)
        {
            case FlowControl.UnconditionalBranch:
                GoTo(instruction.NearBranchTarget, count, WantedAt(instruction.NearBranchTarget), looks: GoesBack(instruction));
                break;
            case FlowControl.ConditionalBranch:
                Conditional(instruction, count, isLast);
                break;
            case FlowControl.Call:
                PushNextCompat(instruction, flagsWanted);
                GoTo(instruction.NearBranchTarget, count, WantedAt(instruction.NearBranchTarget), looks: true);
                break;
            case FlowControl.Return:
                StackCompat(instruction.IP, 0, write: false, flagsWanted);
                _emit.Memory(wide: false, 0x8b, Thunks.R11, Thunks.R11);
                MoveStackCompat(Word + (instruction.OpCount == 1 ? instruction.Immediate16 : 0));
                GoToR11(count);
                break;
            case FlowControl.IndirectBranch or FlowControl.IndirectCall:
                IndirectCompat(instruction, flagsWanted, count);
                break;
            default:
                StraightCompat(ref instruction, flagsWanted, count);
                break;
        }
    }

    private void StraightCompat(ref Instruction instruction, bool flagsWanted, int count)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Push:
                PushCompat(instruction, flagsWanted);
                break;
            case Mnemonic.Pop:
                StackCompat(instruction.IP, 0, write: false, flagsWanted);
                _emit.Memory(wide: false, 0x8b, Thunks.R11, Thunks.R11);
                MoveStackCompat(Word);
                StoreRegister(NumberOf(instruction.Op0Register), Thunks.R11);
                break;
            case Mnemonic.Leave:
                nint retry = _emit.Here;
                _emit.Registers(wide: false, 0x8b, Thunks.R11, Thunks.Host(5));
                Check(instruction.IP, Word, write: false, flagsWanted, retry, isStack: true);
                _emit.LoadAddress(wide: false, Thunks.GuestRsp, Thunks.Host(5), -1, 0, Word);
                _emit.Memory(wide: false, 0x8b, Thunks.Host(5), Thunks.R11);
                break;
            default:
                Widen(ref instruction);
                Straight(instruction, flagsWanted, count);
                break;
        }
    }

    /// <summary>The operand's address into R11: 32 bits of it, or 16 where the instruction says so.</summary>
    private void AddressCompat(in Instruction instruction, bool withSegment)
    {
        int @base = instruction.MemoryBase == Register.None ? -1 : Thunks.Host(NumberOf(instruction.MemoryBase));
        int index = instruction.MemoryIndex == Register.None ? -1 : Thunks.Host(NumberOf(instruction.MemoryIndex));
        int scale = System.Numerics.BitOperations.Log2((uint)instruction.MemoryIndexScale);
        if (instruction.MemoryIndex != Register.None && index < 0)
            LoadRegister(index = Thunks.Rcx, NumberOf(instruction.MemoryIndex));
        if (instruction.MemoryBase != Register.None && @base < 0)
            LoadRegister(@base = Thunks.R11, NumberOf(instruction.MemoryBase));
        if (@base < 0 && index < 0)
            _emit.MoveImmediate(Thunks.R11, (uint)instruction.MemoryDisplacement64);
        else
            _emit.LoadAddress(wide: false, Thunks.R11, @base, index, scale, (int)instruction.MemoryDisplacement64);
        if (instruction.MemoryBase.IsGPR16() || instruction.MemoryIndex.IsGPR16())
            _emit.Registers(wide: false, 0x0fb7, Thunks.R11, Thunks.R11);
        if (!withSegment || instruction.MemorySegment is not (Register.FS or Register.GS))
            return;
        _emit.LoadState(Thunks.Rcx, instruction.MemorySegment == Register.FS ? StateBlock.FsBase : StateBlock.GsBase);
        _emit.LoadAddress(wide: false, Thunks.R11, Thunks.R11, Thunks.Rcx, 0, 0);
    }

    private void StackCompat(ulong rip, int distance, bool write, bool flagsWanted)
    {
        nint retry = _emit.Here;
        _emit.LoadAddress(wide: false, Thunks.R11, Thunks.GuestRsp, -1, 0, distance);
        Check(rip, Word, write, flagsWanted, retry, isStack: true);
    }

    private void MoveStackCompat(int distance) => _emit.LoadAddress(wide: false, Thunks.GuestRsp, Thunks.GuestRsp, -1, 0, distance);

    private void PushNextCompat(in Instruction instruction, bool flagsWanted)
    {
        StackCompat(instruction.IP, -Word, write: true, flagsWanted);
        LoadGuestAddress(Thunks.Rcx, instruction.NextIP);
        _emit.Memory(wide: false, 0x89, Thunks.Rcx, Thunks.R11);
        MoveStackCompat(-Word);
    }

    /// <summary>`mov dword [r11], value`.</summary>
    private void StoreImmediateCompat(int value)
    {
        _emit.Memory(wide: false, 0xc7, 0, Thunks.R11);
        _emit.Int32(value);
    }

    private void PushCompat(in Instruction instruction, bool flagsWanted)
    {
        switch (instruction.Op0Kind)
        {
            case OpKind.Register:
                StackCompat(instruction.IP, -Word, write: true, flagsWanted);
                LoadRegister(Thunks.Rcx, NumberOf(instruction.Op0Register));
                _emit.Memory(wide: false, 0x89, Thunks.Rcx, Thunks.R11);
                break;
            case OpKind.Memory:
                Operand(instruction, Word, write: false, flagsWanted);
                _emit.Memory(wide: false, 0x8b, Thunks.R11, Thunks.R11);
                _emit.StoreState(StateBlock.Temporary, Thunks.R11);
                StackCompat(instruction.IP, -Word, write: true, flagsWanted);
                _emit.LoadState(Thunks.Rcx, StateBlock.Temporary);
                _emit.Memory(wide: false, 0x89, Thunks.Rcx, Thunks.R11);
                break;
            default:
                StackCompat(instruction.IP, -Word, write: true, flagsWanted);
                StoreImmediateCompat((int)instruction.GetImmediate(0));
                break;
        }

        MoveStackCompat(-Word);
    }

    private void IndirectCompat(in Instruction instruction, bool flagsWanted, int count)
    {
        if (instruction.Op0Kind == OpKind.Memory)
        {
            Operand(instruction, Word, write: false, flagsWanted);
            _emit.Memory(wide: false, 0x8b, Thunks.R11, Thunks.R11);
        }
        else
        {
            LoadRegister(Thunks.R11, NumberOf(instruction.Op0Register));
            _emit.Registers(wide: false, 0x8b, Thunks.R11, Thunks.R11);
        }

        if (instruction.FlowControl == FlowControl.IndirectCall)
        {
            _emit.StoreState(StateBlock.Temporary, Thunks.R11);
            PushNextCompat(instruction, flagsWanted);
            _emit.LoadState(Thunks.R11, StateBlock.Temporary);
        }

        GoToR11(count);
    }

    /// <summary>What has no encoding in 64-bit code becomes what does the same there.</summary>
    private static void Widen(ref Instruction instruction) => instruction.Code = instruction.Code switch
    {
        Code.Inc_r16 => Code.Inc_rm16,
        Code.Inc_r32 => Code.Inc_rm32,
        Code.Dec_r16 => Code.Dec_rm16,
        Code.Dec_r32 => Code.Dec_rm32,
        Code.Add_rm8_imm8_82 => Code.Add_rm8_imm8,
        Code.Or_rm8_imm8_82 => Code.Or_rm8_imm8,
        Code.Adc_rm8_imm8_82 => Code.Adc_rm8_imm8,
        Code.Sbb_rm8_imm8_82 => Code.Sbb_rm8_imm8,
        Code.And_rm8_imm8_82 => Code.And_rm8_imm8,
        Code.Sub_rm8_imm8_82 => Code.Sub_rm8_imm8,
        Code.Xor_rm8_imm8_82 => Code.Xor_rm8_imm8,
        Code.Cmp_rm8_imm8_82 => Code.Cmp_rm8_imm8,
        Code.Mov_AL_moffs8 => Code.Mov_r8_rm8,
        Code.Mov_AX_moffs16 => Code.Mov_r16_rm16,
        Code.Mov_EAX_moffs32 => Code.Mov_r32_rm32,
        Code.Mov_moffs8_AL => Code.Mov_rm8_r8,
        Code.Mov_moffs16_AX => Code.Mov_rm16_r16,
        Code.Mov_moffs32_EAX => Code.Mov_rm32_r32,
        _ => instruction.Code,
    };
}
