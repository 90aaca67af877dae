using System.Buffers.Binary;
using K4os.Compression.LZ4;

namespace Tessera.Images.Compression;

/// <summary>LZ4's legacy frame, the one Linux uses: a magic number, then blocks, each a 4-byte length and a piece that unpacks to at most 8 MiB.</summary>
internal sealed class Lz4Codec : IPayloadCodec
{
    private const uint Magic = 0x184c2102;
    private const int BlockBytes = 8 << 20;

    public string Name => "lz4";

    public bool OwnsTrailer => false;

    public bool Recognizes(ReadOnlySpan<byte> payload) => payload.Length >= 4 && BinaryPrimitives.ReadUInt32LittleEndian(payload) == Magic;

    public DecodeResult Decode(ReadOnlySpan<byte> source, Span<byte> destination)
    {
        int at = 4;
        int written = 0;
        while (at < source.Length)
        {
            if (source.Length - at < 4)
                return DecodeResult.Failed($"{source.Length - at} stray bytes after the last block");
            uint length = BinaryPrimitives.ReadUInt32LittleEndian(source[at..]);
            at += 4;
            // Frames may follow one another, each with its own magic number.
            if (length == Magic)
                continue;
            if (length == 0 || length > (uint)(source.Length - at))
                return DecodeResult.Failed($"a block of {length} bytes with {source.Length - at} left");
            ReadOnlySpan<byte> block = source.Slice(at, (int)length);
            Span<byte> room = destination[written..];
            int count = LZ4Codec.Decode(block, room[..Math.Min(room.Length, BlockBytes)]);
            if (count < 0)
                return DecodeResult.Failed($"the block at byte {at} is malformed or larger than promised");
            written += count;
            at += block.Length;
        }
        return new(written, null);
    }
}
