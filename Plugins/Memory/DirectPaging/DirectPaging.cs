using Tessera.Sdk.Memory;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Memory.DirectPaging;

/// <summary>
/// Direct paging (paper, section 3.3.3): the CPU walks the guest's own page tables; the guest sees them read-only and changes them by
/// hypercalls that are validated here, as Xen does it for 64-bit PV guests (four levels).
/// </summary>
[Plugin("direct-paging", PluginKind.Mmu, "1.0.0", Summary = "Guests own their page tables; every update is validated, pinned tables once (Xen's PV memory model).")]
public sealed class DirectPaging : IMmuVirtualization
{
    /// <inheritdoc/>
    public IDomainMmu Attach(IMmuHost host)
    {
        ArgumentNullException.ThrowIfNull(host);
        return new DomainMmu(host);
    }
}
