using System.Buffers.Binary;
using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Text;
using K4os.Compression.LZ4;
using SharpCompress.Compressors.BZip2;
using SharpCompress.Compressors.LZMA;

namespace Tessera.Images.Tests.Support;

/// <summary>Compresses as Linux's build does and wraps the result into a bzImage.</summary>
internal static partial class Packer
{
    private const int BlockBytes = 8 << 20;

    public static byte[] Payload(string format, byte[] kernel) => format switch
    {
        "lz4" => WithSize(Lz4(kernel), kernel.Length),
        "zstd" => WithSize(Zstd(kernel), kernel.Length),
        "xz" => WithSize(Xz(kernel), kernel.Length),
        "gzip" => Gzip(kernel),
        "bzip2" => WithSize(Bzip2(kernel), kernel.Length),
        "lzma" => WithSize(Lzma(kernel), kernel.Length),
        _ => throw new ArgumentOutOfRangeException(nameof(format), format, null),
    };

    public static byte[] BzImage(byte[] payload, byte setupSectors = 3, ushort version = 0x20f, string release = "")
    {
        int start = ((setupSectors == 0 ? 4 : setupSectors) + 1) * 512;
        const int payloadOffset = 0x2cc;
        byte[] file = new byte[start + payloadOffset + payload.Length + 100];
        Span<byte> f = file;
        f[0x1f1] = setupSectors;
        f[0x1fe] = 0x55;
        f[0x1ff] = 0xaa;
        "HdrS"u8.CopyTo(f[0x202..]);
        BinaryPrimitives.WriteUInt16LittleEndian(f[0x20e..], (ushort)(release.Length == 0 ? 0 : 0x100));
        Encoding.ASCII.GetBytes(release, f[0x300..]);
        BinaryPrimitives.WriteUInt16LittleEndian(f[0x206..], version);
        BinaryPrimitives.WriteUInt32LittleEndian(f[0x248..], payloadOffset);
        BinaryPrimitives.WriteUInt32LittleEndian(f[0x24c..], (uint)payload.Length);
        payload.CopyTo(f[(start + payloadOffset)..]);
        return file;
    }

    public static byte[] WithSize(byte[] compressed, int size)
    {
        byte[] result = new byte[compressed.Length + 4];
        compressed.CopyTo(result, 0);
        BinaryPrimitives.WriteUInt32LittleEndian(result.AsSpan(compressed.Length), (uint)size);
        return result;
    }

    private static byte[] Gzip(byte[] data)
    {
        using MemoryStream to = new();
        using (GZipStream gzip = new(to, CompressionLevel.Fastest))
            gzip.Write(data);
        return to.ToArray();
    }

    private static byte[] Lz4(byte[] data)
    {
        List<byte> result = [0x02, 0x21, 0x4c, 0x18];
        byte[] room = new byte[LZ4Codec.MaximumOutputSize(BlockBytes)];
        for (int at = 0; at < data.Length; at += BlockBytes)
        {
            int packed = LZ4Codec.Encode(data.AsSpan(at, Math.Min(BlockBytes, data.Length - at)), room);
            result.AddRange(BitConverter.GetBytes(packed));
            result.AddRange(room.AsSpan(0, packed));
        }
        return [.. result];
    }

    private static byte[] Zstd(byte[] data)
    {
        using ZstdSharp.Compressor compressor = new();
        return compressor.Wrap(data).ToArray();
    }

    private static byte[] Bzip2(byte[] data)
    {
        using MemoryStream to = new();
        using (BZip2Stream packed = BZip2Stream.Create(to, SharpCompress.Compressors.CompressionMode.Compress, decompressConcatenated: false, leaveOpen: true))
            packed.Write(data);
        return to.ToArray();
    }

    private static byte[] Lzma(byte[] data)
    {
        using MemoryStream to = new();
        byte[] properties;
        using (LzmaStream packed = LzmaStream.Create(new LzmaEncoderProperties(eos: true), isLzma2: false, to))
        {
            properties = packed.Properties;
            packed.Write(data);
        }
        return [.. properties, .. BitConverter.GetBytes(-1L), .. to.ToArray()];
    }

    private static unsafe byte[] Xz(byte[] data)
    {
        byte[] room = new byte[data.Length + data.Length / 2 + 4096];
        nuint length = 0;
        const int checkCrc32 = 1;
        int result;
        // SAFETY: both arrays are pinned for the call and their lengths given; a null allocator stands for malloc.
        fixed (byte* from = data)
        fixed (byte* to = room)
            result = lzma_easy_buffer_encode(1, checkCrc32, null, from, (nuint)data.Length, to, &length, (nuint)room.Length);
        Assert.That(result, Is.Zero);
        return room[..(int)length];
    }

    [LibraryImport("liblzma.so.5")]
    private static unsafe partial int lzma_easy_buffer_encode(
        uint preset, int check, void* allocator, byte* input, nuint inputSize, byte* output, nuint* outputPosition, nuint outputSize);
}
