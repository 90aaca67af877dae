using ZstdSharp;

namespace Tessera.Images.Compression;

/// <summary>Zstandard frames (RFC 8878), unpacked in one call, so that the window needs no memory of its own.</summary>
internal sealed class ZstdCodec : IPayloadCodec
{
    public string Name => "zstd";

    public bool OwnsTrailer => false;

    public bool Recognizes(ReadOnlySpan<byte> payload) => payload.StartsWith((ReadOnlySpan<byte>)[0x28, 0xb5, 0x2f, 0xfd]);

    public DecodeResult Decode(ReadOnlySpan<byte> source, Span<byte> destination)
    {
        try
        {
            using Decompressor zstd = new();
            return new(zstd.Unwrap(source, destination), null);
        }
        catch (ZstdException e)
        {
            return DecodeResult.Failed(e.Message);
        }
    }
}
