using Iced.Intel;
using Tessera.Plugins.Cpu.Software.Translation;
using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Software;

// Instructions that are carried out in C#.
internal sealed unsafe partial class SoftwareCpu
{
    // SAFETY: guest memory only by Read and Write; registers by the state block.

    /// <summary>The hypercall instruction is `out` to this port.</summary>
    public const byte HypercallPort = 0x7e;

    private const uint InterruptInIdt = 2;
    private const ulong ZeroFlag = 0x40;
    private const ulong CarryFlag = 1;

    private Step CarryOut(in Instruction instruction, ref Trap trap)
    {
        ulong rip = instruction.IP;
        switch (_translator.TreatmentOf(instruction))
        {
            case Treatment.Privileged:
                return Raise(Vectors.GeneralProtection, 0, rip, ref trap);
            case Treatment.Undefined:
                return Undefined(instruction, ref trap);
            default:
                break;
        }

        if (Translator.IsSwitchedOff(instruction, _context.Mode))
            return Raise(Vectors.DeviceNotAvailable, 0, rip, ref trap);
        if (instruction.CodeSize == CodeSize.Code32 && TryCarryOutCompat(instruction, ref trap, out Step step))
            return step;
        if (instruction.IsStringInstruction)
            return CarryOutString(instruction, ref trap);
        if (HasSegmentOperand(instruction) || IsDescriptorInstruction(instruction.Mnemonic))
            return CarryOutSegment(instruction, ref trap);
        if (HasStackEffect(instruction))
            return CarryOutStack(instruction, ref trap);
        if (instruction.MemoryIndex.IsVectorRegister())
            return CarryOutGather(instruction, ref trap);
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Out:
                return CarryOutOut(instruction, ref trap);
            case Mnemonic.Int3:
                return Raise(Vectors.Breakpoint, 0, instruction.NextIP, ref trap);
            case Mnemonic.Int1:
                return Raise(Vectors.Debug, 0, instruction.NextIP, ref trap);
            case Mnemonic.Int:
                return Raise(Vectors.GeneralProtection, ((uint)instruction.Immediate8 << 3) | InterruptInIdt, rip, ref trap);
            case Mnemonic.Rdtsc or Mnemonic.Rdtscp:
                return CarryOutReadCounter(instruction);
            case Mnemonic.Rdrand or Mnemonic.Rdseed:
                return CarryOutRandom(instruction);
            case Mnemonic.Xgetbv:
                if ((uint)_context.Register(1) != 0)
                    return Raise(Vectors.GeneralProtection, 0, rip, ref trap);
                _context.Register(0) = _machine.Features.VectorStates;
                _context.Register(2) = 0;
                return Done(instruction);
            case Mnemonic.Xlatb:
                ulong table = _context.Register(3) + (byte)_context.Register(0);
                table = instruction.MemoryBase switch { Register.EBX => (uint)table, Register.BX => (ushort)table, _ => table };
                if (!ReadWord(Linear(instruction, table + SegmentBase(instruction)), 1, out ulong entry, rip, ref trap))
                    return Step.Trap;
                SetRegister(Register.AL, entry);
                return Done(instruction);
            case Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc:
                return CarryOutBitString(instruction, ref trap);
            case Mnemonic.Mov:
                return CarryOutMove(instruction, ref trap);
            case Mnemonic.Wrfsbase or Mnemonic.Wrgsbase:
                return CarryOutWriteBase(instruction, ref trap);
            case Mnemonic.Maskmovq or Mnemonic.Maskmovdqu or Mnemonic.Vmaskmovdqu:
                return CarryOutMaskedMove(instruction, ref trap);
            case Mnemonic.Sgdt or Mnemonic.Sidt or Mnemonic.Sldt or Mnemonic.Str or Mnemonic.Smsw:
                return CarryOutStore(instruction, ref trap);
            default:
                return CarryOutState(instruction, ref trap);
        }
    }

    /// <summary>Goes on after the instruction.</summary>
    private Step Done(in Instruction instruction)
    {
        _context[StateBlock.Rip] = instruction.NextIP;
        return Step.LookUp;
    }

    private Step CarryOutOut(in Instruction instruction, ref Trap trap)
    {
        if (instruction.Code != Code.Out_imm8_AL || instruction.Immediate8 != HypercallPort)
            return Raise(Vectors.GeneralProtection, 0, instruction.IP, ref trap);
        Save(instruction.NextIP);
        trap = new Trap { Kind = TrapKind.Hypercall, IsInterruptible = true };
        return Step.Trap;
    }

    /// <summary>`bt` and its kind with a register over memory: the bit may lie far from the operand.</summary>
    private Step CarryOutBitString(in Instruction instruction, ref Trap trap)
    {
        int bytes = instruction.MemorySize.GetSize();
        ulong index = GetRegister(instruction.Op1Register);
        long bit = bytes switch { 8 => (long)index, 4 => (int)index, _ => (short)index };
        int shift = System.Numerics.BitOperations.Log2((uint)bytes * 8);
        ulong address = Linear(instruction, AddressOf(instruction) + (ulong)((bit >> shift) * bytes));
        // What it is going to change it asks for as a write from the first.
        if (instruction.Mnemonic != Mnemonic.Bt && !MayWrite(address, bytes, instruction.IP, ref trap))
            return Step.Trap;
        if (!ReadWord(address, bytes, out ulong value, instruction.IP, ref trap))
            return Step.Trap;
        ulong mask = 1UL << ((int)bit & ((bytes * 8) - 1));
        ulong after = instruction.Mnemonic switch
        {
            Mnemonic.Bts => value | mask,
            Mnemonic.Btr => value & ~mask,
            Mnemonic.Btc => value ^ mask,
            _ => value,
        };
        if (instruction.Mnemonic != Mnemonic.Bt && !WriteBit(instruction, address, bytes, value, after, ref trap))
            return Step.Trap;
        SetFlag(CarryFlag, (value & mask) != 0);
        return Done(instruction);
    }

    /// <summary>Stores a changed word; with `lock` against other domains that share the page, too.</summary>
    private bool WriteBit(in Instruction instruction, ulong address, int bytes, ulong before, ulong after, ref Trap trap)
    {
        bool inOnePage = (address & (Bytes4K - 1)) + (ulong)bytes <= Bytes4K;
        if (!instruction.HasLockPrefix || !inOnePage || bytes == sizeof(ushort))
            return WriteWord(address, bytes, after, instruction.IP, ref trap);
        byte* at = Pointer(address, Memory.Access.Write, instruction.IP, ref trap);
        if (at == null)
            return false;
        Note(address, bytes, isWrite: true);
        ulong changed = before ^ after;
        bool set = (after & changed) != 0 || instruction.Mnemonic == Mnemonic.Bts;
        if (bytes == sizeof(ulong))
            _ = set ? Interlocked.Or(ref *(ulong*)at, changed) : Interlocked.And(ref *(ulong*)at, ~changed);
        else
            _ = set ? Interlocked.Or(ref *(uint*)at, (uint)changed) : Interlocked.And(ref *(uint*)at, (uint)~changed);
        return true;
    }

    /// <summary>The forms of `mov` with an address of 64 bits.</summary>
    private Step CarryOutMove(in Instruction instruction, ref Trap trap)
    {
        int bytes = instruction.MemorySize.GetSize();
        ulong address = AddressOf(instruction);
        if (instruction.Op0Kind == OpKind.Memory)
            return WriteWord(address, bytes, GetRegister(instruction.Op1Register), instruction.IP, ref trap) ? Done(instruction) : Step.Trap;
        if (!ReadWord(address, bytes, out ulong value, instruction.IP, ref trap))
            return Step.Trap;
        SetRegister(instruction.Op0Register, value);
        return Done(instruction);
    }

    private Step CarryOutWriteBase(in Instruction instruction, ref Trap trap)
    {
        ulong value = GetRegister(instruction.Op0Register);
        if (!Memory.PageWalker.IsCanonical(value))
            return Raise(Vectors.GeneralProtection, 0, instruction.IP, ref trap);
        _context[instruction.Mnemonic == Mnemonic.Wrfsbase ? StateBlock.FsBase : StateBlock.GsBase] = value;
        return Done(instruction);
    }

    private void SetFlag(ulong flag, bool value) =>
        _context[StateBlock.Flags] = value ? _context[StateBlock.Flags] | flag : _context[StateBlock.Flags] & ~flag;
}
