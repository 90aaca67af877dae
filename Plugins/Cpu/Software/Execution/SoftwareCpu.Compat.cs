using Iced.Intel;
using Tessera.Plugins.Cpu.Software.Translation;
using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Software;

// 32-bit code: which segments it runs in, and its instructions that are carried out here.
internal sealed unsafe partial class SoftwareCpu
{
    // SAFETY: guest memory only by Read and Write; registers by the state block.

    /// <summary>What a flat segment must have of its descriptor: base 0, limit 4 GiB, 32 bits, present, a segment of ring 3, readable or writable.</summary>
    private const ulong FlatMask = 0xffef_f6ff_ffff_ffff;
    private const ulong FlatBits = 0x00cf_f200_0000_ffff;
    private const ulong CodeBit = 1UL << 43;
    private const ulong ExpandsDown = 1UL << 42;
    private const ulong WholeLimit = 0x008f_0000_0000_ffff;
    private const ulong OverflowFlag = 0x800;
    private const ulong AdjustFlag = 0x10;
    private const int CompatVectors = 8;

    /// <summary>A segment register of 32-bit code has been loaded, or code of the other size entered.</summary>
    private bool _modeIsStale;

    private Step Help(in Instruction instruction, ref Trap trap)
    {
        _isNotCanonical = false;
        Step step = CarryOut(instruction, ref trap);
        LoadSelectors();
        if (step == Step.Trap)
            MayBeStackFault(instruction, ref trap);
        return step == Step.LookUp && _modeIsStale ? EnterMode(ref trap) : step;
    }

    /// <summary>Makes the mode of the code at RIP the translator's; a fault where such code is not translated.</summary>
    private Step EnterMode(ref Trap trap)
    {
        _modeIsStale = false;
        CodeMode mode = CodeMode.Long;
        if (_state.Is32Bit)
        {
            ulong rip = _context[StateBlock.Rip] = (uint)_context[StateBlock.Rip];
            if (!TryCompatMode(out mode))
                return NotFlat(rip, ref trap);
        }

        if (_state.TaskSwitched)
            mode |= CodeMode.NoVectors;
        if (_context.Mode != mode)
        {
            _context.Mode = mode;
            _context.FlushJumps();
        }

        return Step.LookUp;
    }

    private bool TryCompatMode(out CodeMode mode)
    {
        mode = CodeMode.Compat;
        return IsFlat(_state.Cs, isCode: true) && IsFlat(_state.Ss, isCode: false)
            && TryData(_state.Ds, CodeMode.NoDs, ref mode) && TryData(_state.Es, CodeMode.NoEs, ref mode)
            && TryBased(_state.Fs, CodeMode.NoFs, ref mode) && TryBased(_state.Gs, CodeMode.NoGs, ref mode);
    }

    private bool IsFlat(ushort selector, bool isCode) => TryDescriptor(selector, out ulong descriptor) && IsFlat(descriptor, isCode);

    private static bool IsFlat(ulong descriptor, bool isCode) =>
        (descriptor & (isCode ? FlatMask & ~ExpandsDown : FlatMask)) == FlatBits && (descriptor & CodeBit) == (isCode ? CodeBit : 0);

    private bool TryData(ushort selector, CodeMode whenNull, ref CodeMode mode)
    {
        if ((selector & ~3) != 0)
            return IsFlat(selector, isCode: false);
        mode |= whenNull;
        return true;
    }

    /// <summary>FS and GS: a base of their own, no limit. One whose descriptor is gone counts as null.</summary>
    private bool TryBased(ushort selector, CodeMode whenNull, ref CodeMode mode)
    {
        if ((selector & ~3) == 0 || !TryDescriptor(selector, out ulong descriptor) || (descriptor >> 47 & 1) == 0)
        {
            mode |= whenNull;
            return true;
        }

        return (descriptor & WholeLimit) == WholeLimit && (descriptor & (CodeBit | ExpandsDown | (1UL << 41))) == 1UL << 41;
    }

    /// <summary>A linear address of 32-bit code wraps at 4 GiB.</summary>
    private static ulong Linear(in Instruction instruction, ulong address) => instruction.CodeSize == CodeSize.Code32 ? (uint)address : address;

    private static int VectorCount(in Instruction instruction) => instruction.CodeSize == CodeSize.Code32 ? CompatVectors : 16;

    private ulong PageAfter(ulong rip)
    {
        ulong next = (rip | (Bytes4K - 1)) + 1;
        return _state.Is32Bit ? (uint)next : next;
    }

