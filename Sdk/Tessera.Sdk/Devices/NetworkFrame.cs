namespace Tessera.Sdk.Devices;

/// <summary>What is known of the TCP or UDP checksum in a frame.</summary>
public enum FrameChecksum
{
    /// <summary>It stands in the frame; nobody has looked whether it is right.</summary>
    Complete,

    /// <summary>It was found right, or the frame never left this machine.</summary>
    Verified,

    /// <summary>Only the pseudo-header's sum stands there: whoever puts the frame on a real wire fills in the rest.</summary>
    Blank,
}

/// <summary>How a frame that is larger than the wire takes is to be cut.</summary>
public enum FrameSegmentation
{
    /// <summary>It is not.</summary>
    None,

    /// <summary>TCP over IPv4.</summary>
    TcpV4,

    /// <summary>TCP over IPv6.</summary>
    TcpV6,
}

/// <summary>What a frame needs beyond its bytes.</summary>
/// <param name="Checksum">The state of its checksum.</param>
/// <param name="Segmentation">How it would be cut.</param>
/// <param name="SegmentBytes">TCP payload of each piece, bytes; 0 without segmentation.</param>
public readonly record struct FrameOffload(FrameChecksum Checksum, FrameSegmentation Segmentation = FrameSegmentation.None, int SegmentBytes = 0);

/// <summary>
/// An Ethernet frame on its way through backends, in pieces. It lives as long as the call that hands it on: who wants it longer copies it.
/// </summary>
/// <remarks>
/// The first piece is the <see cref="Header"/>: private bytes that do not change. The other pieces may be a guest's memory, which that guest may
/// change at any time; nothing that was read there may be relied on at a second reading.
/// </remarks>
public readonly ref struct NetworkFrame
{
    /// <summary>The header holds so many bytes of the frame, or all of it: Ethernet, IP and TCP with their options fit.</summary>
    public const int HeaderBytes = 192;

    /// <summary>Bytes of an Ethernet header, and so of the shortest frame.</summary>
    public const int LeastBytes = 14;

    /// <summary>Bytes of the longest frame, which is one to be cut.</summary>
    public const int MostBytes = 65535;

    /// <summary>Puts a frame together.</summary>
    /// <param name="header">Private bytes of its beginning: <see cref="HeaderBytes"/> of it or more, or all of it.</param>
    /// <param name="rest">The pieces that follow.</param>
    /// <param name="length">Bytes of all pieces.</param>
    /// <param name="offload">What it needs.</param>
    public NetworkFrame(ReadOnlySpan<byte> header, ReadOnlySpan<ReadOnlyMemory<byte>> rest, int length, FrameOffload offload)
    {
        Header = header;
        Rest = rest;
        Length = length;
        Offload = offload;
    }

    /// <summary>A frame of one piece.</summary>
    /// <param name="bytes">All of it; private.</param>
    /// <param name="offload">What it needs.</param>
    public NetworkFrame(ReadOnlySpan<byte> bytes, FrameOffload offload = default)
        : this(bytes, [], bytes.Length, offload)
    {
    }

    /// <summary>Its beginning: at least 14 bytes.</summary>
    public ReadOnlySpan<byte> Header { get; }

    /// <summary>What follows the header, in order.</summary>
    public ReadOnlySpan<ReadOnlyMemory<byte>> Rest { get; }

    /// <summary>Bytes of the whole frame, without the wire's check sequence.</summary>
    public int Length { get; }

    /// <summary>What it needs.</summary>
    public FrameOffload Offload { get; }

    /// <summary>To whom it goes.</summary>
    public MacAddress Destination => MacAddress.Read(Header);

    /// <summary>From whom it says it comes.</summary>
    public MacAddress Source => MacAddress.Read(Header[MacAddress.Bytes..]);

    /// <summary>Copies the frame, or as much of it as there is room for.</summary>
    /// <param name="destination">Where to.</param>
    /// <returns>Bytes copied.</returns>
    public int CopyTo(Span<byte> destination)
    {
        int copied = Math.Min(Header.Length, destination.Length);
        Header[..copied].CopyTo(destination);
        foreach (ref readonly ReadOnlyMemory<byte> piece in Rest)
        {
            ReadOnlySpan<byte> bytes = piece.Span;
            int length = Math.Min(bytes.Length, destination.Length - copied);
            bytes[..length].CopyTo(destination[copied..]);
            copied += length;
        }

        return copied;
    }
}
