namespace Tessera.Kernel.Traps;

/// <summary>CPUID less the vector features that an engine does not give: no more than x87, SSE and AVX, saved in the standard form alone.</summary>
internal static class VectorPolicy
{
    private const ulong AvxState = 4;
    private const uint LegacyAndHeader = 576;
    private const uint AvxBytes = 256;

    // Leaf 1 ECX: FMA, AVX, F16C.
    private const uint Leaf1Avx = (1u << 12) | (1u << 28) | (1u << 29);

    // Leaf 7 EBX: AVX2, AVX-512 (F, DQ, IFMA, PF, ER, CD, BW, VL); ECX: VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ, WAITPKG, MOVDIRI, MOVDIR64B, CLDEMOTE, RDPID stays.
    private const uint Leaf7Avx2 = 1u << 5;
    private const uint Leaf7Avx512 = (1u << 16) | (1u << 17) | (1u << 21) | (1u << 26) | (1u << 27) | (1u << 28) | (1u << 30) | (1u << 31);
    private const uint Leaf7Transactions = (1u << 4) | (1u << 11);
    private const uint Leaf7Wide = (1u << 1) | (1u << 5) | (1u << 6) | (1u << 11) | (1u << 12) | (1u << 14) | (1u << 25) | (1u << 27) | (1u << 28);
    private const uint Leaf7WideAes = (1u << 9) | (1u << 10);

    // 0x80000001 ECX: XOP, FMA4, TBM, MONITORX; EDX: 3DNow and its extensions.
    private const uint ExtendedOld = (1u << 11) | (1u << 16) | (1u << 21) | (1u << 29);
    private const uint ExtendedNow = (1u << 30) | (1u << 31);

    /// <summary>A leaf with what is left.</summary>
    /// <param name="leaf">The leaf.</param>
    /// <param name="subleaf">The subleaf.</param>
    /// <param name="states">The components of XCR0 that guests get.</param>
    /// <param name="eax">EAX before.</param>
    /// <param name="ebx">EBX before.</param>
    /// <param name="ecx">ECX before.</param>
    /// <param name="edx">EDX before.</param>
    public static (uint Eax, uint Ebx, uint Ecx, uint Edx) Limit(uint leaf, uint subleaf, ulong states, uint eax, uint ebx, uint ecx, uint edx)
    {
        bool avx = (states & AvxState) != 0;
        return leaf switch
        {
            1 => (eax, ebx, avx ? ecx : ecx & ~Leaf1Avx, edx),
            7 when subleaf == 0 => (0, ebx & ~(Leaf7Avx512 | Leaf7Transactions | (avx ? 0 : Leaf7Avx2)), ecx & ~(Leaf7Wide | (avx ? 0 : Leaf7WideAes)), 0),
            7 => default,
            0xD => subleaf switch
            {
                0 => ((uint)states, LegacyAndHeader + (avx ? AvxBytes : 0), LegacyAndHeader + (avx ? AvxBytes : 0), 0),
                1 => (eax & 1, 0, 0, 0),
                2 when avx => (AvxBytes, LegacyAndHeader, 0, 0),
                _ => default,
            },
            0x14 or 0x19 or 0x1D or 0x1E or 0x24 => default,
            0x8000_0001 => (eax, ebx, ecx & ~ExtendedOld, edx & ~ExtendedNow),
            _ => (eax, ebx, ecx, edx),
        };
    }
}