    /// <summary>Instructions that only 32-bit code has, or that do something else there.</summary>
    private bool TryCarryOutCompat(in Instruction instruction, ref Trap trap, out Step step)
    {
        ulong rip = instruction.IP;
        if (_translator.IsRefused(instruction, _context.Mode))
        {
            step = Raise(Vectors.GeneralProtection, 0, rip, ref trap);
            return true;
        }

        switch (instruction.Mnemonic)
        {
            case Mnemonic.Aaa or Mnemonic.Aas or Mnemonic.Aam or Mnemonic.Aad or Mnemonic.Daa or Mnemonic.Das:
                step = CarryOutDecimal(instruction, ref trap);
                break;
            case Mnemonic.Salc:
                SetRegister(Register.AL, (_context[StateBlock.Flags] & CarryFlag) != 0 ? 0xffu : 0);
                step = Done(instruction);
                break;
            case Mnemonic.Into:
                step = (_context[StateBlock.Flags] & OverflowFlag) == 0 ? Done(instruction) : Raise(Vectors.Overflow, 0, instruction.NextIP, ref trap);
                break;
            case Mnemonic.Bound:
                step = CarryOutBound(instruction, ref trap);
                break;
            case Mnemonic.Arpl:
                step = CarryOutArpl(instruction, ref trap);
                break;
            case Mnemonic.Sysenter:
                // Where the processor has it in this mode, it has no code segment to go to: the kernel knows what was meant.
                step = Raise(HasCompatSysenter ? Vectors.GeneralProtection : Vectors.InvalidOpcode, 0, rip, ref trap);
                break;
            case Mnemonic.Vzeroupper or Mnemonic.Vzeroall:
                for (int register = 0; register < CompatVectors; register++)
                    Vector(register)[(instruction.Mnemonic == Mnemonic.Vzeroall ? 0 : 16)..].Clear();
                step = Done(instruction);
                break;
            case Mnemonic.Loop or Mnemonic.Loope or Mnemonic.Loopne or Mnemonic.Jcxz or Mnemonic.Jecxz:
                step = CarryOutCountedJump(instruction);
                break;
            case Mnemonic.Pusha or Mnemonic.Pushad or Mnemonic.Popa or Mnemonic.Popad:
                step = CarryOutAllRegisters(instruction, ref trap);
                break;
            default:
                if (!instruction.IsJccShortOrNear)
                {
                    step = default;
                    return false;
                }

                // Only those with an operand of 16 bits come here.
                step = Holds(instruction.ConditionCode) ? GoNear(instruction.NearBranchTarget & 0xffff) : Done(instruction);
                break;
        }

        return true;
    }

    private static bool HasCompatSysenter { get; } = System.Runtime.Intrinsics.X86.X86Base.CpuId(0, 0).Ebx != 0x6874_7541 && System.Runtime.Intrinsics.X86.X86Base.CpuId(0, 0).Ebx != 0x6f67_7948;

    private Step GoNear(ulong target)
    {
        _context[StateBlock.Rip] = target;
        return Step.LookUp;
    }

    /// <summary>`loop` and its kind by CX, or to an address of 16 bits.</summary>
    private Step CarryOutCountedJump(in Instruction instruction)
    {
        bool byCx = instruction.Code is Code.Jcxz_rel8_16 or Code.Jcxz_rel8_32 or Code.Loop_rel8_16_CX or Code.Loop_rel8_32_CX or Code.Loope_rel8_16_CX
            or Code.Loope_rel8_32_CX or Code.Loopne_rel8_16_CX or Code.Loopne_rel8_32_CX;
        Register counter = byCx ? Register.CX : Register.ECX;
        bool isLoop = instruction.Mnemonic is not (Mnemonic.Jcxz or Mnemonic.Jecxz);
        if (isLoop)
            SetRegister(counter, GetRegister(counter) - 1);
        bool zero = (_context[StateBlock.Flags] & ZeroFlag) != 0;
        bool taken = (GetRegister(counter) == 0) != isLoop && instruction.Mnemonic switch { Mnemonic.Loope => zero, Mnemonic.Loopne => !zero, _ => true };
        return taken ? GoNear(instruction.Op0Kind == OpKind.NearBranch16 ? instruction.NearBranchTarget & 0xffff : instruction.NearBranchTarget) : Done(instruction);
    }

