using System.Buffers.Binary;
using System.Runtime.Intrinsics.X86;

namespace Tessera.Sdk.Cpu.X64;

/// <summary>
/// The processor's XSAVE area in the standard format, as <see cref="ICapturesCpu"/> has it: where things lie (Intel SDM, volume 1, 13.4; AMD64 manual, volume 2, 11.5), what engines check and
/// how they write it. Everything is little-endian.
/// </summary>
public static class XsaveArea
{
    /// <summary>XSTATE_BV: the x87 registers and control words, and MMX, which are the same registers.</summary>
    public const ulong X87 = 1;

    /// <summary>XSTATE_BV: XMM0 to XMM15, and MXCSR.</summary>
    public const ulong Sse = 2;

    /// <summary>XSTATE_BV: the upper halves of YMM0 to YMM15.</summary>
    public const ulong Avx = 4;

    /// <summary>Where FCW lies, the x87 control word, 16 bits; initially <see cref="InitialControlWord"/>.</summary>
    public const int ControlWord = 0;

    /// <summary>Where FSW lies, the x87 status word, 16 bits; bits 11 to 13 say which register is ST(0).</summary>
    public const int StatusWord = 2;

    /// <summary>Where the tags lie, a bit for each of the physical registers R0 to R7: whether it holds something.</summary>
    public const int Tags = 4;

    /// <summary>Where FOP, FIP and FDP lie, 18 bytes: the last x87 instruction. An engine that runs other instructions than the guest's has 0 there.</summary>
    public const int LastInstruction = 6;

    /// <summary>Where MXCSR lies, 32 bits; initially <see cref="InitialMxcsr"/>.</summary>
    public const int Mxcsr = 24;

    /// <summary>Where ST(0) to ST(7) lie, ten bytes each, 16 apart; MMX registers are their first eight.</summary>
    public const int X87Registers = 32;

    /// <summary>Where XMM0 to XMM15 lie, 16 bytes each.</summary>
    public const int XmmRegisters = 160;

    /// <summary>Where the header begins: XSTATE_BV, 64 bits, then 56 bytes of zeros.</summary>
    public const int Header = 512;

    /// <summary>Where the upper halves of YMM0 to YMM15 lie, 16 bytes each; an area without them ends here.</summary>
    public const int UpperHalves = 576;

    /// <summary>Where an area with AVX ends.</summary>
    public const int AvxEnd = UpperHalves + (VectorRegisters * 16);

    /// <summary>FCW of a new CPU.</summary>
    public const ushort InitialControlWord = 0x37f;

    /// <summary>MXCSR of a new CPU.</summary>
    public const uint InitialMxcsr = 0x1f80;

    private const int VectorRegisters = 16;
    private const int X87RegisterCount = 8;
    private const int X87RegisterBytes = 10;
    private const int X87RegisterSpacing = 16;
    private const int MxcsrMask = Mxcsr + sizeof(uint);
    private const int Unused = 416;
    private const uint CommonMxcsr = 0xffff;
    private const uint MisalignedMode = 1 << 17;
    private const int ExtendedFeatures = unchecked((int)0x80000001);
    private const int MisalignedModeFeature = 1 << 7;

    /// <summary>The bits of MXCSR that this host's processor has; the others are reserved.</summary>
    public static uint MxcsrBits { get; } = HasMisalignedMode() ? CommonMxcsr | MisalignedMode : CommonMxcsr;

    /// <summary>XSTATE_BV.</summary>
    public static ulong ComponentsOf(ReadOnlySpan<byte> area) => BinaryPrimitives.ReadUInt64LittleEndian(area[Header..]);

    /// <summary>How long an area with these of <see cref="X87"/>, <see cref="Sse"/> and <see cref="Avx"/> is at least.</summary>
    public static int BytesOf(ulong components) => (components & Avx) != 0 ? AvxEnd : UpperHalves;

