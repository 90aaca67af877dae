using SharpCompress.Compressors.Xz;

namespace Tessera.Images.Compression;

/// <summary>An .xz stream, with the x86 branch filter that Linux's build adds.</summary>
internal sealed class XzCodec : IPayloadCodec
{
    public string Name => "xz";

    public bool OwnsTrailer => false;

    public bool Recognizes(ReadOnlySpan<byte> payload) => payload.StartsWith((ReadOnlySpan<byte>)[0xfd, (byte)'7', (byte)'z', (byte)'X', (byte)'Z', 0x00]);

    public DecodeResult Decode(ReadOnlySpan<byte> source, Span<byte> destination) => StreamDecoder.Decode(source, destination, stream => new XZStream(stream));
}
