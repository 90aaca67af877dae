namespace Tessera.Images.Compression;

/// <summary>Unpacks by a stream that somebody else wrote, which may throw what it likes on data that is wrong.</summary>
internal static class StreamDecoder
{
    /// <summary>Unpacks all of it.</summary>
    public static unsafe DecodeResult Decode(ReadOnlySpan<byte> source, Span<byte> destination, Func<Stream, Stream> open)
    {
        // SAFETY: the span stays pinned while the stream over it lives, and the stream is read-only and as long as the span.
        fixed (byte* from = source)
        {
            using UnmanagedMemoryStream packed = new(from, source.Length);
            try
            {
                using Stream unpacked = open(packed);
                int written = 0;
                // Whole reads only: the checks of a stream may wait for the read that reaches its end.
                while (written < destination.Length && unpacked.Read(destination[written..]) is > 0 and var count)
                    written += count;
                return written == destination.Length && unpacked.ReadByte() >= 0 ? DecodeResult.Failed("it is larger than promised") : new(written, null);
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                return DecodeResult.Failed($"the data is corrupt or truncated ({e.Message.TrimEnd('.')})");
            }
            catch (OutOfMemoryException)
            {
                return DecodeResult.Failed("it wants more memory than there is");
            }
        }
    }
}
