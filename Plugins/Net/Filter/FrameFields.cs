using System.Buffers.Binary;
using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Net.Filter;

/// <summary>The fields that rules look at, read once from a frame's private header. What is not in the frame, or behind more headers than are looked through, is unknown.</summary>
internal readonly record struct FrameFields(FrameKind Kind, int Protocol, UInt128 Source, UInt128 Destination, bool HasAddresses, (int Source, int Destination)? Ports)
{
    private const int Tcp = 6;
    private const int Udp = 17;

    /// <summary>The addresses are IPv6's.</summary>
    public bool IsV6 => Kind == FrameKind.V6;

    /// <summary>Whether it may have ports that are not seen.</summary>
    public bool MayHavePorts => Ports is null && (Kind == FrameKind.Unknown || (Kind is FrameKind.V4 or FrameKind.V6 && Protocol is FrameHeaders.UnknownProtocol or Tcp or Udp));

    /// <summary>Reads a frame.</summary>
    public static FrameFields Read(ReadOnlySpan<byte> frame)
    {
        FrameHeaders headers = FrameHeaders.Read(frame);
        ReadOnlySpan<byte> transport = headers.Payload(frame);
        (int, int)? ports = headers.Protocol is Tcp or Udp && transport.Length >= 4 ? (BinaryPrimitives.ReadUInt16BigEndian(transport), BinaryPrimitives.ReadUInt16BigEndian(transport[2..])) : null;
        return headers.HasAddresses
            ? new(headers.Kind, headers.Protocol, headers.Source(frame), headers.Destination(frame), HasAddresses: true, ports)
            : new(headers.Kind, headers.Protocol, 0, 0, HasAddresses: false, ports);
    }
}
