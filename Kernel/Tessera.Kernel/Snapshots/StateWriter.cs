using System.Buffers;
using System.Buffers.Binary;
using System.Text;

namespace Tessera.Kernel.Snapshots;

/// <summary>What the parts of a domain write their state to, one after the other: numbers of 8 bytes, little-endian, and byte strings behind their length.</summary>
internal sealed class StateWriter
{
    private readonly ArrayBufferWriter<byte> _bytes = new();

    /// <summary>What was written so far.</summary>
    public ReadOnlySpan<byte> Written => _bytes.WrittenSpan;

    public void Number(long value)
    {
        BinaryPrimitives.WriteInt64LittleEndian(_bytes.GetSpan(sizeof(long)), value);
        _bytes.Advance(sizeof(long));
    }

    public void Word(ulong value) => Number((long)value);

    public void Flag(bool value) => Number(value ? 1 : 0);

    public void Bytes(ReadOnlySpan<byte> value)
    {
        Number(value.Length);
        _bytes.Write(value);
    }

    /// <summary>A text of characters below 256, as the store has them.</summary>
    public void Text(string value) => Bytes(Encoding.Latin1.GetBytes(value));
}
