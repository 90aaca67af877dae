using System.Buffers.Binary;
using FsCheck;
using FsCheck.Fluent;
using Tessera.Sdk.Devices;

namespace Tessera.Net.Tests;

/// <summary>A packet, and what may stand between the Ethernet header and its upper layer.</summary>
internal sealed record HeaderStack(bool IsV6, byte Protocol, ushort SourcePort, ushort DestinationPort, int[] Tags, byte[] Extensions)
{
    public static readonly MacAddress To = new(0x0016_3E00_0002);
    public static readonly MacAddress From = new(0x0016_3E00_0001);

    private const byte Authentication = 51;
    private const byte Fragment = 44;

    /// <summary>Any, of any depth.</summary>
    public static Arbitrary<HeaderStack> Any { get; } = Gen.Elements(0x8100, 0x88A8, 0x9100).ArrayOf()
        .SelectMany(_ => Gen.Elements<byte>(0, 43, 51, 60, 135).ArrayOf(), (tags, extensions) => (tags, extensions))
        .SelectMany(_ => Gen.Elements((false, (byte)6), (false, (byte)17), (true, (byte)6), (true, (byte)17), (true, (byte)58), (false, (byte)1), (true, (byte)132)), (stack, packet) => (stack, packet))
        .SelectMany(_ => Gen.Elements<ushort>(22, 80, 2222), (all, port) => new HeaderStack(all.packet.Item1, all.packet.Item2, 1000, port, all.stack.tags, all.packet.Item1 ? all.stack.extensions : []))
        .ToArbitrary();

    /// <summary>Any that is no deeper than what is looked through.</summary>
    public static Arbitrary<HeaderStack> Shallow { get; } = Any.Generator
        .Select(stack => stack with { Tags = [.. stack.Tags.Take(FrameHeaders.MostTags)], Extensions = [.. stack.Extensions.Take(FrameHeaders.MostExtensions)] })
        .ToArbitrary();

    /// <summary>The same packet with nothing between.</summary>
    public HeaderStack Plain => this with { Tags = [], Extensions = [] };

    /// <summary>The upper layer's header and ten bytes.</summary>
    public byte[] Upper { get; init; } = new byte[30];

    /// <summary>The frame.</summary>
    public byte[] Frame()
    {
        (byte first, byte[] chain) = Chain();
        return Ethernet(Ip(first, [.. chain, .. Transport()], fragment: 0));
    }

    /// <summary>The same packet in two pieces.</summary>
    /// <param name="cut">Where it is cut, in units of eight bytes; from 1 on.</param>
    public (byte[] First, byte[] Later) Fragments(int cut)
    {
        (byte first, byte[] chain) = Chain();
        byte[] all = [.. chain, .. Transport()];
        int at = Math.Clamp(cut * 8, 8, (all.Length - 1) & ~7);
        if (!IsV6)
            return (Ethernet(Ip(first, all[..at], 0x2000)), Ethernet(Ip(first, all[at..], at / 8)));
        return (Ethernet(Ip(Fragment, [first, 0, 0, 1, 0, 0, 0, 7, .. all[..at]], 0)), Ethernet(Ip(Fragment, [first, 0, (byte)(at >> 8), (byte)at, 0, 0, 0, 7, .. all[at..]], 0)));
    }

    private byte[] Transport()
    {
        byte[] transport = [.. Upper];
        BinaryPrimitives.WriteUInt16BigEndian(transport, SourcePort);
        BinaryPrimitives.WriteUInt16BigEndian(transport.AsSpan(2), DestinationPort);
        transport[12] |= 0x50;
        return transport;
    }

    private (byte First, byte[] Bytes) Chain()
    {
        List<byte> bytes = [];
        for (int index = 0; index < Extensions.Length; index++)
        {
            byte next = index + 1 < Extensions.Length ? Extensions[index + 1] : Protocol;
            // Lengths differ: with an authentication header they count from elsewhere and in other units.
            byte[] header = Extensions[index] == Authentication ? new byte[16] : new byte[8 * (1 + (index % 2))];
            (header[0], header[1]) = (next, (byte)(Extensions[index] == Authentication ? 2 : index % 2));
            // Options without a purpose fill the rest.
            if (Extensions[index] is 0 or 60)
                (header[2], header[3]) = (1, (byte)(header.Length - 4));
            bytes.AddRange(header);
        }

        return (Extensions.Length > 0 ? Extensions[0] : Protocol, [.. bytes]);
    }

    private byte[] Ip(byte next, byte[] payload, int fragment)
    {
        byte[] header = new byte[IsV6 ? 40 : 20];
        if (IsV6)
        {
            (header[0], header[6]) = (0x60, next);
            BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(4), (ushort)payload.Length);
            (header[23], header[39]) = (1, 2);
        }
        else
        {
            (header[0], header[9]) = (0x45, next);
            BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(2), (ushort)(20 + payload.Length));
            BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(6), (ushort)fragment);
            BinaryPrimitives.WriteUInt32BigEndian(header.AsSpan(12), 0x0A00_0001);
            BinaryPrimitives.WriteUInt32BigEndian(header.AsSpan(16), 0x0A00_0002);
        }

        return [.. header, .. payload];
    }

    private byte[] Ethernet(byte[] packet)
    {
        List<byte> frame = [.. new byte[12]];
        foreach (int tag in Tags)
            frame.AddRange([(byte)(tag >> 8), (byte)tag, 0, 5]);
        frame.AddRange(IsV6 ? [0x86, 0xDD] : [8, 0]);
        frame.AddRange(packet);
        byte[] bytes = [.. frame];
        To.Write(bytes);
        From.Write(bytes.AsSpan(6));
        return bytes;
    }
}
