using System.Runtime.CompilerServices;
using Iced.Intel;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Kernel.Traps;

/// <summary>Reads and writes general registers by the decoder's names, with the architecture's rules for narrow ones.</summary>
internal static class RegisterFile
{
    /// <summary>A register's value, zero-extended.</summary>
    public static ulong Read(in GuestCpuState state, Register register)
    {
        ulong full = Full(ref Unsafe.AsRef(in state), register);
        return register.GetSize() switch
        {
            8 => full,
            4 => (uint)full,
            2 => (ushort)full,
            _ => IsHighByte(register) ? (byte)(full >> 8) : (byte)full,
        };
    }

    /// <summary>Writes a register: 32-bit writes clear the upper half, narrower ones leave the rest.</summary>
    public static void Write(ref GuestCpuState state, Register register, ulong value)
    {
        ref ulong full = ref Full(ref state, register);
        full = register.GetSize() switch
        {
            8 => value,
            4 => (uint)value,
            2 => (full & ~0xFFFFUL) | (ushort)value,
            _ => IsHighByte(register) ? (full & ~0xFF00UL) | ((ulong)(byte)value << 8) : (full & ~0xFFUL) | (byte)value,
        };
    }

    private static bool IsHighByte(Register register) => register is Register.AH or Register.BH or Register.CH or Register.DH;

    private static ref ulong Full(ref GuestCpuState state, Register register)
    {
        switch (register.GetFullRegister())
        {
            case Register.RAX: return ref state.Rax;
            case Register.RBX: return ref state.Rbx;
            case Register.RCX: return ref state.Rcx;
            case Register.RDX: return ref state.Rdx;
            case Register.RSI: return ref state.Rsi;
            case Register.RDI: return ref state.Rdi;
            case Register.RSP: return ref state.Rsp;
            case Register.RBP: return ref state.Rbp;
            case Register.R8: return ref state.R8;
            case Register.R9: return ref state.R9;
            case Register.R10: return ref state.R10;
            case Register.R11: return ref state.R11;
            case Register.R12: return ref state.R12;
            case Register.R13: return ref state.R13;
            case Register.R14: return ref state.R14;
            case Register.R15: return ref state.R15;
            default: throw new ArgumentOutOfRangeException(nameof(register), register, "Not a general register.");
        }
    }
}