    /// <summary>Looks at what an engine is to take.</summary>
    /// <param name="area">The area.</param>
    /// <param name="components">What guests have: those of XCR0.</param>
    /// <exception cref="ArgumentException">It is too short for its header or for x87, SSE and AVX as far as it names them; names a component that guests do not have; is compacted, or has something in the
    /// reserved part of its header; or has a reserved bit in MXCSR.</exception>
    public static void Check(ReadOnlySpan<byte> area, ulong components)
    {
        if (area.Length < UpperHalves)
            throw new ArgumentException($"An XSAVE area has at least {UpperHalves} bytes, this one {area.Length}.", nameof(area));
        ulong present = ComponentsOf(area);
        if ((present & ~components) is not 0 and var unknown)
            throw new ArgumentException($"XSTATE_BV is 0x{present:x}: guests have no component 0x{unknown:x} here, only 0x{components:x}.", nameof(area));
        if (area.Length < BytesOf(present))
            throw new ArgumentException($"An XSAVE area with AVX has at least {BytesOf(present)} bytes, this one {area.Length}.", nameof(area));
        int reserved = area[(Header + sizeof(ulong))..UpperHalves].IndexOfAnyExcept((byte)0);
        if (reserved >= 0)
            throw new ArgumentException($"Byte {sizeof(ulong) + reserved} of the XSAVE header is not 0: only the standard format is taken, not the compacted one (XCOMP_BV).", nameof(area));
        uint mxcsr = BinaryPrimitives.ReadUInt32LittleEndian(area[Mxcsr..]);
        if ((mxcsr & ~MxcsrBits) is not 0 and var bits)
            throw new ArgumentException($"MXCSR is 0x{mxcsr:x}: 0x{bits:x} is reserved on this processor.", nameof(area));
    }

    /// <summary>Says as little as a capture can of an area that has the values of all components: XSTATE_BV of those that are not initial, zeros in what is reserved, MXCSR_MASK 0xffff.</summary>
    /// <param name="area">The area.</param>
    /// <param name="more">Components behind AVX that are not in their initial state.</param>
    public static void Normalize(Span<byte> area, ulong more)
    {
        area[Tags + 1] = 0;
        for (int register = 0; register < X87RegisterCount; register++)
            area[(X87Registers + (register * X87RegisterSpacing) + X87RegisterBytes)..(X87Registers + ((register + 1) * X87RegisterSpacing))].Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(area[MxcsrMask..], CommonMxcsr);
        area[Unused..UpperHalves].Clear();
        bool hasX87 = BinaryPrimitives.ReadUInt16LittleEndian(area[ControlWord..]) != InitialControlWord
            || area[StatusWord..Mxcsr].ContainsAnyExcept((byte)0) || area[X87Registers..XmmRegisters].ContainsAnyExcept((byte)0);
        bool hasSse = BinaryPrimitives.ReadUInt32LittleEndian(area[Mxcsr..]) != InitialMxcsr || area[XmmRegisters..Unused].ContainsAnyExcept((byte)0);
        bool hasAvx = area.Length >= AvxEnd && area[UpperHalves..AvxEnd].ContainsAnyExcept((byte)0);
        BinaryPrimitives.WriteUInt64LittleEndian(area[Header..], (hasX87 ? X87 : 0) | (hasSse ? Sse : 0) | (hasAvx ? Avx : 0) | more);
    }

    /// <summary>Looks at where an engine is to write to.</summary>
    /// <param name="area">The area.</param>
    /// <param name="bytes">How long it must be.</param>
    /// <exception cref="ArgumentException">It is not.</exception>
    public static void CheckRoom(ReadOnlySpan<byte> area, int bytes)
    {
        if (area.Length != bytes)
            throw new ArgumentException($"A capture of this CPU takes {bytes} bytes, not {area.Length}.", nameof(area));
    }

    /// <summary>MXCSR.MM of AMD's processors.</summary>
    private static bool HasMisalignedMode() =>
        X86Base.IsSupported && (uint)X86Base.CpuId(unchecked((int)0x80000000), 0).Eax >= unchecked((uint)ExtendedFeatures) && (X86Base.CpuId(ExtendedFeatures, 0).Ecx & MisalignedModeFeature) != 0;
}
