using System.Buffers.Binary;
using SharpCompress.Compressors.LZMA;

namespace Tessera.Images.Compression;

/// <summary>LZMA's own file format, the one before XZ: five bytes of properties, eight of the unpacked size (all ones for unknown), data.</summary>
internal sealed class LzmaCodec : IPayloadCodec
{
    private const int PropertyBytes = 5;
    private const int HeaderBytes = 13;

    public string Name => "lzma";

    public bool OwnsTrailer => false;

    public bool Recognizes(ReadOnlySpan<byte> payload) => payload.StartsWith((ReadOnlySpan<byte>)[0x5d, 0x00, 0x00]);

    public DecodeResult Decode(ReadOnlySpan<byte> source, Span<byte> destination)
    {
        if (source.Length <= HeaderBytes)
            return DecodeResult.Failed("it is truncated");
        if (BinaryPrimitives.ReadUInt32LittleEndian(source[1..]) > ImageLimits.MaxDictionaryBytes)
            return DecodeResult.Failed($"its dictionary is larger than {ImageLimits.MaxDictionaryBytes >> 20} MiB");
        byte[] properties = source[..PropertyBytes].ToArray();
        long size = BinaryPrimitives.ReadInt64LittleEndian(source[PropertyBytes..]);
        int packed = source.Length - HeaderBytes;
        return StreamDecoder.Decode(source[HeaderBytes..], destination, stream => LzmaStream.Create(properties, stream, packed, size));
    }
}
