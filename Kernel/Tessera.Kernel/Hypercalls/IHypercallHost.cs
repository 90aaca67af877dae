using Tessera.Kernel.Domains;
using Tessera.Sdk;

namespace Tessera.Kernel.Hypercalls;

/// <summary>What hypercalls ask of the machine as a whole.</summary>
internal interface IHypercallHost
{
    /// <summary>A live domain; null for numbers that are none. Any thread.</summary>
    Domain? FindDomain(DomainId id);

    /// <summary>How many of the frames that a domain asks for the memory policy lets it have.</summary>
    long FramesToGrant(Domain domain, long asked);
}
