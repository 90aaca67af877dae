using System.Runtime.InteropServices;

namespace Tessera.Images.Compression;

/// <summary>Zstandard frames (RFC 8878), unpacked in one call, so that the window needs no memory of its own.</summary>
internal sealed class ZstdCodec : IPayloadCodec
{
    public string Name => "zstd";

    public string Package => "libzstd1";

    public bool OwnsTrailer => false;

    public bool Recognizes(ReadOnlySpan<byte> payload) => payload.StartsWith((ReadOnlySpan<byte>)[0x28, 0xb5, 0x2f, 0xfd]);

    public unsafe DecodeResult Decode(ReadOnlySpan<byte> source, Span<byte> destination)
    {
        nuint result;
        // SAFETY: both spans are pinned for the call; ZSTD_decompress reads and writes only within the sizes given.
        fixed (byte* from = source)
        fixed (byte* to = destination)
            result = NativeCodec.ZSTD_decompress(to, (nuint)destination.Length, from, (nuint)source.Length);
        return NativeCodec.ZSTD_isError(result) == 0
            ? new((long)result, null)
            : DecodeResult.Failed(Marshal.PtrToStringUTF8(NativeCodec.ZSTD_getErrorName(result)) ?? "unknown error");
    }
}
