namespace Tessera.Images.Compression;

/// <summary>An .xz stream, with the x86 branch filter that Linux's build adds.</summary>
internal sealed class XzCodec : IPayloadCodec
{
    public string Name => "xz";

    public string Package => "liblzma5";

    public bool OwnsTrailer => false;

    public bool Recognizes(ReadOnlySpan<byte> payload) => payload.StartsWith((ReadOnlySpan<byte>)[0xfd, (byte)'7', (byte)'z', (byte)'X', (byte)'Z', 0x00]);

    public unsafe DecodeResult Decode(ReadOnlySpan<byte> source, Span<byte> destination)
    {
        ulong memoryLimit = ImageLimits.MaxXzMemoryBytes;
        nuint read = 0;
        nuint written = 0;
        int result;
        // SAFETY: both spans are pinned for the call and the three counters are locals; liblzma stays within the sizes given. A null
        // allocator stands for malloc and free.
        fixed (byte* from = source)
        fixed (byte* to = destination)
            result = NativeCodec.lzma_stream_buffer_decode(&memoryLimit, 0, null, from, &read, (nuint)source.Length, to, &written, (nuint)destination.Length);
        return result == 0 ? new((long)written, null) : DecodeResult.Failed(Describe(result, memoryLimit));
    }

    // The values of lzma_ret (lzma/base.h).
    private static string Describe(int result, ulong memoryLimit) => result switch
    {
        5 => "out of memory",
        6 => $"its dictionary takes {memoryLimit} bytes, more than the limit of {ImageLimits.MaxXzMemoryBytes}",
        7 => "not an .xz stream",
        8 => "it uses a filter this liblzma does not have",
        9 => "the data is corrupt",
        10 => "it is truncated or larger than promised",
        _ => $"liblzma error {result}",
    };
}
