namespace Tessera.Images.Compression;

/// <summary>The payload formats known, by their first bytes.</summary>
internal static class PayloadCodecs
{
    public static IPayloadCodec Find(ImageBytes image, ReadOnlySpan<byte> payload, string where)
    {
        IPayloadCodec[] all = [new Lz4Codec(), new ZstdCodec(), new XzCodec(), new GzipCodec(), new LzmaCodec(), new Bzip2Codec()];
        foreach (IPayloadCodec codec in all)
            if (codec.Recognizes(payload))
                return codec;
        string found = Foreign(payload) is string name ? $"the payload is compressed with {name}" : $"the payload begins with {Convert.ToHexString(payload[..6])}, no compression known";
        throw image.Fail(where, found, "LZ4 (legacy frame), zstd, XZ, gzip, LZMA and bzip2 can be unpacked (CONFIG_KERNEL_LZ4, _ZSTD, _XZ, _GZIP, _LZMA, _BZIP2); or give the vmlinux");
    }

    // Formats that Linux or its tools can make and that are refused by name.
    private static string? Foreign(ReadOnlySpan<byte> payload)
    {
        if (payload.StartsWith((ReadOnlySpan<byte>)[0x89, 0x4c, 0x5a, 0x4f]))
            return "LZO";
        return payload.StartsWith((ReadOnlySpan<byte>)[0x04, 0x22, 0x4d, 0x18]) ? "LZ4 in its newer frame" : null;
    }
}
