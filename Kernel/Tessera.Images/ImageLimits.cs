namespace Tessera.Images;

/// <summary>What an image may ask of the host before anything in it is trusted.</summary>
public static class ImageLimits
{
    /// <summary>The most bytes a compressed kernel may unpack to (a Debian kernel takes about 55 MiB).</summary>
    public const uint MaxUnpackedBytes = 1U << 30;

    /// <summary>The most bytes of memory a kernel's segments may span.</summary>
    public const ulong MaxSpanBytes = 1UL << 32;

    /// <summary>The most program headers or section headers read.</summary>
    public const int MaxHeaders = 4096;

    /// <summary>The most memory an LZMA file may ask for as its dictionary (Linux uses 32 to 128 MiB).</summary>
    public const uint MaxDictionaryBytes = 512U << 20;
}
