using System.Buffers.Binary;

namespace Tessera.Sdk.Devices;

/// <summary>The checksum of IP, ICMP, UDP and TCP (RFC 1071), in two steps so that a sum can go over several pieces.</summary>
public static class InternetChecksum
{
    /// <summary>The sum of 16-bit words, not yet folded. Only the last piece of a sum may have an odd length.</summary>
    /// <param name="bytes">The bytes.</param>
    /// <param name="sum">The sum of the pieces before, or of numbers such as a pseudo-header's protocol and length.</param>
    public static ulong Sum(ReadOnlySpan<byte> bytes, ulong sum = 0)
    {
        while (bytes.Length >= 4)
        {
            sum += BinaryPrimitives.ReadUInt32BigEndian(bytes);
            bytes = bytes[4..];
        }

        if (bytes.Length >= 2)
        {
            sum += BinaryPrimitives.ReadUInt16BigEndian(bytes);
            bytes = bytes[2..];
        }

        return bytes.Length == 1 ? sum + ((ulong)bytes[0] << 8) : sum;
    }

    /// <summary>The checksum of a sum; 0 when the bytes had their right checksum among them.</summary>
    /// <param name="sum">The sum of all pieces.</param>
    public static ushort Fold(ulong sum)
    {
        while (sum >> 16 != 0)
            sum = (sum & 0xFFFF) + (sum >> 16);
        return (ushort)~sum;
    }
}
