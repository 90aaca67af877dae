using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Tessera.Kernel.Snapshots;

/// <summary>A snapshot on its way out or in: a mark at its beginning, and at its end the SHA-256 of all before.</summary>
internal sealed class SnapshotStream : IDisposable
{
    /// <summary>A state of more bytes is none.</summary>
    private const int MostState = 64 << 20;

#pragma warning disable CA2213 // The stream is the caller's.
    private readonly Stream _stream;
#pragma warning restore CA2213
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);

    private SnapshotStream(Stream stream) => _stream = stream;

    // The last byte is the version of what follows.
    private static ReadOnlySpan<byte> Mark => "TESSERA\u0001"u8;

    /// <summary>Begins to write one.</summary>
    public static SnapshotStream Write(Stream stream)
    {
        SnapshotStream made = new(stream);
        made.Write(Mark);
        return made;
    }

    /// <summary>Begins to read one.</summary>
    /// <exception cref="SnapshotException">It is no snapshot, or one of another version.</exception>
    public static SnapshotStream Read(Stream stream)
    {
        SnapshotStream made = new(stream);
        Span<byte> mark = stackalloc byte[Mark.Length];
        made.Read(mark, "its mark");
        if (mark.SequenceEqual(Mark))
            return made;
        made.Dispose();
        throw new SnapshotException(
            mark[..^1].SequenceEqual(Mark[..^1])
                ? $"The snapshot is of version {mark[^1]}, and this Tessera reads version {Mark[^1]}. Restore it with the Tessera that saved it."
                : "This is no snapshot of a domain: it does not begin like one.");
    }

    public void Write(ReadOnlySpan<byte> bytes)
    {
        _hash.AppendData(bytes);
        _stream.Write(bytes);
    }

    public void WriteNumber(long value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, value);
        Write(bytes);
    }

    public void WriteState(StateWriter state)
    {
        WriteNumber(state.Written.Length);
        Write(state.Written);
    }

    /// <summary>Fills a span.</summary>
    /// <exception cref="SnapshotException">The snapshot ends before.</exception>
    public void Read(Span<byte> bytes, string what)
    {
        ReadUnhashed(bytes, what);
        _hash.AppendData(bytes);
    }

    public long ReadNumber(string what)
    {
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        Read(bytes, what);
        return BinaryPrimitives.ReadInt64LittleEndian(bytes);
    }

    public StateReader ReadState()
    {
        long length = ReadNumber("the length of its state");
        if (length is < 0 or > MostState)
            throw StateReader.Wrong("the length of its state", $"{length} bytes");
        byte[] state = new byte[length];
        Read(state, "its state");
        return new StateReader(state);
    }

    /// <summary>Writes the end.</summary>
    public void Finish() => _stream.Write(_hash.GetHashAndReset());

    /// <summary>Reads the end: what was read is what was written.</summary>
    /// <exception cref="SnapshotException">It is not.</exception>
    public void Verify()
    {
        byte[] found = _hash.GetHashAndReset();
        byte[] said = new byte[found.Length];
        ReadUnhashed(said, "its checksum");
        if (!found.AsSpan().SequenceEqual(said))
            throw new SnapshotException("The snapshot is damaged: its checksum is not that of its contents. Copy it once more, or save the domain again.");
    }

    /// <inheritdoc/>
    public void Dispose() => _hash.Dispose();

    private void ReadUnhashed(Span<byte> bytes, string what)
    {
        int read = _stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
        if (read < bytes.Length)
            throw new SnapshotException($"The snapshot is damaged: it ends before {what}. Copy it once more, or save the domain again.");
    }
}
