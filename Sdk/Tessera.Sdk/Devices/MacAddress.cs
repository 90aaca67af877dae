using System.Buffers.Binary;
using System.Globalization;

namespace Tessera.Sdk.Devices;

/// <summary>An Ethernet address.</summary>
/// <param name="Value">Its 48 bits, the first byte on the wire as the highest.</param>
public readonly record struct MacAddress(ulong Value)
{
    /// <summary>Bytes of an address.</summary>
    public const int Bytes = 6;

    /// <summary>Whether frames for it go to several stations, or to all.</summary>
    public bool IsGroup => (Value & 0x0100_0000_0000UL) != 0;

    /// <summary>Reads an address as it stands in a frame.</summary>
    /// <param name="bytes">At least six bytes.</param>
    public static MacAddress Read(ReadOnlySpan<byte> bytes) => new(((ulong)BinaryPrimitives.ReadUInt16BigEndian(bytes) << 32) | BinaryPrimitives.ReadUInt32BigEndian(bytes[2..]));

    /// <summary>Writes it as it stands in a frame.</summary>
    /// <param name="bytes">At least six bytes.</param>
    public void Write(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt16BigEndian(bytes, (ushort)(Value >> 32));
        BinaryPrimitives.WriteUInt32BigEndian(bytes[2..], (uint)Value);
    }

    /// <summary>Reads "00:16:3e:01:02:03".</summary>
    /// <param name="text">The text.</param>
    /// <param name="address">The address.</param>
    /// <returns>False when it is not six pairs of hexadecimal digits with colons between them.</returns>
    public static bool TryParse(string text, out MacAddress address)
    {
        address = default;
        string[] parts = text.Split(':');
        if (parts.Length != Bytes)
            return false;
        ulong value = 0;
        foreach (string part in parts)
        {
            if (part.Length != 2 || !byte.TryParse(part, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte number))
                return false;
            value = (value << 8) | number;
        }

        address = new(value);
        return true;
    }

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{(Value >> 40) & 255:x2}:{(Value >> 32) & 255:x2}:{(Value >> 24) & 255:x2}:{(Value >> 16) & 255:x2}:{(Value >> 8) & 255:x2}:{Value & 255:x2}");
}
