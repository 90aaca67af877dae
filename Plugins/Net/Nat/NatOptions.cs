using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Net.Nat;

/// <summary>Options of a way to the outside. All but the forwards must be the same on interfaces that share a network.</summary>
public sealed record NatOptions
{
    [Option("Interfaces that name the same network share its gateway, its leases and its connections; empty for a network of the interface's own.")]
    public string Network { get; init; } = "";

    [Option("The addresses inside, IPv4.")]
    public string Subnet { get; init; } = "10.0.2.0/24";

    [Option("The gateway's address, which is the host; empty for the subnet's second.")]
    public string Host { get; init; } = "";

    [Option("The name server that leases name; empty for the subnet's third, which asks the host's own. One outside the subnet is asked as it is.")]
    public string Dns { get; init; } = "";

    [Option("The first of 16 addresses to lease; empty for the subnet's 15th.")]
    public string DhcpStart { get; init; } = "";

    [Option("The host name in leases; empty for none.")]
    public string Hostname { get; init; } = "";

    [Option("The domain name in leases; empty for none.")]
    public string DomainName { get; init; } = "";

    [Option("Ports of the host that lead to the domain, separated by semicolons: tcp|udp [HOSTADDRESS:]PORT [GUESTADDRESS:]PORT. The host's address is 127.0.0.1 and the guest's the first lease unless named.")]
    public string Forwards { get; init; } = "";

    [Option("Whether the domain reaches nothing outside: leases and forwards only.")]
    public bool Restricted { get; init; }

    [Option("Whether the domain reaches what listens on the host's loopback, at the gateway's address.")]
    public bool HostLoopback { get; init; }

    [Option("The most connections at once, each a descriptor of this process; beyond them, new ones are dropped.", Min = "1", Max = "65536")]
    public int Connections { get; init; } = 512;
}
