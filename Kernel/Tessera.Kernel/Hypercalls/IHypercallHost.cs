using Tessera.Kernel.Domains;
using Tessera.Sdk;

namespace Tessera.Kernel.Hypercalls;

/// <summary>What hypercalls ask of the machine as a whole.</summary>
internal interface IHypercallHost
{
    /// <summary>A live domain; null for numbers that are none. Any thread.</summary>
    Domain? FindDomain(DomainId id);

    /// <summary>
    /// A domain asks for frames; what it gets is its own from now on. Not under a domain's gate, since the memory policy is asked.
    /// </summary>
    /// <returns>How many it gets, 0 to what it asked for.</returns>
    long Grant(Domain domain, long asked);

    /// <summary>A domain holds so many frames no longer.</summary>
    void Release(Domain domain, long frames);
}
