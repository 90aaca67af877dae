using System.Runtime.InteropServices;

namespace Tessera.Sdk.Cpu.X64;

/// <summary>A vCPU's register state in ring 3.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct GuestCpuState
{
#pragma warning disable CS1591 // The registers' own names say what they are (AMD64 manual, volume 1, section 3).
    public ulong Rax, Rbx, Rcx, Rdx, Rsi, Rdi, Rsp, Rbp, R8, R9, R10, R11, R12, R13, R14, R15, Rip, Rflags;
    public ulong FsBase, GsBase;
    public ulong Dr0, Dr1, Dr2, Dr3, Dr6, Dr7;
    public ushort Cs, Ss, Ds, Es, Fs, Gs;
#pragma warning restore CS1591

    /// <summary>The L4 table to run on.</summary>
    public Mfn Root;

    /// <summary>Code segment is a flat 32-bit one (compatibility mode), not 64-bit.</summary>
    public bool Is32Bit;

    /// <summary>CR0.TS: the next vector or x87 instruction raises #NM.</summary>
    public bool TaskSwitched;
}
