namespace Tessera.Images.Compression;

/// <summary>One way a kernel payload may be compressed.</summary>
internal interface IPayloadCodec
{
    /// <summary>Its name in KernelImage.Format.</summary>
    string Name { get; }

    /// <summary>True when the last four bytes, the unpacked size, belong to the format; false when Linux's build appended them.</summary>
    bool OwnsTrailer { get; }

    bool Recognizes(ReadOnlySpan<byte> payload);

    /// <summary>Unpacks into a buffer of exactly the promised size; never writes outside it.</summary>
    DecodeResult Decode(ReadOnlySpan<byte> source, Span<byte> destination);
}

/// <summary>What came of unpacking: bytes written, or what was wrong.</summary>
internal readonly record struct DecodeResult(long Written, string? Problem)
{
    public static DecodeResult Failed(string problem) => new(0, problem);
}
