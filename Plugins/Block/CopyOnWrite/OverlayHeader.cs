using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text;

namespace Tessera.Plugins.Block.CopyOnWrite;

/// <summary>
/// The first 4 KiB of an overlay. Little-endian; docs/block.md has the whole format. Written once, before the file gets its name.
/// </summary>
internal sealed record OverlayHeader
{
    /// <summary>Bytes of the header.</summary>
    public const int Bytes = 4096;

    /// <summary>The unit of copying, bytes: what file systems write, so that a guest's write seldom needs the base.</summary>
    public const int BlockBytes = 4096;

    /// <summary>Where the bitmap begins.</summary>
    public const long BitmapOffset = Bytes;

    private const uint Version = 2;
    private const int SumOffset = 88;
    private const int SumBytes = 16;
    private const int NameOffset = 128;
    private const long DataAlignment = 1 << 20;

    /// <summary>The disk's size, bytes.</summary>
    public required long Size { get; init; }

    /// <summary>The base's size, bytes.</summary>
    public required long BaseSize { get; init; }

    /// <summary>What the base looked like: <see cref="BaseImage.Fingerprint"/>.</summary>
    public required ReadOnlyMemory<byte> Fingerprint { get; init; }

    /// <summary>The base's path when the overlay was made; for people.</summary>
    public required string BasePath { get; init; }

    /// <summary>Blocks of the disk, the last perhaps a part of one.</summary>
    public long Blocks => (Size + BlockBytes - 1) / BlockBytes;

    /// <summary>Bytes of the bitmap, in whole 4 KiB pages.</summary>
    public long BitmapBytes => ((Blocks + 7) / 8 + 4095) & ~4095L;

    /// <summary>Where byte 0 of the disk lies.</summary>
    public long DataOffset => (BitmapOffset + BitmapBytes + DataAlignment - 1) & ~(DataAlignment - 1);

    private static ReadOnlySpan<byte> Magic => "TesseraOverlay\0\0"u8;

    /// <summary>As it stands in the file.</summary>
    public byte[] Write()
    {
        byte[] bytes = new byte[Bytes];
        Magic.CopyTo(bytes);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(16), Version);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(20), BlockBytes);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(24), Size);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(32), BaseSize);
        Fingerprint.Span.CopyTo(bytes.AsSpan(40, SumBytes));
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(72), BitmapOffset);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(80), DataOffset);
        XxHash128.Hash(bytes.AsSpan(0, SumOffset), bytes.AsSpan(SumOffset));
        byte[] name = Encoding.UTF8.GetBytes(BasePath);
        int length = Math.Min(name.Length, Bytes - NameOffset - 2);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(NameOffset), (ushort)length);
        name.AsSpan(0, length).CopyTo(bytes.AsSpan(NameOffset + 2));
        return bytes;
    }

    /// <summary>Reads it; null with the reason when it is not one.</summary>
    public static OverlayHeader? Read(ReadOnlySpan<byte> bytes, out string problem)
    {
        problem = "";
        if (!bytes[..16].SequenceEqual(Magic))
            problem = "it does not begin as an overlay does";
        else if (BinaryPrimitives.ReadUInt32LittleEndian(bytes[16..]) is var version && version != Version)
            problem = $"it is of version {version}, and this is version {Version}";
        else if (!XxHash128.Hash(bytes[..SumOffset]).AsSpan().SequenceEqual(bytes.Slice(SumOffset, SumBytes)))
            problem = "its header is damaged";
        if (problem.Length > 0)
            return null;
        OverlayHeader header = new()
        {
            Size = BinaryPrimitives.ReadInt64LittleEndian(bytes[24..]),
            BaseSize = BinaryPrimitives.ReadInt64LittleEndian(bytes[32..]),
            Fingerprint = bytes.Slice(40, SumBytes).ToArray(),
            BasePath = Encoding.UTF8.GetString(bytes.Slice(NameOffset + 2, Math.Min((int)BinaryPrimitives.ReadUInt16LittleEndian(bytes[NameOffset..]), Bytes - NameOffset - 2))),
        };
        if (header.Size <= 0 || BinaryPrimitives.ReadUInt32LittleEndian(bytes[20..]) != BlockBytes || BinaryPrimitives.ReadInt64LittleEndian(bytes[80..]) != header.DataOffset)
            problem = "its header has numbers that do not agree";
        return problem.Length > 0 ? null : header;
    }
}
