using System.Runtime.Intrinsics.X86;

namespace Tessera.Plugins.Cpu.Software;

/// <summary>What of the host's processor translated code may use beyond x86-64 itself. Everything has a plain sequence beside it.</summary>
/// <param name="BitManipulation">BMI2: `rorx` and `pext`, which leave the flags alone.</param>
/// <param name="WideVectors">AVX: the guest has YMM registers.</param>
/// <param name="OnePage">For tests: the TLB holds one page at a time.</param>
/// <param name="OneInstruction">For tests: blocks have one instruction.</param>
/// <param name="Apart">For tests: each access is checked by itself.</param>
internal readonly record struct HostFeatures(bool BitManipulation, bool WideVectors, bool OnePage = false, bool OneInstruction = false, bool Apart = false)
{
    /// <summary>x87, SSE and, where the host has it, AVX: the components of XCR0 that guests get.</summary>
    public ulong VectorStates => WideVectors ? 7UL : 3UL;

    /// <summary>This host's; <paramref name="plain"/> leaves out what has a plain sequence beside it.</summary>
    public static HostFeatures Probe(bool plain) =>
        new(!plain && Bmi2.X64.IsSupported, Avx.IsSupported);
}
