using System.IO.Compression;

namespace Tessera.Images.Compression;

/// <summary>gzip (RFC 1952), whose last field is the unpacked size.</summary>
internal sealed class GzipCodec : IPayloadCodec
{
    public string Name => "gzip";

    public bool OwnsTrailer => true;

    public bool Recognizes(ReadOnlySpan<byte> payload) => payload.StartsWith((ReadOnlySpan<byte>)[0x1f, 0x8b, 0x08]);

    public DecodeResult Decode(ReadOnlySpan<byte> source, Span<byte> destination) =>
        StreamDecoder.Decode(source, destination, stream => new GZipStream(stream, CompressionMode.Decompress));
}
