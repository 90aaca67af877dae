using System.Buffers.Binary;
using Iced.Intel;
using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Software;

// The stack of 32-bit code: ESP, and words of four bytes or of two.
internal sealed unsafe partial class SoftwareCpu
{
    // SAFETY: guest memory only by Read and Write.
    private const int AllRegisters = 8;
    private const int MostLevels = 32;

    private uint CompatStack
    {
        get => (uint)_context.Register(StackRegister);
        set => _context.Register(StackRegister) = value;
    }

    private Step CarryOutStackCompat(in Instruction instruction, ref Trap trap)
    {
        ulong rip = instruction.IP;
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Push or Mnemonic.Pushf or Mnemonic.Pushfd:
                int bytes = -instruction.StackPointerIncrement;
                return TryOperand(instruction, bytes, out ulong pushed, ref trap) && TryPushCompat(pushed, bytes, rip, ref trap) ? Done(instruction) : Step.Trap;
            case Mnemonic.Pop:
                return CarryOutPopCompat(instruction, ref trap);
            case Mnemonic.Popf or Mnemonic.Popfd:
                bytes = instruction.StackPointerIncrement;
                if (!ReadWord(CompatStack, bytes, out ulong flags, rip, ref trap))
                    return Step.Trap;
                CompatStack += (uint)bytes;
                SetFlags(bytes == sizeof(ushort) ? (Flags() & ~0xffffUL) | flags : flags);
                return Done(instruction);
            case Mnemonic.Call when instruction.IsCallFar || instruction.IsCallFarIndirect:
            case Mnemonic.Jmp when instruction.IsJmpFar || instruction.IsJmpFarIndirect:
                return GoFar(instruction, ref trap);
            case Mnemonic.Call or Mnemonic.Jmp:
                return CarryOutNearCompat(instruction, ref trap);
            case Mnemonic.Ret:
                bytes = instruction.Code is Code.Retnw or Code.Retnw_imm16 ? sizeof(ushort) : sizeof(uint);
                if (!ReadWord(CompatStack, bytes, out ulong back, rip, ref trap))
                    return Step.Trap;
                CompatStack += (uint)bytes + (instruction.OpCount == 1 ? instruction.Immediate16 : 0u);
                return GoNear(back);
            case Mnemonic.Leave:
                bytes = instruction.Code == Code.Leavew ? sizeof(ushort) : sizeof(uint);
                ulong frame = (uint)_context.Register(FrameRegister);
                if (!ReadWord(frame, bytes, out ulong caller, rip, ref trap))
                    return Step.Trap;
                CompatStack = (uint)frame + (uint)bytes;
                SetRegister(bytes == sizeof(ushort) ? Register.BP : Register.EBP, caller);
                return Done(instruction);
            case Mnemonic.Enter:
                return CarryOutEnterCompat(instruction, ref trap);
            case Mnemonic.Iret or Mnemonic.Iretd:
                return ReturnFromInterrupt(instruction, ref trap);
            case Mnemonic.Retf:
                return ReturnFar(instruction, ref trap);
            default:
                return NotKnown(instruction, ref trap);
        }
    }

    private bool TryPushCompat(ulong value, int bytes, ulong rip, ref Trap trap)
    {
        uint to = CompatStack - (uint)bytes;
        if (!WriteWord(to, bytes, value, rip, ref trap))
            return false;
        CompatStack = to;
        return true;
    }

    private Step CarryOutPopCompat(in Instruction instruction, ref Trap trap)
    {
        int bytes = instruction.StackPointerIncrement;
        uint before = CompatStack;
        if (!ReadWord(before, bytes, out ulong value, instruction.IP, ref trap))
            return Step.Trap;
        if (instruction.Op0Kind == OpKind.Register && instruction.Op0Register.IsSegmentRegister())
        {
            if (!TryLoadSelector(instruction.Op0Register, (ushort)value, instruction.IP, ref trap))
                return Step.Trap;
            CompatStack = before + (uint)bytes;
            return Done(instruction);
        }

        // An address that uses ESP uses it as it is after the pop.
        CompatStack = before + (uint)bytes;
        if (instruction.Op0Kind == OpKind.Register)
        {
            SetRegister(instruction.Op0Register, value);
            return Done(instruction);
        }

        ulong to = AddressOf(instruction);
        CompatStack = before;
        if (!WriteWord(to, bytes, value, instruction.IP, ref trap))
            return Step.Trap;
        CompatStack = before + (uint)bytes;
        return Done(instruction);
    }

    private Step CarryOutNearCompat(in Instruction instruction, ref Trap trap)
    {
        bool isNarrow = instruction.Op0Kind == OpKind.NearBranch16 || instruction.Code is Code.Call_rm16 or Code.Jmp_rm16;
        int bytes = isNarrow ? sizeof(ushort) : sizeof(uint);
        ulong target = instruction.NearBranchTarget;
        if (instruction.Op0Kind == OpKind.Register)
            target = GetRegister(instruction.Op0Register);
        else if (instruction.Op0Kind == OpKind.Memory && !ReadWord(AddressOf(instruction), bytes, out target, instruction.IP, ref trap))
            return Step.Trap;
        if (instruction.Mnemonic == Mnemonic.Call && !TryPushCompat(instruction.NextIP, bytes, instruction.IP, ref trap))
            return Step.Trap;
        return GoNear(isNarrow ? (ushort)target : target);
    }

    /// <summary>`pusha` and `popa`, all or nothing.</summary>
    private Step CarryOutAllRegisters(in Instruction instruction, ref Trap trap)
    {
        int bytes = instruction.Mnemonic is Mnemonic.Pusha or Mnemonic.Popa ? sizeof(ushort) : sizeof(uint);
        Span<byte> words = stackalloc byte[AllRegisters * sizeof(uint)];
        words = words[..(AllRegisters * bytes)];
        bool pushes = instruction.Mnemonic is Mnemonic.Pusha or Mnemonic.Pushad;
        ulong at = pushes ? CompatStack - (uint)words.Length : CompatStack;
        if (at > uint.MaxValue - (ulong)words.Length)
            return Raise(Vectors.StackFault, 0, instruction.IP, ref trap);
        if (!pushes && !Read(at, words, instruction.IP, ref trap))
            return Step.Trap;
        for (int number = 0; number < AllRegisters; number++)
        {
            // EAX is pushed first and lies highest.
            Span<byte> word = words.Slice((AllRegisters - 1 - number) * bytes, bytes);
            Register register = (bytes == sizeof(ushort) ? Register.AX : Register.EAX) + number;
            if (pushes && bytes == sizeof(ushort))
                BinaryPrimitives.WriteUInt16LittleEndian(word, (ushort)GetRegister(register));
            else if (pushes)
                BinaryPrimitives.WriteUInt32LittleEndian(word, (uint)GetRegister(register));
            else if (number != StackRegister)
                SetRegister(register, bytes == sizeof(ushort) ? BinaryPrimitives.ReadUInt16LittleEndian(word) : BinaryPrimitives.ReadUInt32LittleEndian(word));
        }

        if (pushes && !Write(at, words, instruction.IP, ref trap))
            return Step.Trap;
        CompatStack = (uint)(pushes ? at : at + (ulong)words.Length);
        return Done(instruction);
    }

    private Step CarryOutEnterCompat(in Instruction instruction, ref Trap trap)
    {
        int bytes = instruction.Code == Code.Enterw_imm16_imm8 ? sizeof(ushort) : sizeof(uint);
        int level = instruction.Immediate8_2nd % MostLevels;
        uint before = CompatStack;
        uint frame = 0;
        bool done = TryPushCompat(_context.Register(FrameRegister), bytes, instruction.IP, ref trap);
        if (done)
        {
            frame = CompatStack;
            uint outer = (uint)_context.Register(FrameRegister);
            for (int nested = 1; nested < level && done; nested++)
            {
                outer -= (uint)bytes;
                done = ReadWord(outer, bytes, out ulong pointer, instruction.IP, ref trap) && TryPushCompat(pointer, bytes, instruction.IP, ref trap);
            }

            done = done && (level == 0 || TryPushCompat(frame, bytes, instruction.IP, ref trap)) && MayWrite(CompatStack - instruction.Immediate16, bytes, instruction.IP, ref trap);
        }

        if (!done)
        {
            // The trap has the registers as they are: with the stack pointer of before.
            _state.Rsp = CompatStack = before;
            return Step.Trap;
        }

        SetRegister(bytes == sizeof(ushort) ? Register.BP : Register.EBP, frame);
        CompatStack -= instruction.Immediate16;
        return Done(instruction);
    }
}
