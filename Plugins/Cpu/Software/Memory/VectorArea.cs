using System.Runtime.InteropServices;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Plugins.Cpu.Software.Memory;

/// <summary>A CPU's x87 and vector registers while translated code does not run: one area for all of its roots, which each state block points to.</summary>
internal sealed unsafe class VectorArea : IDisposable
{
    // SAFETY: allocated in the constructor, freed in Dispose after the state blocks that point to it.

    /// <summary>x87 state as FXSAVE64 writes it, and the header that XRSTOR wants behind it.</summary>
    public const int X87 = 0;

    /// <summary>Sixteen YMM registers, 32 bytes each.</summary>
    public const int Vectors = 0x280;
    public const int VectorBytes = 16 * 32;

    /// <summary>
    /// Whether the upper half of a vector register may not be zero, a byte. Where all are, they are loaded as such: old code that writes lower halves
    /// waits for the upper ones otherwise.
    /// </summary>
    public const int Wide = Vectors + VectorBytes;

    private const int Bytes = Wide + 64;
    private const int Alignment = 64;

    public VectorArea()
    {
        Start = (byte*)NativeMemory.AlignedAlloc(Bytes, Alignment);
        NativeMemory.Clear(Start, Bytes);
        *(ushort*)(Start + X87 + XsaveArea.ControlWord) = XsaveArea.InitialControlWord;
        *(ulong*)(Start + X87 + XsaveArea.Mxcsr) = XsaveArea.InitialMxcsr | ((ulong)XsaveArea.MxcsrBits << 32);
        *(ulong*)(Start + X87 + XsaveArea.Header) = XsaveArea.X87;
    }

    public byte* Start { get; }

    /// <inheritdoc/>
    public void Dispose() => NativeMemory.AlignedFree(Start);
}
