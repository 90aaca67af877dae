using System.Buffers.Binary;

namespace Tessera.Images;

/// <summary>The bytes of an image with bounds-checked little-endian reads; every failure names the field and its offset.</summary>
internal readonly struct ImageBytes(ReadOnlyMemory<byte> memory, string file)
{
    public ReadOnlyMemory<byte> Memory { get; } = memory;

    public string File { get; } = file;

    public int Length => Memory.Length;

    public byte U8(ulong offset, string field) => Slice(offset, 1, field).Span[0];

    public ushort U16(ulong offset, string field) => BinaryPrimitives.ReadUInt16LittleEndian(Slice(offset, 2, field).Span);

    public uint U32(ulong offset, string field) => BinaryPrimitives.ReadUInt32LittleEndian(Slice(offset, 4, field).Span);

    public ulong U64(ulong offset, string field) => BinaryPrimitives.ReadUInt64LittleEndian(Slice(offset, 8, field).Span);

    public ReadOnlyMemory<byte> Slice(ulong offset, ulong length, string field)
    {
        ulong total = (ulong)Memory.Length;
        if (offset > total || length > total - offset)
            throw Fail(field, $"0x{length:x} bytes at offset 0x{offset:x} run past the end (the image has 0x{total:x} bytes)", "The file is truncated or damaged: fetch it again");
        return Memory.Slice((int)offset, (int)length);
    }

    public ImageException Fail(string where, string problem, string cure, Exception? inner = null) => new(File, where, problem, cure, inner);
}
