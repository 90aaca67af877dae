using System.Buffers.Binary;
using System.Text;

namespace Tessera.Kernel.Tests.Scripted;

/// <summary>A number in a row that may depend on where a guest's memory lies: asked of the guest when the row is run.</summary>
internal readonly struct Value(Func<ScriptedGuest, ulong> of)
{
    public ulong Of(ScriptedGuest guest) => of(guest);

    public static implicit operator Value(ulong number) => new(_ => number);

    public static implicit operator Value(long number) => new(_ => (ulong)number);

    public static implicit operator Value(int number) => new(_ => (ulong)number);

    public static implicit operator Value(uint number) => new(_ => number);

    public static implicit operator Value(ushort number) => new(_ => number);

    public static implicit operator Value(Enum number) => new(_ => (ulong)Convert.ToInt64(number));

    public static Value operator +(Value left, Value right) => new(guest => left.Of(guest) + right.Of(guest));

    public static Value operator *(Value left, ulong right) => new(guest => left.Of(guest) * right);

    public static Value operator |(Value left, Value right) => new(guest => left.Of(guest) | right.Of(guest));
}

/// <summary>A member of a structure: so many bytes, aligned as C does.</summary>
/// <param name="Bytes">How many.</param>
/// <param name="Alignment">Of how many its place is a multiple.</param>
/// <param name="Write">Writes it; null for one whose value is not looked at.</param>
internal sealed record Member(int Bytes, int Alignment, Action<ScriptedGuest, Memory<byte>>? Write);

/// <summary>A structure of the ABI as a row writes it, member by member.</summary>
internal sealed class Struct(params Member[] members)
{
    private readonly int _alignment = members.Select(member => member.Alignment).DefaultIfEmpty(1).Max();

    /// <summary>One after the other, as in an array.</summary>
    public static Struct Array(params Struct[] elements) => new([.. elements.SelectMany(element => element.Padded)]);

    public int Bytes => Align(Places.Select(place => place.Offset + place.Member.Bytes).LastOrDefault(), _alignment);

    private IEnumerable<(int Offset, Member Member)> Places
    {
        get
        {
            int offset = 0;
            foreach (Member member in members)
            {
                offset = Align(offset, member.Alignment);
                yield return (offset, member);
                offset += member.Bytes;
            }
        }
    }

    private IEnumerable<Member> Padded => [.. members,
        new Member(Bytes - Places.Select(place => place.Offset + place.Member.Bytes).LastOrDefault(), 1, (_, _) => { })];

    /// <summary>Writes it over what is there; what its members do not say stays.</summary>
    public void Write(ScriptedGuest guest, Memory<byte> over)
    {
        foreach ((int offset, Member member) in Places)
            member.Write?.Invoke(guest, over.Slice(offset, member.Bytes));
    }

    /// <summary>Takes over what its members do not look at.</summary>
    public void Ignore(ReadOnlySpan<byte> actual, Memory<byte> expected)
    {
        foreach ((int offset, Member member) in Places)
        {
            if (member.Write is null)
                actual.Slice(offset, member.Bytes).CopyTo(expected.Span[offset..]);
        }
    }

    public static Member U8(Value value) => new(1, 1, (guest, to) => to.Span[0] = (byte)value.Of(guest));

    public static Member U16(Value value) =>
        new(2, 2, (guest, to) => BinaryPrimitives.WriteUInt16LittleEndian(to.Span, (ushort)value.Of(guest)));

    public static Member U32(Value value) =>
        new(4, 4, (guest, to) => BinaryPrimitives.WriteUInt32LittleEndian(to.Span, (uint)value.Of(guest)));

    public static Member U64(Value value) => new(8, 8, (guest, to) => BinaryPrimitives.WriteUInt64LittleEndian(to.Span, value.Of(guest)));

    /// <summary>A text with zeros after it.</summary>
    public static Member Text(string text, int bytes) => new(bytes, 1, (guest, to) =>
    {
        to.Span.Clear();
        _ = Encoding.ASCII.GetBytes(text, to.Span);
    });

    /// <summary>Bytes as they are.</summary>
    public static Member Raw(params byte[] bytes) => new(bytes.Length, 1, (_, to) => bytes.CopyTo(to));

    /// <summary>Bytes whose value is not looked at.</summary>
    public static Member Any(int bytes) => new(bytes, bytes, null);

    private static int Align(int offset, int alignment) => (offset + alignment - 1) / alignment * alignment;
}
