using System.Buffers.Binary;
using Iced.Intel;
using Tessera.Sdk.Xen;

namespace Tessera.Guests;

/// <summary>
/// Lays a built-in guest out and writes its file. From <see cref="VirtBase"/> up: the hypercall page, the report page, data, code; so
/// that every address but those in the code is known while the code is being assembled.
/// </summary>
internal sealed class GuestImage
{
    /// <summary>Where pseudo-physical address 0 is mapped: addresses from here up fit an instruction's sign-extended 32 bits.</summary>
    public const ulong VirtBase = 0xFFFF_FFFF_8000_0000;

    public const ulong HypercallPage = VirtBase;
    public const ulong Report = VirtBase + PageSize;
    public const int PageSize = 4096;

    private readonly GuestKind _kind;
    private readonly ulong _unitInstructions;
    private ulong _dataEnd = Report + PageSize;

    public GuestImage(GuestKind kind, ulong unitInstructions)
    {
        _kind = kind;
        _unitInstructions = unitInstructions;
    }

    /// <summary>Reserves zeroed data, aligned to 8 bytes.</summary>
    public ulong Reserve(int bytes) => Reserve(bytes, 8);

    /// <summary>Reserves zeroed whole pages.</summary>
    public ulong ReservePages(int pages) => Reserve(pages * PageSize, PageSize);

    /// <summary>The file, with the code placed after the data.</summary>
    public byte[] Write(Assembler code)
    {
        ulong codeStart = (_dataEnd + PageSize - 1) & ~(ulong)(PageSize - 1);
        using MemoryStream stream = new();
        code.Assemble(new StreamCodeWriter(stream), codeStart);
        byte[] machineCode = stream.ToArray();

        ElfWriter elf = new();
        // Until the domain builder fills the page, a hypercall is an invalid opcode.
        byte[] hypercalls = new byte[PageSize];
        hypercalls.AsSpan().Fill(0xCC);
        elf.AddSegment(HypercallPage, HypercallPage - VirtBase, hypercalls, PageSize, ElfWriter.Access.Read | ElfWriter.Access.Execute);
        elf.AddSegment(Report, Report - VirtBase, InitialReport(), codeStart - Report, ElfWriter.Access.Read | ElfWriter.Access.Write);
        elf.AddSegment(codeStart, codeStart - VirtBase, machineCode, (ulong)machineCode.Length, ElfWriter.Access.Read | ElfWriter.Access.Execute);
        elf.AddNote(ElfNote.GuestOs, "tessera-builtin");
        elf.AddNote(ElfNote.GuestVersion, _kind.ToString().ToLowerInvariant());
        elf.AddNote(ElfNote.Loader, "generic");
        elf.AddNote(ElfNote.XenVersion, "xen-3.0");
        elf.AddNote(ElfNote.Features, "pae_pgdir_above_4gb");
        elf.AddNote(ElfNote.VirtBase, VirtBase);
        elf.AddNote(ElfNote.PaddrOffset, 0UL);
        elf.AddNote(ElfNote.Entry, codeStart);
        elf.AddNote(ElfNote.HypercallPage, HypercallPage);
        elf.AddNote(TesseraNote.Name, TesseraNote.ReportPage, BitConverter.GetBytes(Report - VirtBase));
        return elf.ToArray(codeStart);
    }

    private byte[] InitialReport()
    {
        byte[] page = new byte[ReportLayout.Size];
        BinaryPrimitives.WriteUInt64LittleEndian(page.AsSpan(ReportLayout.Magic), ReportLayout.MagicValue);
        BinaryPrimitives.WriteUInt32LittleEndian(page.AsSpan(ReportLayout.Version), ReportLayout.VersionValue);
        BinaryPrimitives.WriteUInt32LittleEndian(page.AsSpan(ReportLayout.Kind), (uint)_kind);
        BinaryPrimitives.WriteUInt64LittleEndian(page.AsSpan(ReportLayout.UnitInstructions), _unitInstructions);
        return page;
    }

    private ulong Reserve(int bytes, ulong alignment)
    {
        ulong address = (_dataEnd + alignment - 1) & ~(alignment - 1);
        _dataEnd = address + (ulong)bytes;
        return address;
    }
}
