using System.Buffers.Binary;
using System.Text;

namespace Tessera.Kernel.Snapshots;

/// <summary>Reads what a <see cref="StateWriter"/> wrote, as the word of a stranger: each value is checked by whoever asks for it.</summary>
/// <param name="state">What was written.</param>
internal sealed class StateReader(ReadOnlyMemory<byte> state)
{
    private int _at;

    /// <summary>A number in bounds.</summary>
    /// <exception cref="SnapshotException">It is not in bounds, or there is none.</exception>
    public long Number(string what, long least, long most)
    {
        long value = (long)Word(what);
        return value >= least && value <= most ? value : throw Wrong(what, $"{value}, and must be {least} to {most}");
    }

    public int Count(string what, int most) => (int)Number(what, 0, most);

    /// <summary>Any 64 bits.</summary>
    public ulong Word(string what) => BinaryPrimitives.ReadUInt64LittleEndian(Take(what, sizeof(ulong)));

    public bool Flag(string what) => Number(what, 0, 1) != 0;

    public ReadOnlySpan<byte> Bytes(string what, int most) => Take(what, Count($"the length of {what}", most));

    public string Text(string what, int most) => Encoding.Latin1.GetString(Bytes(what, most));

    /// <summary>Nothing may be left.</summary>
    public void End()
    {
        if (_at != state.Length)
            throw new SnapshotException($"The snapshot is damaged: {state.Length - _at} bytes are left over behind its state. Save the domain again.");
    }

    /// <summary>What to say of a value that cannot be.</summary>
    public static SnapshotException Wrong(string what, string found) => new($"The snapshot is damaged: {what} is {found}. Save the domain again.");

    private ReadOnlySpan<byte> Take(string what, int bytes)
    {
        if (bytes > state.Length - _at)
            throw new SnapshotException($"The snapshot is damaged: its state ends before {what}. Save the domain again.");
        _at += bytes;
        return state.Span.Slice(_at - bytes, bytes);
    }
}
