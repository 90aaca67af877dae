using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Net.Nat;

/// <summary>A network's options, understood. Addresses are numbers with the first byte as the highest.</summary>
internal sealed record NatPlan
{
    /// <summary>Leases that slirp keeps.</summary>
    private const int Leases = 16;

    /// <summary>The shortest and the longest prefix: the longest has room for the gateway, the name server and all leases.</summary>
    private const int ShortestPrefix = 8;
    private const int LongestPrefix = 27;

    private const int DnsPort = 53;
    private const int HostPlace = 2;
    private const int DnsPlace = 3;
    private const int DhcpPlace = 15;

    public required uint Network { get; init; }

    public required uint Mask { get; init; }

    public required uint Host { get; init; }

    public required uint Dns { get; init; }

    public required uint DhcpStart { get; init; }

    public required string Hostname { get; init; }

    public required string DomainName { get; init; }

    public required bool Restricted { get; init; }

    public required bool HostLoopback { get; init; }

    public required int Connections { get; init; }

    /// <summary>The port that name servers listen on.</summary>
    public static int NameServerPort => DnsPort;

    public uint Broadcast => Network | ~Mask;

    public bool IsInside(uint address) => (address & Mask) == Network;

    /// <summary>Understands options.</summary>
    /// <exception cref="BackendException">An option is wrong; the message names it.</exception>
    public static NatPlan Of(NatOptions options)
    {
        (uint network, int prefix) = Subnet(options.Subnet);
        uint mask = uint.MaxValue << (32 - prefix);
        NatPlan plan = new()
        {
            Network = network,
            Mask = mask,
            Host = Address("host", options.Host, network + HostPlace),
            Dns = Address("dns", options.Dns, network + DnsPlace),
            DhcpStart = Address("dhcpStart", options.DhcpStart, network + (prefix == LongestPrefix ? DhcpPlace - 1U : DhcpPlace)),
            Hostname = Name("hostname", options.Hostname),
            DomainName = Name("domainName", options.DomainName),
            Restricted = options.Restricted,
            HostLoopback = options.HostLoopback,
            Connections = options.Connections,
        };
        bool IsStation(uint address) => plan.IsInside(address) && address != plan.Network && address != plan.Broadcast;
        bool IsLeased(uint address) => address - plan.DhcpStart < Leases;
        if (!IsStation(plan.Host))
            throw Wrong("host", Show(plan.Host), $"it must be a station's address in {options.Subnet}");
        if (!IsStation(plan.DhcpStart) || !IsStation(plan.DhcpStart + Leases - 1) || IsLeased(plan.Host) || IsLeased(plan.Dns))
            throw Wrong("dhcpStart", Show(plan.DhcpStart), $"it and the {Leases - 1} after it must be stations' addresses in {options.Subnet}, without host and dns");
        if (plan.Dns == plan.Host || plan.Dns == plan.Network || plan.Dns == plan.Broadcast || !IsOutsideAddress(plan.Dns))
            throw Wrong("dns", Show(plan.Dns), "it must be a station's address, and not the host's");
        return plan;
    }

    /// <summary>Whether packets may go to an address outside: one of a single station, and none of the host's own.</summary>
    public static bool IsOutsideAddress(uint address) => (address >> 24) is not (0 or 127) and < 224;

    public static string Show(uint address) => string.Create(CultureInfo.InvariantCulture, $"{address >> 24}.{(address >> 16) & 255}.{(address >> 8) & 255}.{address & 255}");

    public static bool TryAddress(string text, out uint address)
    {
        address = 0;
        // IPAddress also takes "10", which is no address that anybody writes.
        if (text.Split('.').Length != 4 || !IPAddress.TryParse(text, out IPAddress? parsed) || parsed.AddressFamily != AddressFamily.InterNetwork)
            return false;
        address = BinaryPrimitives.ReadUInt32BigEndian(parsed.GetAddressBytes());
        return true;
    }

    private static (uint Network, int Prefix) Subnet(string text)
    {
        string[] parts = text.Split('/');
        if (parts.Length != 2 || !TryAddress(parts[0], out uint network)
            || !int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out int prefix) || prefix is < ShortestPrefix or > LongestPrefix)
        {
            throw Wrong("subnet", text, $"write an address and a prefix from {ShortestPrefix} to {LongestPrefix}, such as 10.0.2.0/24");
        }

        if ((network & ~(uint.MaxValue << (32 - prefix))) != 0 || !IsOutsideAddress(network))
            throw Wrong("subnet", text, "the address must be the subnet's first, and neither loopback nor multicast");
        return (network, prefix);
    }

    private static uint Address(string option, string text, uint otherwise)
    {
        if (text.Length == 0)
            return otherwise;
        return TryAddress(text, out uint address) ? address : throw Wrong(option, text, "write an IPv4 address such as 10.0.2.2");
    }

    private static string Name(string option, string text) => text.Length <= 32 && text.All(letter => char.IsAsciiLetterOrDigit(letter) || letter is '-' or '.')
        ? text
        : throw Wrong(option, text, "at most 32 letters, digits, dashes and dots");

    private static BackendException Wrong(string option, string value, string right) => new($"nat: {option} \"{value}\" cannot be: {right}.", "");
}
