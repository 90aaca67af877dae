using SharpCompress.Compressors;
using SharpCompress.Compressors.BZip2;

namespace Tessera.Images.Compression;

/// <summary>bzip2.</summary>
internal sealed class Bzip2Codec : IPayloadCodec
{
    public string Name => "bzip2";

    public bool OwnsTrailer => false;

    public bool Recognizes(ReadOnlySpan<byte> payload) => payload.StartsWith("BZh"u8);

    public DecodeResult Decode(ReadOnlySpan<byte> source, Span<byte> destination) =>
        StreamDecoder.Decode(source, destination, stream => BZip2Stream.Create(stream, CompressionMode.Decompress, decompressConcatenated: true));
}
