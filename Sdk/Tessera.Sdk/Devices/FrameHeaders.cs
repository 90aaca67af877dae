using System.Buffers.Binary;

namespace Tessera.Sdk.Devices;

/// <summary>What an Ethernet frame carries.</summary>
public enum FrameKind
{
    /// <summary>It has more tags than are looked through, or is cut short within them: it may be anything.</summary>
    Unknown,

    /// <summary>None of those below.</summary>
    Other,

    /// <summary>ARP.</summary>
    Arp,

    /// <summary>IPv4.</summary>
    V4,

    /// <summary>IPv6.</summary>
    V6,
}

/// <summary>Which piece of an IP packet a frame carries.</summary>
public enum FrameFragment
{
    /// <summary>All of it.</summary>
    None,

    /// <summary>Its beginning: the upper layer's header is there, or a part of it.</summary>
    First,

    /// <summary>Another: the upper layer's header is elsewhere.</summary>
    Later,
}

/// <summary>
/// Where the headers of an Ethernet frame lie, behind tags of virtual networks (802.1Q, 802.1ad) and extension headers of IPv6: the one place where frames are taken apart.
/// What is looked through is bounded, and what lies beyond is said to be unknown, never taken for something else. Allocates nothing.
/// </summary>
public readonly record struct FrameHeaders
{
    /// <summary>Tags that are looked through.</summary>
    public const int MostTags = 4;

    /// <summary>Extension headers that are looked through.</summary>
    public const int MostExtensions = 8;

    /// <summary>The <see cref="Protocol"/> of a packet whose upper layer was not found.</summary>
    public const int UnknownProtocol = -1;

    private const int V4Bytes = 20;
    private const int V6Bytes = 40;
    private const int ArpBytes = 28;
    private const int HopByHop = 0;
    private const int Routing = 43;
    private const int FragmentHeader = 44;
    private const int Authentication = 51;
    private const int DestinationOptions = 60;
    private const int Mobility = 135;
    private const int HostIdentity = 139;
    private const int Shim = 140;
    private const int HomeAddress = 0xC9;

    /// <summary>What the frame carries.</summary>
    public FrameKind Kind { get; private init; }

    /// <summary>The Ethernet type behind all tags; 0 when <see cref="Kind"/> is unknown.</summary>
    public int Type { get; private init; }

    /// <summary>Where the header of ARP or IP begins, bytes from the frame's beginning; for other kinds, what follows the type.</summary>
    public int Network { get; private init; }

    /// <summary>Whether the fixed header of ARP, IPv4 or IPv6 is there, and with it the addresses.</summary>
    public bool HasAddresses { get; private init; }

    /// <summary>The number of the protocol over IP, behind all extension headers; <see cref="UnknownProtocol"/> when there are too many, or they are cut short.</summary>
    public int Protocol { get; private init; }

    /// <summary>Where that protocol's header begins, at most the length of what was read; -1 when it is not in this frame, or was not found.</summary>
    public int Transport { get; private init; }

    /// <summary>Where the IP packet says that it ends; may be before <see cref="Transport"/> or beyond the frame.</summary>
    public int End { get; private init; }

    /// <summary>Which piece of a packet it is.</summary>
    public FrameFragment Fragment { get; private init; }

    /// <summary>Whether a destination option says that the packet comes from another address than the header's (Mobile IPv6's home address).</summary>
    public bool NamesHomeAddress { get; private init; }

    /// <summary>Takes a frame apart.</summary>
    /// <param name="frame">Private bytes of its beginning, at least 14: all of it, or a <see cref="NetworkFrame.Header"/>.</param>
    public static FrameHeaders Read(ReadOnlySpan<byte> frame)
    {
        int at = NetworkFrame.LeastBytes;
        int type = BinaryPrimitives.ReadUInt16BigEndian(frame[12..]);
        for (int tags = 0; type is 0x8100 or 0x88A8 or 0x9100 or 0x9200; tags++)
        {
            if (tags == MostTags || frame.Length < at + 4)
                return new() { Kind = FrameKind.Unknown, Network = at, End = at, Protocol = UnknownProtocol, Transport = -1 };
            type = BinaryPrimitives.ReadUInt16BigEndian(frame[(at + 2)..]);
            at += 4;
        }

        return type switch
        {
            0x0800 => ReadPacket(frame, FrameKind.V4, at),
            0x86DD => ReadPacket(frame, FrameKind.V6, at),
            0x0806 => new() { Kind = FrameKind.Arp, Type = type, Network = at, End = at + ArpBytes, HasAddresses = frame.Length >= at + ArpBytes, Protocol = UnknownProtocol, Transport = -1 },
            _ => new() { Kind = FrameKind.Other, Type = type, Network = at, End = frame.Length, Protocol = UnknownProtocol, Transport = -1 },
        };
    }

    /// <summary>Takes an IP packet apart that begins somewhere in a frame, such as the one that another packet carries.</summary>
    /// <param name="frame">Private bytes of the frame's beginning.</param>
    /// <param name="kind"><see cref="FrameKind.V4"/> or <see cref="FrameKind.V6"/>.</param>
    /// <param name="at">Where the packet begins, at most the bytes' end.</param>
    public static FrameHeaders ReadPacket(ReadOnlySpan<byte> frame, FrameKind kind, int at) => kind == FrameKind.V6 ? ReadV6(frame, at) : ReadV4(frame, at);

    /// <summary>The address that the packet comes from by its IP header, or an ARP packet's sender; IPv4's in the lowest 32 bits. Only with <see cref="HasAddresses"/>.</summary>
    /// <param name="frame">What was read.</param>
    public UInt128 Source(ReadOnlySpan<byte> frame) => Kind switch
    {
        FrameKind.V6 => BinaryPrimitives.ReadUInt128BigEndian(frame[(Network + 8)..]),
        FrameKind.V4 => BinaryPrimitives.ReadUInt32BigEndian(frame[(Network + 12)..]),
        _ => BinaryPrimitives.ReadUInt32BigEndian(frame[(Network + 14)..]),
    };

    /// <summary>The address that the packet goes to by its IP header, or an ARP packet's target; IPv4's in the lowest 32 bits. Only with <see cref="HasAddresses"/>.</summary>
    /// <param name="frame">What was read.</param>
    public UInt128 Destination(ReadOnlySpan<byte> frame) => Kind switch
    {
        FrameKind.V6 => BinaryPrimitives.ReadUInt128BigEndian(frame[(Network + 24)..]),
        FrameKind.V4 => BinaryPrimitives.ReadUInt32BigEndian(frame[(Network + 16)..]),
        _ => BinaryPrimitives.ReadUInt32BigEndian(frame[(Network + 24)..]),
    };

    /// <summary>What of the upper layer is in the bytes that were read and belongs to the packet; empty when <see cref="Transport"/> is not known.</summary>
    /// <param name="frame">What was read.</param>
    public ReadOnlySpan<byte> Payload(ReadOnlySpan<byte> frame) => Transport < 0 || Transport >= End ? [] : frame[Transport..Math.Min(End, frame.Length)];

    private static FrameHeaders ReadV4(ReadOnlySpan<byte> frame, int at)
    {
        FrameHeaders headers = new() { Kind = FrameKind.V4, Type = 0x0800, Network = at, End = at, Protocol = UnknownProtocol, Transport = -1 };
        if (frame.Length < at + V4Bytes)
            return headers;
        ReadOnlySpan<byte> ip = frame[at..];
        int fragment = BinaryPrimitives.ReadUInt16BigEndian(ip[6..]);
        headers = headers with
        {
            HasAddresses = true,
            End = at + BinaryPrimitives.ReadUInt16BigEndian(ip[2..]),
            Fragment = (fragment & 0x1FFF) != 0 ? FrameFragment.Later : (fragment & 0x2000) != 0 ? FrameFragment.First : FrameFragment.None,
        };
        int length = (ip[0] & 15) * 4;
        return length < V4Bytes || ip.Length < length ? headers : Walk(frame, headers, ip[9], at + length);
    }

    private static FrameHeaders ReadV6(ReadOnlySpan<byte> frame, int at)
    {
        FrameHeaders headers = new() { Kind = FrameKind.V6, Type = 0x86DD, Network = at, End = at, Protocol = UnknownProtocol, Transport = -1 };
        if (frame.Length < at + V6Bytes)
            return headers;
        return Walk(frame, headers with { HasAddresses = true, End = at + V6Bytes + BinaryPrimitives.ReadUInt16BigEndian(frame[(at + 4)..]) }, frame[at + 6], at + V6Bytes);
    }

    /// <summary>Goes from header to header up to the one that is no extension.</summary>
    private static FrameHeaders Walk(ReadOnlySpan<byte> frame, FrameHeaders headers, int next, int at)
    {
        bool isV6 = headers.Kind == FrameKind.V6;
        for (int count = 0; IsExtension(next, isV6); count++)
        {
            // In a later fragment the header that is named stands elsewhere.
            if (headers.Fragment == FrameFragment.Later || count == MostExtensions || frame.Length < at + 8)
                return headers;
            int length = next switch
            {
                FragmentHeader => 8,
                Authentication => (frame[at + 1] + 2) * 4,
                _ => (frame[at + 1] + 1) * 8,
            };
            if (frame.Length < at + length)
                return headers;
            if (next == FragmentHeader)
            {
                int fragment = BinaryPrimitives.ReadUInt16BigEndian(frame[(at + 2)..]);
                // One that is neither first of several nor a later one is whole (RFC 6946).
                if ((fragment & ~7) != 0 || (fragment & 1) != 0)
                    headers = headers with { Fragment = (fragment & ~7) != 0 ? FrameFragment.Later : FrameFragment.First };
            }
            else if (next == DestinationOptions && HasHomeAddress(frame.Slice(at + 2, length - 2)))
            {
                headers = headers with { NamesHomeAddress = true };
            }

            (next, at) = (frame[at], at + length);
        }

        return headers with { Protocol = next, Transport = headers.Fragment == FrameFragment.Later ? -1 : at };
    }

    private static bool IsExtension(int protocol, bool isV6) =>
        protocol == Authentication || (isV6 && protocol is HopByHop or Routing or FragmentHeader or DestinationOptions or Mobility or HostIdentity or Shim);

    private static bool HasHomeAddress(ReadOnlySpan<byte> options)
    {
        while (options.Length > 0)
        {
            if (options[0] == HomeAddress)
                return true;
            // One byte of padding is the only option without a length.
            int length = options[0] == 0 ? 1 : options.Length < 2 ? options.Length : 2 + options[1];
            options = options[Math.Min(length, options.Length)..];
        }

        return false;
    }
}
