namespace Tessera.Sdk.Cpu.X64;

/// <summary>
/// The descriptor tables of a CPU, in the guest's own frames. Descriptors are validated by whoever loads them (DPL 3, no gates); selectors
/// 0xe000 and up stay the engine's own flat segments with Xen's values (0xe023 32-bit code, 0xe02b data, 0xe033 64-bit code).
/// </summary>
/// <param name="gdtFrames">Up to 14 frames of 512 descriptors.</param>
/// <param name="gdtEntries">Descriptors in the GDT.</param>
/// <param name="ldtFrames">Up to 16 frames; empty for no LDT.</param>
/// <param name="ldtEntries">Descriptors in the LDT.</param>
public readonly ref struct GuestDescriptorTables(ReadOnlySpan<Mfn> gdtFrames, int gdtEntries, ReadOnlySpan<Mfn> ldtFrames, int ldtEntries)
{
    /// <summary>The frames of the GDT, 512 descriptors each.</summary>
    public ReadOnlySpan<Mfn> GdtFrames { get; } = gdtFrames;

    /// <summary>Descriptors in the GDT.</summary>
    public int GdtEntries { get; } = gdtEntries;

    /// <summary>The frames of the LDT; empty for none.</summary>
    public ReadOnlySpan<Mfn> LdtFrames { get; } = ldtFrames;

    /// <summary>Descriptors in the LDT.</summary>
    public int LdtEntries { get; } = ldtEntries;
}
