using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Net.Filter;

/// <summary>Options of a filter.</summary>
public sealed record FilterOptions
{
    [Option("Rules separated by semicolons, of which the first that matches decides: [out|in] accept|drop [arp|ip|ip6|icmp|tcp|udp] [src NETWORK] [dst NETWORK] [sport N[-M]] [dport N[-M]]. Out is what the domain sends.")]
    public string Rules { get; init; } = "";

    [Option("What becomes of a frame that no rule matches.")]
    public FilterAction Otherwise { get; init; } = FilterAction.Accept;
}

/// <summary>What a rule does.</summary>
public enum FilterAction
{
    /// <summary>The frame goes on.</summary>
    Accept,

    /// <summary>It does not.</summary>
    Drop,
}
