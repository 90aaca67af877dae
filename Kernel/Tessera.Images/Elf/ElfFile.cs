namespace Tessera.Images.Elf;

/// <summary>An ELF64 x86-64 file's program headers, notes and entry (System V ABI, ELF-64 object file format).</summary>
internal sealed class ElfFile
{
    private const int HeaderBytes = 64;
    private const int ProgramHeaderBytes = 56;
    private const int SectionHeaderBytes = 64;
    private const uint PtLoad = 1;
    private const uint PtNote = 4;
    private const uint ShtNote = 7;

    private readonly ImageBytes _image;
    private readonly List<ProgramHeader> _programs = [];

    public ElfFile(ImageBytes image)
    {
        _image = image;
        CheckIdentity(image);
        Entry = image.U64(24, "e_entry");
        ReadProgramHeaders();
        Notes = ReadNotes();
    }

    public ulong Entry { get; }

    public XenNotes Notes { get; }

    public static bool HasMagic(ReadOnlySpan<byte> bytes) => bytes.StartsWith((ReadOnlySpan<byte>)[0x7f, (byte)'E', (byte)'L', (byte)'F']);

    /// <summary>The PT_LOAD headers with something in them, in file order.</summary>
    public IEnumerable<ProgramHeader> Loads => _programs.Where(p => p.Type == PtLoad && p.MemorySize != 0);

    private static void CheckIdentity(ImageBytes image)
    {
        image.Slice(0, HeaderBytes, "ELF header");
        byte fileClass = image.U8(4, "EI_CLASS");
        ushort type = image.U16(16, "e_type");
        ushort machine = image.U16(18, "e_machine");
        if (fileClass != 2)
            throw image.Fail("ELF header, EI_CLASS", fileClass == 1 ? "this is a 32-bit kernel" : $"class {fileClass} is not ELF64", "Tessera runs 64-bit x86-64 PV kernels");
        if (image.U8(5, "EI_DATA") != 1)
            throw image.Fail("ELF header, EI_DATA", "the file is not little-endian", "An x86-64 kernel is");
        if (machine != 62)
            throw image.Fail("ELF header, e_machine", $"machine {machine} is not x86-64 (62)", "Give a kernel built for x86-64");
        if (type is not (2 or 3))
            throw image.Fail("ELF header, e_type", $"type {type} is not a linked program", "Give an ET_EXEC (2) or ET_DYN (3) file, such as vmlinux or vmlinuz");
    }

    private void ReadProgramHeaders()
    {
        ulong table = _image.U64(32, "e_phoff");
        ushort size = _image.U16(54, "e_phentsize");
        ushort count = _image.U16(56, "e_phnum");
        if (count == 0)
            throw _image.Fail("ELF header, e_phnum", "there are no program headers, so nothing to load", "Give a linked kernel");
        if (size < ProgramHeaderBytes || count > ImageLimits.MaxHeaders)
            throw _image.Fail("ELF header, e_phentsize/e_phnum", $"{count} program headers of {size} bytes", $"At least {ProgramHeaderBytes} bytes each and at most {ImageLimits.MaxHeaders} of them");
        _image.Slice(table, (ulong)size * count, "program headers");
        for (int i = 0; i < count; i++)
        {
            ulong at = table + (ulong)i * size;
            string name = $"program header {i}";
            _programs.Add(new(i, _image.U32(at, name), _image.U64(at + 8, name), _image.U64(at + 24, name), _image.U64(at + 32, name), _image.U64(at + 40, name), _image.U64(at + 48, name)));
        }
    }

    // As Xen does: note segments first, note sections only when no segment held a note of its name.
    private XenNotes ReadNotes()
    {
        XenNotes notes = new();
        foreach (ProgramHeader p in _programs.Where(p => p.Type == PtNote))
            notes = NoteParser.Add(notes, _image, p.Offset, p.FileSize, p.Alignment, $"program header {p.Index} (PT_NOTE)");
        return notes.Count > 0 ? notes : ReadSectionNotes(notes);
    }

    private XenNotes ReadSectionNotes(XenNotes notes)
    {
        ulong table = _image.U64(40, "e_shoff");
        ushort size = _image.U16(58, "e_shentsize");
        ushort count = _image.U16(60, "e_shnum");
        if (table == 0 || count == 0)
            return notes;
        if (size < SectionHeaderBytes || count > ImageLimits.MaxHeaders)
            throw _image.Fail("ELF header, e_shentsize/e_shnum", $"{count} section headers of {size} bytes", $"At least {SectionHeaderBytes} bytes each and at most {ImageLimits.MaxHeaders} of them");
        _image.Slice(table, (ulong)size * count, "section headers");
        for (int i = 0; i < count; i++)
        {
            ulong at = table + (ulong)i * size;
            string name = $"section header {i}";
            if (_image.U32(at + 4, name) == ShtNote)
                notes = NoteParser.Add(notes, _image, _image.U64(at + 24, name), _image.U64(at + 32, name), _image.U64(at + 48, name), $"section {i} (SHT_NOTE)");
        }
        return notes;
    }
}

/// <summary>The fields of an Elf64_Phdr that loading needs.</summary>
internal readonly record struct ProgramHeader(int Index, uint Type, ulong Offset, ulong PhysicalAddress, ulong FileSize, ulong MemorySize, ulong Alignment);
