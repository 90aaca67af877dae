using System.Buffers.Binary;
using System.Text;
using Tessera.Sdk.Xen;

namespace Tessera.Guests;

/// <summary>Writes a static ELF64 file: program headers only, one note area, loadable segments on page boundaries.</summary>
internal sealed class ElfWriter
{
    private const int HeaderSize = 64;
    private const int ProgramHeaderSize = 56;
    private const uint Load = 1;
    private const uint Note = 4;
    private const ushort Executable = 2;
    private const ushort X8664 = 62;
    private readonly List<Segment> _segments = [];
    private readonly List<byte> _notes = [];

    [Flags]
    internal enum Access
    {
        Execute = 1,
        Write = 2,
        Read = 4,
    }

    /// <summary>Adds a loadable segment.</summary>
    /// <param name="virtualAddress">Page aligned.</param>
    /// <param name="physicalAddress">Page aligned.</param>
    /// <param name="content">What the file holds of it.</param>
    /// <param name="memorySize">Bytes in memory, zero after the content.</param>
    /// <param name="access">What the guest may do there.</param>
    public void AddSegment(ulong virtualAddress, ulong physicalAddress, byte[] content, ulong memorySize, Access access) =>
        _segments.Add(new(virtualAddress, physicalAddress, content, memorySize, access));

    public void AddNote(ElfNote type, ulong value) => AddNote("Xen", (uint)type, BitConverter.GetBytes(value));

    public void AddNote(ElfNote type, string text) => AddNote("Xen", (uint)type, Encoding.ASCII.GetBytes(text + "\0"));

    public void AddNote(string owner, uint type, ReadOnlySpan<byte> data)
    {
        byte[] name = Encoding.ASCII.GetBytes(owner + "\0");
        Span<byte> header = stackalloc byte[12];
        BinaryPrimitives.WriteUInt32LittleEndian(header, (uint)name.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(header[4..], (uint)data.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(header[8..], type);
        _notes.AddRange(header);
        _notes.AddRange(name);
        PadTo4();
        _notes.AddRange(data);
        PadTo4();
    }

    /// <summary>The whole file.</summary>
    /// <param name="entry">Virtual address of the first instruction.</param>
    public byte[] ToArray(ulong entry)
    {
        byte[] notes = _notes.ToArray();
        int headers = _segments.Count + 1;
        int notesAt = HeaderSize + (headers * ProgramHeaderSize);
        int contentAt = PageUp(notesAt + notes.Length);
        byte[] file = new byte[contentAt + _segments.Sum(segment => PageUp(segment.Content.Length))];
        WriteHeader(file, entry, headers);
        Span<byte> table = file.AsSpan(HeaderSize);
        foreach (Segment segment in _segments)
        {
            segment.Content.CopyTo(file.AsSpan(contentAt));
            WriteProgramHeader(table, Load, segment, contentAt, segment.MemorySize);
            table = table[ProgramHeaderSize..];
            contentAt += PageUp(segment.Content.Length);
        }

        notes.CopyTo(file.AsSpan(notesAt));
        WriteProgramHeader(table, Note, new(0, 0, notes, 0, Access.Read), notesAt, (ulong)notes.Length);
        return file;
    }

    private static void WriteHeader(Span<byte> file, ulong entry, int headers)
    {
        ReadOnlySpan<byte> identity = [0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1];
        identity.CopyTo(file);
        BinaryPrimitives.WriteUInt16LittleEndian(file[16..], Executable);
        BinaryPrimitives.WriteUInt16LittleEndian(file[18..], X8664);
        BinaryPrimitives.WriteUInt32LittleEndian(file[20..], 1);
        BinaryPrimitives.WriteUInt64LittleEndian(file[24..], entry);
        BinaryPrimitives.WriteUInt64LittleEndian(file[32..], HeaderSize);
        BinaryPrimitives.WriteUInt16LittleEndian(file[52..], HeaderSize);
        BinaryPrimitives.WriteUInt16LittleEndian(file[54..], ProgramHeaderSize);
        BinaryPrimitives.WriteUInt16LittleEndian(file[56..], (ushort)headers);
        BinaryPrimitives.WriteUInt16LittleEndian(file[58..], HeaderSize);
    }

    private static void WriteProgramHeader(Span<byte> header, uint type, Segment segment, int offset, ulong memorySize)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(header, type);
        BinaryPrimitives.WriteUInt32LittleEndian(header[4..], (uint)segment.Access);
        BinaryPrimitives.WriteUInt64LittleEndian(header[8..], (ulong)offset);
        BinaryPrimitives.WriteUInt64LittleEndian(header[16..], segment.VirtualAddress);
        BinaryPrimitives.WriteUInt64LittleEndian(header[24..], segment.PhysicalAddress);
        BinaryPrimitives.WriteUInt64LittleEndian(header[32..], (ulong)segment.Content.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(header[40..], memorySize);
        BinaryPrimitives.WriteUInt64LittleEndian(header[48..], type == Load ? 4096UL : 4UL);
    }

    private static int PageUp(int bytes) => (bytes + 4095) & ~4095;

    private void PadTo4()
    {
        while (_notes.Count % 4 != 0)
            _notes.Add(0);
    }

    private sealed record Segment(ulong VirtualAddress, ulong PhysicalAddress, byte[] Content, ulong MemorySize, Access Access);
}
