using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Net.Filter;

/// <summary>Addresses that begin alike.</summary>
/// <param name="Prefix">Their beginning.</param>
/// <param name="Mask">The bits that count.</param>
/// <param name="IsV6">Which protocol's.</param>
internal readonly record struct Network(UInt128 Prefix, UInt128 Mask, bool IsV6)
{
    /// <summary>Whether an address is one of them.</summary>
    public bool Contains(UInt128 address, bool isV6) => isV6 == IsV6 && (address & Mask) == Prefix;

    /// <summary>Reads "10.0.0.0/8", "fe80::/10" or one address.</summary>
    public static bool TryParse(string text, out Network network)
    {
        network = default;
        string[] parts = text.Split('/');
        if (parts.Length > 2 || !IPAddress.TryParse(parts[0], out IPAddress? address))
            return false;
        bool isV6 = address.AddressFamily == AddressFamily.InterNetworkV6;
        int bits = isV6 ? 128 : 32;
        int length = bits;
        if (parts.Length == 2 && (!int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out length) || length > bits))
            return false;
        byte[] bytes = address.GetAddressBytes();
        UInt128 value = isV6 ? BinaryPrimitives.ReadUInt128BigEndian(bytes) : BinaryPrimitives.ReadUInt32BigEndian(bytes);
        UInt128 all = isV6 ? UInt128.MaxValue : uint.MaxValue;
        UInt128 mask = length == 0 ? 0 : all & (all << (bits - length));
        network = new(value & mask, mask, isV6);
        return true;
    }
}

/// <summary>A pattern and what becomes of the frames that match it. The grammar stands in <see cref="FilterOptions.Rules"/>.</summary>
internal sealed record FilterRule
{
    private const int AnyProtocol = -1;

    /// <summary>What becomes of them.</summary>
    public FilterAction Action { get; private set; }

    private bool? IsOut { get; set; }

    private FrameKind? Kind { get; set; }

    private (int V4, int V6) Protocol { get; set; } = (AnyProtocol, AnyProtocol);

    private Network? Source { get; set; }

    private Network? Destination { get; set; }

    private (int First, int Last)? SourcePorts { get; set; }

    private (int First, int Last)? DestinationPorts { get; set; }

    /// <summary>Reads a rule.</summary>
    /// <exception cref="BackendException">It is none; the message names the word.</exception>
    public static FilterRule Parse(string text)
    {
        FilterRule rule = new();
        string[] words = text.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        int at = 0;
        if (words[0] is "out" or "in")
            rule.IsOut = words[at++] == "out";
        string action = at < words.Length ? words[at++] : "";
        rule.Action = action switch
        {
            "accept" => FilterAction.Accept,
            "drop" => FilterAction.Drop,
            _ => throw Wrong(text, action, "expected accept or drop here"),
        };
        while (at < words.Length)
        {
            string word = words[at++];
            if (rule.TryProtocol(word))
                continue;
            string value = at < words.Length ? words[at++] : throw Wrong(text, word, "a value must follow it");
            if (!rule.TryPattern(word, value))
                throw Wrong(text, $"{word} {value}", "src and dst take a network such as 10.0.0.0/8, sport and dport a port or a range such as 80-90; protocols are arp, ip, ip6, icmp, tcp and udp");
        }

        return rule;
    }

    /// <summary>Whether a frame matches. What is not seen counts against it: a rule that drops takes it for a match, a rule that accepts does not.</summary>
    public bool Matches(in FrameFields fields, bool isOut)
    {
        if (IsOut is { } wanted && wanted != isOut)
            return false;
        bool unseen = Action == FilterAction.Drop;
        return IsKind(fields, unseen) && IsProtocol(fields, unseen) && InNetwork(Source, fields, fields.Source, unseen) && InNetwork(Destination, fields, fields.Destination, unseen)
            && InRange(SourcePorts, fields, fields.Ports?.Source, unseen) && InRange(DestinationPorts, fields, fields.Ports?.Destination, unseen);
    }

    private static bool InNetwork(Network? network, in FrameFields fields, UInt128 address, bool unseen)
    {
        if (network is not { } wanted)
            return true;
        if (fields.HasAddresses)
            return wanted.Contains(address, fields.IsV6);
        return unseen && (fields.Kind == FrameKind.Unknown || (wanted.IsV6 ? fields.Kind == FrameKind.V6 : fields.Kind is FrameKind.V4 or FrameKind.Arp));
    }

    private static bool InRange((int First, int Last)? range, in FrameFields fields, int? port, bool unseen)
    {
        if (range is not { } wanted)
            return true;
        return port is { } seen ? seen >= wanted.First && seen <= wanted.Last : unseen && fields.MayHavePorts;
    }

    private bool IsKind(in FrameFields fields, bool unseen) => Kind is not { } wanted || (fields.Kind == FrameKind.Unknown ? unseen : fields.Kind == wanted);

    private bool IsProtocol(in FrameFields fields, bool unseen)
    {
        if (Protocol.V4 == AnyProtocol)
            return true;
        return fields.Kind switch
        {
            FrameKind.Unknown => unseen,
            FrameKind.V4 or FrameKind.V6 when fields.Protocol == FrameHeaders.UnknownProtocol => unseen,
            FrameKind.V4 => fields.Protocol == Protocol.V4,
            FrameKind.V6 => fields.Protocol == Protocol.V6,
            _ => false,
        };
    }

    private static BackendException Wrong(string rule, string word, string cure) => new($"filter: the rule \"{rule}\" is wrong at \"{word}\":", $"{cure}.");

    private bool TryProtocol(string word)
    {
        switch (word)
        {
            case "arp":
                Kind = FrameKind.Arp;
                return true;
            case "ip":
                Kind = FrameKind.V4;
                return true;
            case "ip6":
                Kind = FrameKind.V6;
                return true;
            case "icmp":
                Protocol = (1, 58);
                return true;
            case "tcp":
                Protocol = (6, 6);
                return true;
            case "udp":
                Protocol = (17, 17);
                return true;
            default:
                return false;
        }
    }

    private bool TryPattern(string word, string value)
    {
        switch (word)
        {
            case "src" when Network.TryParse(value, out Network source):
                Source = source;
                return true;
            case "dst" when Network.TryParse(value, out Network destination):
                Destination = destination;
                return true;
            case "sport" when TryPorts(value, out (int, int) ports):
                SourcePorts = ports;
                return true;
            case "dport" when TryPorts(value, out (int, int) ports):
                DestinationPorts = ports;
                return true;
            default:
                return false;
        }
    }

    private static bool TryPorts(string text, out (int First, int Last) ports)
    {
        string[] parts = text.Split('-');
        ports = default;
        if (parts.Length > 2 || !ushort.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out ushort first)
            || !ushort.TryParse(parts[^1], NumberStyles.None, CultureInfo.InvariantCulture, out ushort last))
            return false;
        ports = (first, last);
        return first <= last;
    }
}
