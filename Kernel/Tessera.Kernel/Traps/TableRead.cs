using Iced.Intel;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Kernel.Traps;

/// <summary>
/// The machine-to-physical table at the address that the ABI has for it (MACH2PHYS_VIRT_START), where this host cannot show it there: reads
/// of a guest's kernel are done for it at the place where the table is.
/// </summary>
internal static class TableRead
{
    private const ulong CarryFlag = 1;
    private const ulong ParityFlag = 4;
    private const ulong AdjustFlag = 0x10;
    private const ulong ZeroFlag = 0x40;
    private const ulong SignFlag = 0x80;
    private const ulong OverflowFlag = 0x800;
    private const ulong ArithmeticFlags = CarryFlag | ParityFlag | AdjustFlag | ZeroFlag | SignFlag | OverflowFlag;

    /// <summary>Whether an instruction reads memory in a way that is known here.</summary>
    /// <param name="instruction">The instruction.</param>
    /// <param name="size">Bytes read: 1, 2, 4 or 8.</param>
    public static bool IsKnown(in Instruction instruction, out int size)
    {
        size = instruction.MemorySize.GetSize();
        bool isLoad = instruction.Mnemonic is Mnemonic.Mov or Mnemonic.Movzx or Mnemonic.Movsx or Mnemonic.Movsxd
            && instruction.Op1Kind == OpKind.Memory && instruction.Op0Kind == OpKind.Register && instruction.Op0Register.IsGPR();
        bool compares = instruction.Mnemonic is Mnemonic.Cmp or Mnemonic.Test
            && (instruction.Op0Kind == OpKind.Memory || instruction.Op1Kind == OpKind.Memory);
        return (isLoad || compares) && size is 1 or 2 or 4 or 8;
    }

    /// <summary>Does what the instruction does with the value that it read.</summary>
    public static void Complete(ref GuestCpuState state, in Instruction instruction, ulong value, int size)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Movsx or Mnemonic.Movsxd:
                int unused = 64 - (size * 8);
                RegisterFile.Write(ref state, instruction.Op0Register, (ulong)((long)(value << unused) >> unused));
                break;
            case Mnemonic.Cmp:
                state.Rflags = (state.Rflags & ~ArithmeticFlags) | CompareFlags(Operand(in state, instruction, 0, value), Operand(in state, instruction, 1, value), size);
                break;
            case Mnemonic.Test:
                state.Rflags = (state.Rflags & ~ArithmeticFlags) | ResultFlags(Operand(in state, instruction, 0, value) & Operand(in state, instruction, 1, value), size);
                break;
            default:
                RegisterFile.Write(ref state, instruction.Op0Register, value);
                break;
        }
    }

    private static ulong Operand(in GuestCpuState state, in Instruction instruction, int index, ulong read) => instruction.GetOpKind(index) switch
    {
        OpKind.Memory => read,
        OpKind.Register => RegisterFile.Read(in state, instruction.GetOpRegister(index)),
        _ => instruction.GetImmediate(index),
    };

    private static ulong CompareFlags(ulong left, ulong right, int size)
    {
        int bits = size * 8;
        ulong mask = bits == 64 ? ulong.MaxValue : (1UL << bits) - 1;
        (left, right) = (left & mask, right & mask);
        ulong difference = (left - right) & mask;
        ulong flags = ResultFlags(difference, size);
        flags |= left < right ? CarryFlag : 0;
        flags |= ((left ^ right ^ difference) & 0x10) != 0 ? AdjustFlag : 0;
        return flags | (((left ^ right) & (left ^ difference)) >> (bits - 1) != 0 ? OverflowFlag : 0);
    }

    private static ulong ResultFlags(ulong value, int size)
    {
        int bits = size * 8;
        ulong mask = bits == 64 ? ulong.MaxValue : (1UL << bits) - 1;
        ulong flags = (value & mask) == 0 ? ZeroFlag : 0;
        flags |= (value & mask) >> (bits - 1) != 0 ? SignFlag : 0;
        return flags | ((System.Numerics.BitOperations.PopCount(value & 0xff) & 1) == 0 ? ParityFlag : 0);
    }
}
