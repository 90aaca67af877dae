using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Tessera.Sdk.Devices;

namespace Tessera.Kernel.Devices.Network;

/// <summary>
/// Whether a frame is sent in its interface's own name: its Ethernet address, and its IP addresses where they are known. For an ordinary frame that is one
/// comparison, of the private copy of its header.
/// </summary>
internal sealed class SourceGuard
{
    private const int Arp = 0x0806;
    private const int V4 = 0x0800;
    private const int V6 = 0x86DD;
    private const int Tag = 0x8100;

    private readonly MacAddress _address;
    private readonly uint[] _v4;
    private readonly UInt128[] _v6;
    private readonly bool _knowsAddresses;

    /// <summary>Guards an interface.</summary>
    /// <param name="address">Its Ethernet address.</param>
    /// <param name="addresses">Its IP addresses; none when they are not known.</param>
    public SourceGuard(MacAddress address, IReadOnlyCollection<IPAddress> addresses)
    {
        _address = address;
        _v4 = [.. addresses.Where(own => own.AddressFamily == AddressFamily.InterNetwork).Select(own => BinaryPrimitives.ReadUInt32BigEndian(own.GetAddressBytes()))];
        _v6 = [.. addresses.Where(own => own.AddressFamily == AddressFamily.InterNetworkV6).Select(own => BinaryPrimitives.ReadUInt128BigEndian(own.GetAddressBytes()))];
        _knowsAddresses = addresses.Count > 0;
    }

    /// <summary>Whether a frame may go.</summary>
    /// <param name="header">Its beginning, at least an Ethernet header.</param>
    public bool Allows(ReadOnlySpan<byte> header)
    {
        if (MacAddress.Read(header[MacAddress.Bytes..]) != _address)
            return false;
        int type = BinaryPrimitives.ReadUInt16BigEndian(header[12..]);
        return type is V4 or V6 && !_knowsAddresses || AllowsPacket(header, type);
    }

    private bool AllowsPacket(ReadOnlySpan<byte> header, int type)
    {
        int at = NetworkFrame.LeastBytes;
        // One tag of a virtual network is looked through.
        if (type == Tag && header.Length >= at + 4)
            (type, at) = (BinaryPrimitives.ReadUInt16BigEndian(header[16..]), at + 4);
        ReadOnlySpan<byte> packet = header[at..];
        // ARP says its sender's Ethernet address a second time.
        if (type == Arp && (packet.Length < 28 || MacAddress.Read(packet[8..]) != _address))
            return false;
        if (!_knowsAddresses)
            return true;
        // A station that has no address yet says 0 and asks for one. With addresses known, what is no IP and no ARP is nobody's.
        return type switch
        {
            Arp => IsOwn(_v4, BinaryPrimitives.ReadUInt32BigEndian(packet[14..])),
            V4 when packet.Length >= 20 => IsOwn(_v4, BinaryPrimitives.ReadUInt32BigEndian(packet[12..])),
            V6 when packet.Length >= 40 => IsOwn(_v6, BinaryPrimitives.ReadUInt128BigEndian(packet[8..])),
            _ => false,
        };
    }

    private static bool IsOwn(uint[] own, uint address) => address == 0 || own.AsSpan().Contains(address);

    private static bool IsOwn(UInt128[] own, UInt128 address) => address == 0 || own.AsSpan().Contains(address);
}