    private bool Holds(ConditionCode condition)
    {
        ulong flags = _context[StateBlock.Flags];
        bool carry = (flags & CarryFlag) != 0;
        bool zero = (flags & ZeroFlag) != 0;
        bool sign = (flags & 0x80) != 0;
        bool overflow = (flags & OverflowFlag) != 0;
        bool parity = (flags & 4) != 0;
        return condition switch
        {
            ConditionCode.o => overflow,
            ConditionCode.no => !overflow,
            ConditionCode.b => carry,
            ConditionCode.ae => !carry,
            ConditionCode.e => zero,
            ConditionCode.ne => !zero,
            ConditionCode.be => carry || zero,
            ConditionCode.a => !carry && !zero,
            ConditionCode.s => sign,
            ConditionCode.ns => !sign,
            ConditionCode.p => parity,
            ConditionCode.np => !parity,
            ConditionCode.l => sign != overflow,
            ConditionCode.ge => sign == overflow,
            ConditionCode.le => zero || sign != overflow,
            _ => !zero && sign == overflow,
        };
    }

    private Step CarryOutBound(in Instruction instruction, ref Trap trap)
    {
        int bytes = instruction.Op0Register.GetSize();
        ulong address = AddressOf(instruction);
        if (!ReadWord(address, bytes, out ulong low, instruction.IP, ref trap)
            || !ReadWord(Linear(instruction, address + (ulong)bytes), bytes, out ulong high, instruction.IP, ref trap))
        {
            return Step.Trap;
        }

        long index = Signed(GetRegister(instruction.Op0Register), bytes);
        return index < Signed(low, bytes) || index > Signed(high, bytes) ? Raise(Vectors.BoundRange, 0, instruction.IP, ref trap) : Done(instruction);
    }

    private static long Signed(ulong value, int bytes) => bytes == sizeof(ushort) ? (short)value : (int)value;

    private Step CarryOutArpl(in Instruction instruction, ref Trap trap)
    {
        bool inMemory = instruction.Op0Kind == OpKind.Memory;
        ulong destination = inMemory ? 0 : GetRegister(instruction.Op0Register);
        if (inMemory && !ReadWord(AddressOf(instruction), sizeof(ushort), out destination, instruction.IP, ref trap))
            return Step.Trap;
        ulong wanted = GetRegister(instruction.Op1Register) & 3;
        bool raised = (destination & 3) < wanted;
        ulong value = raised ? (destination & ~3UL) | wanted : destination;
        if (inMemory && raised && !WriteWord(AddressOf(instruction), sizeof(ushort), value, instruction.IP, ref trap))
            return Step.Trap;
        if (!inMemory)
            SetRegister(instruction.Op0Register, value);
        SetFlag(ZeroFlag, raised);
        return Done(instruction);
    }

    /// <summary>Decimal arithmetic, with the undefined flags as they were before or of the result.</summary>
    private Step CarryOutDecimal(in Instruction instruction, ref Trap trap)
    {
        ulong flags = _context[StateBlock.Flags];
        byte low = (byte)_context.Register(0);
        byte high = (byte)(_context.Register(0) >> 8);
        bool adjust = (low & 15) > 9 || (flags & AdjustFlag) != 0;
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Aam:
                byte divisor = instruction.Immediate8;
                if (divisor == 0)
                    return Raise(Vectors.DivideError, 0, instruction.IP, ref trap);
                (high, low) = ((byte)(low / divisor), (byte)(low % divisor));
                break;
            case Mnemonic.Aad:
                (low, high) = ((byte)(low + (high * instruction.Immediate8)), 0);
                break;
            case Mnemonic.Aaa or Mnemonic.Aas:
                if (adjust)
                {
                    int by = instruction.Mnemonic == Mnemonic.Aaa ? 0x106 : -0x106;
                    int whole = (low | (high << 8)) + by;
                    (low, high) = ((byte)whole, (byte)(whole >> 8));
                }

                low &= 15;
                SetFlag(AdjustFlag, adjust);
                SetFlag(CarryFlag, adjust);
                SetRegister(Register.AX, (ulong)(low | (high << 8)));
                return Done(instruction);
            default:
                bool carry = low > 0x99 || (flags & CarryFlag) != 0;
                int sign = instruction.Mnemonic == Mnemonic.Daa ? 1 : -1;
                bool borrow = instruction.Mnemonic == Mnemonic.Das && adjust && low < 6;
                low = (byte)(low + (sign * ((adjust ? 6 : 0) + (carry ? 0x60 : 0))));
                SetFlag(AdjustFlag, adjust);
                SetFlag(CarryFlag, carry || borrow);
                break;
        }

        SetFlag(ZeroFlag, low == 0);
        SetFlag(0x80, (low & 0x80) != 0);
        SetFlag(4, (System.Numerics.BitOperations.PopCount(low) & 1) == 0);
        SetRegister(Register.AX, (ulong)(low | (high << 8)));
        return Done(instruction);
    }
}
