using System.Runtime.InteropServices;

namespace Tessera.Images.Compression;

/// <summary>The system's decompressors, by soname. Signatures from lz4.h, zstd.h and lzma/container.h.</summary>
internal static partial class NativeCodec
{
    /// <summary>Runs a codec and turns a library that is not there into an error that names its package.</summary>
    public static DecodeResult Guard(ImageBytes image, string where, IPayloadCodec codec, ReadOnlySpan<byte> source, Span<byte> destination)
    {
        try
        {
            return codec.Decode(source, destination);
        }
        catch (Exception e) when (codec.Package is not null && e is DllNotFoundException or EntryPointNotFoundException or BadImageFormatException)
        {
            throw image.Fail(where, $"the payload is compressed with {codec.Name} and its library cannot be used ({e.Message.Split('\n')[0].TrimEnd('.')})",
                $"Install it: apt-get install {codec.Package}", e);
        }
    }

    [LibraryImport("liblz4.so.1")]
    internal static unsafe partial int LZ4_decompress_safe(byte* source, byte* destination, int sourceSize, int destinationCapacity);

    [LibraryImport("libzstd.so.1")]
    internal static unsafe partial nuint ZSTD_decompress(byte* destination, nuint capacity, byte* source, nuint sourceSize);

    [LibraryImport("libzstd.so.1")]
    internal static partial uint ZSTD_isError(nuint code);

    [LibraryImport("libzstd.so.1")]
    internal static partial nint ZSTD_getErrorName(nuint code);

    [LibraryImport("liblzma.so.5")]
    internal static unsafe partial int lzma_stream_buffer_decode(
        ulong* memoryLimit, uint flags, void* allocator, byte* input, nuint* inputPosition, nuint inputSize, byte* output, nuint* outputPosition, nuint outputSize);
}
