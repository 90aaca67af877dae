using System.Buffers.Binary;
using System.Text;

namespace Tessera.Images.Tests.Support;

/// <summary>Builds a small ELF64 kernel in memory; every field a test wants wrong can be patched by offset afterwards.</summary>
internal sealed class ElfBuilder
{
    public const ulong VirtBase = 0xffff_ffff_8000_0000;
    public const ulong LoadAddress = 0x100_0000;

    private readonly List<(uint Type, byte[] Data, ulong Physical, ulong MemorySize, ulong Alignment)> _segments = [];
    private readonly List<byte> _notes = [];

    public ulong Entry { get; set; } = VirtBase + LoadAddress;

    public bool NotesInSection { get; set; }

    /// <summary>A kernel with one segment of 8 KiB and the notes every PV Linux has.</summary>
    public static ElfBuilder Linux()
    {
        byte[] text = new byte[0x2000];
        new Random(1).NextBytes(text.AsSpan(0, 0x1000));
        return new ElfBuilder().Load(LoadAddress, text, 0x5000)
            .Note(6, "linux\0").Note(7, "2.6\0").Note(5, "xen-3.0\0").Note(3, VirtBase).Note(15, 0x80_0000_0000UL).Note(1, VirtBase + LoadAddress + 0x10)
            .Note(10, "!writable_page_tables|pae_pgdir_above_4gb").Note(17, 0x801U).Note(9, "yes\0").Note(8, "generic\0")
            .Note(13, [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]).Note(14, 1U).Note(16, 1U).Note(12, 0xffff_8000_0000_0000).Note(4, 0UL);
    }

    public ElfBuilder Load(ulong physical, byte[] data, ulong memorySize) => Segment(1, physical, data, memorySize, 0x1000);

    public ElfBuilder Segment(uint type, ulong physical, byte[] data, ulong memorySize, ulong alignment)
    {
        _segments.Add((type, data, physical, memorySize, alignment));
        return this;
    }

    public ElfBuilder Note(uint type, string text) => Note(type, Encoding.ASCII.GetBytes(text));

    public ElfBuilder Note(uint type, ulong value)
    {
        byte[] data = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(data, value);
        return Note(type, data);
    }

    public ElfBuilder Note(uint type, uint value)
    {
        byte[] data = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(data, value);
        return Note(type, data);
    }

    public ElfBuilder Note(uint type, byte[] data, string name = "Xen\0")
    {
        Span<byte> header = stackalloc byte[12];
        BinaryPrimitives.WriteUInt32LittleEndian(header, (uint)name.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(header[4..], (uint)data.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(header[8..], type);
        _notes.AddRange(header);
        Pad(Encoding.ASCII.GetBytes(name));
        Pad(data);
        return this;
    }

    public byte[] Build()
    {
        List<(uint Type, byte[] Data, ulong Physical, ulong MemorySize, ulong Alignment)> all = [.. _segments];
        if (_notes.Count > 0 && !NotesInSection)
            all.Add((4, [.. _notes], 0, 0, 4));
        int dataAt = 64 + all.Count * 56;
        int sectionData = dataAt + all.Sum(s => s.Data.Length);
        int sections = NotesInSection ? sectionData + _notes.Count : 0;
        byte[] file = new byte[NotesInSection ? sections + 2 * 64 : sectionData];
        Span<byte> f = file;
        ((ReadOnlySpan<byte>)[0x7f, 0x45, 0x4c, 0x46]).CopyTo(f);
        f[4] = 2;
        f[5] = 1;
        f[6] = 1;
        U16(f, 16, 2);
        U16(f, 18, 62);
        U64(f, 24, Entry);
        U64(f, 32, 64);
        U64(f, 40, (ulong)sections);
        U16(f, 54, 56);
        U16(f, 56, (ushort)all.Count);
        U16(f, 58, 64);
        U16(f, 60, (ushort)(NotesInSection ? 2 : 0));
        for (int i = 0; i < all.Count; i++)
        {
            Span<byte> header = f.Slice(64 + i * 56, 56);
            BinaryPrimitives.WriteUInt32LittleEndian(header, all[i].Type);
            U64(header, 8, (ulong)dataAt);
            U64(header, 16, VirtBase + all[i].Physical);
            U64(header, 24, all[i].Physical);
            U64(header, 32, (ulong)all[i].Data.Length);
            U64(header, 40, all[i].MemorySize);
            U64(header, 48, all[i].Alignment);
            all[i].Data.CopyTo(f[dataAt..]);
            dataAt += all[i].Data.Length;
        }
        if (NotesInSection)
        {
            _notes.ToArray().CopyTo(f[sectionData..]);
            Span<byte> header = f.Slice(sections + 64, 64);
            BinaryPrimitives.WriteUInt32LittleEndian(header[4..], 7);
            U64(header, 24, (ulong)sectionData);
            U64(header, 32, (ulong)_notes.Count);
            U64(header, 48, 4);
        }
        return file;
    }

    private static void U16(Span<byte> at, int offset, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(at[offset..], value);

    private static void U64(Span<byte> at, int offset, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(at[offset..], value);

    private void Pad(byte[] bytes)
    {
        _notes.AddRange(bytes);
        while (_notes.Count % 4 != 0)
            _notes.Add(0);
    }
}
