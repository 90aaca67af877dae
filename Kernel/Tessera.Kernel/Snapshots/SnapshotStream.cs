using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace Tessera.Kernel.Snapshots;

/// <summary>A snapshot on its way out or in: a mark at its beginning, and at its end the CRC-32C of all before.</summary>
internal sealed class SnapshotStream
{
    private readonly Stream _stream;
    private uint _sum;

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
        throw new SnapshotException(
            mark[..^1].SequenceEqual(Mark[..^1])
                ? $"The snapshot is of version {mark[^1]}, and this Tessera reads version {Mark[^1]}. Restore it with the Tessera that saved it."
                : "This is no snapshot of a domain: it does not begin like one.");
    }

    public void Write(ReadOnlySpan<byte> bytes)
    {
        _sum = Sum(bytes, _sum);
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
        int read = _stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
        if (read < bytes.Length)
            throw new SnapshotException($"The snapshot is damaged: it ends before {what}. Copy it once more, or save the domain again.");
        _sum = Sum(bytes, _sum);
    }

    public long ReadNumber(string what)
    {
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        Read(bytes, what);
        return BinaryPrimitives.ReadInt64LittleEndian(bytes);
    }

    /// <summary>Reads what <see cref="WriteState"/> wrote.</summary>
    /// <param name="most">A state of more bytes is none.</param>
    /// <exception cref="SnapshotException">It is longer, or the snapshot ends before.</exception>
    public StateReader ReadState(long most)
    {
        long length = ReadNumber("the length of its state");
        if (length < 0 || length > most)
            throw StateReader.Wrong("the length of its state", $"{length} bytes");
        byte[] state = new byte[length];
        Read(state, "its state");
        return new StateReader(state);
    }

    /// <summary>Writes the end.</summary>
    public void Finish() => WriteNumber(_sum);

    /// <summary>Reads the end: what was read is what was written.</summary>
    /// <exception cref="SnapshotException">It is not.</exception>
    public void Verify()
    {
        uint sum = _sum;
        if (ReadNumber("its checksum") != sum)
            throw new SnapshotException("The snapshot is damaged: its checksum is not that of its contents. Copy it once more, or save the domain again.");
    }

    /// <summary>Goes on with a checksum.</summary>
    internal static uint Sum(ReadOnlySpan<byte> bytes, uint sum)
    {
        ReadOnlySpan<ulong> words = MemoryMarshal.Cast<byte, ulong>(bytes);
        foreach (ulong word in words)
            sum = BitOperations.Crc32C(sum, word);
        foreach (byte value in bytes[(words.Length * sizeof(ulong))..])
            sum = BitOperations.Crc32C(sum, value);
        return sum;
    }
}
