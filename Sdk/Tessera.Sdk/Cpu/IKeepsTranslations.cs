using Tessera.Sdk.Memory;

namespace Tessera.Sdk.Cpu;

/// <summary>
/// Optional power of an <see cref="IGuestMachine"/> that keeps what it has read of page tables by root, across changes of root: an engine whose CPUs forget with each
/// change, as the hardware's TLB does, has no need of it.
/// </summary>
/// <remarks>Any thread; the caller may hold locks of the kernel, so take note and return.</remarks>
public interface IKeepsTranslations
{
    /// <summary>Tells that an L4 table is one no longer: if its frame becomes a root again, nothing of its earlier life counts.</summary>
    /// <param name="root">The frame.</param>
    void RootRetired(Mfn root);
}
