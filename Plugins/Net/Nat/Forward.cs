using System.Globalization;
using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Net.Nat;

/// <summary>A port of the host that leads to a guest's.</summary>
internal readonly record struct Forward(bool IsUdp, uint HostAddress, ushort HostPort, uint GuestAddress, ushort GuestPort)
{
    private const uint Loopback = 0x7F00_0001;

    /// <summary>Reads the option: rules with semicolons between.</summary>
    /// <exception cref="BackendException">A rule is wrong; the message has it.</exception>
    public static IReadOnlyList<Forward> Parse(string text, NatPlan plan) =>
        [.. text.Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Select(rule => ParseOne(rule, plan))];

    public override string ToString() => $"{(IsUdp ? "udp" : "tcp")} {NatPlan.Show(HostAddress)}:{HostPort} {NatPlan.Show(GuestAddress)}:{GuestPort}";

    private static Forward ParseOne(string rule, NatPlan plan)
    {
        string[] words = rule.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (words.Length != 3 || words[0] is not ("tcp" or "udp"))
            throw Wrong(rule, "write tcp|udp [HOSTADDRESS:]PORT [GUESTADDRESS:]PORT, such as \"tcp 8080 80\"");
        (uint hostAddress, ushort hostPort) = End(rule, words[1], Loopback);
        (uint guestAddress, ushort guestPort) = End(rule, words[2], plan.DhcpStart);
        if (!plan.IsInside(guestAddress) || guestAddress == plan.Network || guestAddress == plan.Broadcast || guestAddress == plan.Host || guestAddress == plan.Dns)
            throw Wrong(rule, $"{NatPlan.Show(guestAddress)} is not a guest's address in this network");
        return new(words[0] == "udp", hostAddress, hostPort, guestAddress, guestPort);
    }

    private static (uint Address, ushort Port) End(string rule, string text, uint otherwise)
    {
        int colon = text.LastIndexOf(':');
        uint address = otherwise;
        if (colon >= 0 && !NatPlan.TryAddress(text[..colon], out address))
            throw Wrong(rule, $"\"{text[..colon]}\" is not an IPv4 address");
        return ushort.TryParse(text[(colon + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out ushort port) && port != 0
            ? (address, port)
            : throw Wrong(rule, $"\"{text[(colon + 1)..]}\" is not a port from 1 to 65535");
    }

    private static BackendException Wrong(string rule, string right) => new($"nat: the forward \"{rule}\" is wrong: {right}.", "");
}
