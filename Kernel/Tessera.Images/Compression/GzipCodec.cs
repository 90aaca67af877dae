using System.IO.Compression;

namespace Tessera.Images.Compression;

/// <summary>gzip (RFC 1952), whose last field is the unpacked size.</summary>
internal sealed class GzipCodec : IPayloadCodec
{
    public string Name => "gzip";

    public string? Package => null;

    public bool OwnsTrailer => true;

    public bool Recognizes(ReadOnlySpan<byte> payload) => payload.StartsWith((ReadOnlySpan<byte>)[0x1f, 0x8b, 0x08]);

    public unsafe DecodeResult Decode(ReadOnlySpan<byte> source, Span<byte> destination)
    {
        // SAFETY: the span stays pinned while the stream over it lives, and the stream is read-only and as long as the span.
        fixed (byte* from = source)
        {
            using UnmanagedMemoryStream stream = new(from, source.Length);
            using GZipStream gzip = new(stream, CompressionMode.Decompress);
            try
            {
                int written = gzip.ReadAtLeast(destination, destination.Length, throwOnEndOfStream: false);
                return written == destination.Length && gzip.ReadByte() >= 0
                    ? DecodeResult.Failed("it is larger than promised")
                    : new(written, null);
            }
            catch (InvalidDataException e)
            {
                return DecodeResult.Failed(e.Message.TrimEnd('.'));
            }
        }
    }
}
