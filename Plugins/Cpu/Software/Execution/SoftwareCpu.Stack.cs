using Iced.Intel;
using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Software;

// Pushes, pops, calls and returns that translated code does not do itself: across pages, of 16 bits, of flags, far.
internal sealed unsafe partial class SoftwareCpu
{
    // SAFETY: guest memory only by Read and Write.
    private const int StackRegister = 4;
    private const int FrameRegister = 5;

    private static bool HasStackEffect(in Instruction instruction) => instruction.Mnemonic is Mnemonic.Push or Mnemonic.Pop or Mnemonic.Call or Mnemonic.Ret
        or Mnemonic.Leave or Mnemonic.Enter or Mnemonic.Pushf or Mnemonic.Pushfd or Mnemonic.Pushfq or Mnemonic.Popf or Mnemonic.Popfd or Mnemonic.Popfq or Mnemonic.Iret or Mnemonic.Iretd
        or Mnemonic.Iretq or Mnemonic.Retf or Mnemonic.Jmp;

    private Step CarryOutStack(in Instruction instruction, ref Trap trap)
    {
        if (instruction.CodeSize == CodeSize.Code32)
            return CarryOutStackCompat(instruction, ref trap);
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Push or Mnemonic.Pushf or Mnemonic.Pushfq:
                int bytes = -instruction.StackPointerIncrement;
                return TryOperand(instruction, bytes, out ulong pushed, ref trap) && TryPush(pushed, bytes, instruction.IP, ref trap) ? Done(instruction) : Step.Trap;
            case Mnemonic.Pop:
                return CarryOutPop(instruction, ref trap);
            case Mnemonic.Popf or Mnemonic.Popfq:
                return CarryOutPopFlags(instruction, ref trap);
            case Mnemonic.Call when instruction.IsCallNear || instruction.IsCallNearIndirect:
            case Mnemonic.Jmp when instruction.IsJmpNearIndirect:
                return CarryOutNear(instruction, ref trap);
            case Mnemonic.Ret when instruction.Code is Code.Retnq or Code.Retnq_imm16:
                if (!ReadWord(_context.Register(StackRegister), sizeof(ulong), out ulong back, instruction.IP, ref trap))
                    return Step.Trap;
                _context.Register(StackRegister) += sizeof(ulong) + (instruction.OpCount == 1 ? instruction.Immediate16 : 0UL);
                _context[StateBlock.Rip] = back;
                return Step.LookUp;
            case Mnemonic.Leave:
                bytes = instruction.Code == Code.Leavew ? sizeof(ushort) : sizeof(ulong);
                ulong frame = _context.Register(FrameRegister);
                if (!ReadWord(frame, bytes, out ulong caller, instruction.IP, ref trap))
                    return Step.Trap;
                _context.Register(StackRegister) = frame + (ulong)bytes;
                SetRegister(bytes == sizeof(ushort) ? Register.BP : Register.RBP, caller);
                return Done(instruction);
            case Mnemonic.Enter:
                return CarryOutEnter(instruction, ref trap);
            case Mnemonic.Iretq or Mnemonic.Iretd or Mnemonic.Iret:
                return ReturnFromInterrupt(instruction, ref trap);
            case Mnemonic.Retf:
                return ReturnFar(instruction, ref trap);
            case Mnemonic.Call when instruction.IsCallFar || instruction.IsCallFarIndirect:
            case Mnemonic.Jmp when instruction.IsJmpFar || instruction.IsJmpFarIndirect:
                return GoFar(instruction, ref trap);
            default:
                // Narrow returns and jumps, which processors do not agree about.
                return NotKnown(instruction, ref trap);
        }
    }

    /// <summary>A new frame, with copies of the pointers to as many outer ones as it is deep.</summary>
    private Step CarryOutEnter(in Instruction instruction, ref Trap trap)
    {
        int bytes = instruction.Code == Code.Enterw_imm16_imm8 ? sizeof(ushort) : sizeof(ulong);
        int level = instruction.Immediate8_2nd % MostLevels;
        ulong outer = _context.Register(FrameRegister);
        ulong frame = _context.Register(StackRegister) - (ulong)bytes;
        ulong top = frame;
        if (!WriteWord(top, bytes, outer, instruction.IP, ref trap))
            return Step.Trap;
        for (int nested = 1; nested < level; nested++)
        {
            outer -= (ulong)bytes;
            top -= (ulong)bytes;
            if (!ReadWord(outer, bytes, out ulong pointer, instruction.IP, ref trap) || !WriteWord(top, bytes, pointer, instruction.IP, ref trap))
                return Step.Trap;
        }

        if (level > 0)
        {
            top -= (ulong)bytes;
            if (!WriteWord(top, bytes, frame, instruction.IP, ref trap))
                return Step.Trap;
        }

        // The new end of the stack is tried: a stack that grows does so here.
        top -= instruction.Immediate16;
        if (!MayWrite(top, bytes, instruction.IP, ref trap))
            return Step.Trap;
        SetRegister(bytes == sizeof(ushort) ? Register.BP : Register.RBP, frame);
        _context.Register(StackRegister) = top;
        return Done(instruction);
    }

    private bool TryOperand(in Instruction instruction, int bytes, out ulong value, ref Trap trap)
    {
        value = 0;
        if (instruction.Mnemonic != Mnemonic.Push)
        {
            value = Flags();
            return true;
        }

        switch (instruction.Op0Kind)
        {
            case OpKind.Register:
                value = instruction.Op0Register.IsSegmentRegister() ? SelectorOf(instruction.Op0Register) : GetRegister(instruction.Op0Register);
                return true;
            case OpKind.Memory:
                return ReadWord(AddressOf(instruction), bytes, out value, instruction.IP, ref trap);
            default:
                value = instruction.GetImmediate(0);
                return true;
        }
    }

    private bool TryPush(ulong value, int bytes, ulong rip, ref Trap trap)
    {
        ulong to = _context.Register(StackRegister) - (ulong)bytes;
        if (!WriteWord(to, bytes, value, rip, ref trap))
            return false;
        _context.Register(StackRegister) = to;
        return true;
    }

    private Step CarryOutPop(in Instruction instruction, ref Trap trap)
    {
        int bytes = instruction.StackPointerIncrement;
        ulong before = _context.Register(StackRegister);
        if (!ReadWord(before, bytes, out ulong value, instruction.IP, ref trap))
            return Step.Trap;
        if (instruction.Op0Kind == OpKind.Register && instruction.Op0Register.IsSegmentRegister())
        {
            if (!TryLoadSelector(instruction.Op0Register, (ushort)value, instruction.IP, ref trap))
                return Step.Trap;
            _context.Register(StackRegister) = before + (ulong)bytes;
            return Done(instruction);
        }

        // An address that uses RSP uses it as it is after the pop.
        _context.Register(StackRegister) = before + (ulong)bytes;
        if (instruction.Op0Kind == OpKind.Register)
        {
            SetRegister(instruction.Op0Register, value);
            return Done(instruction);
        }

        ulong to = AddressOf(instruction);
        _context.Register(StackRegister) = before;
        if (!WriteWord(to, bytes, value, instruction.IP, ref trap))
            return Step.Trap;
        _context.Register(StackRegister) = before + (ulong)bytes;
        return Done(instruction);
    }

    private Step CarryOutPopFlags(in Instruction instruction, ref Trap trap)
    {
        int bytes = instruction.StackPointerIncrement;
        if (!ReadWord(_context.Register(StackRegister), bytes, out ulong value, instruction.IP, ref trap))
            return Step.Trap;
        _context.Register(StackRegister) += (ulong)bytes;
        SetFlags(bytes == sizeof(ushort) ? (Flags() & ~0xffffUL) | value : value);
        return Done(instruction);
    }

    private void SetFlags(ulong value)
    {
        _context[StateBlock.Flags] = (value & (ArithmeticFlags | DirectionFlag)) | AlwaysSet;
        _context[StateBlock.SoftFlags] = value & SoftFlags;
    }

    private Step CarryOutNear(in Instruction instruction, ref Trap trap)
    {
        ulong target = instruction.NearBranchTarget;
        if (instruction.Op0Kind == OpKind.Register)
            target = GetRegister(instruction.Op0Register);
        else if (instruction.Op0Kind == OpKind.Memory && !ReadWord(AddressOf(instruction), sizeof(ulong), out target, instruction.IP, ref trap))
            return Step.Trap;
        if (instruction.Mnemonic == Mnemonic.Call && !TryPush(instruction.NextIP, sizeof(ulong), instruction.IP, ref trap))
            return Step.Trap;
        _context[StateBlock.Rip] = target;
        return Step.LookUp;
    }
}
