using Tessera.Sdk.Memory;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Memory.StaticPartition;

/// <summary>
/// The paper's memory policy (section 3.3.4): a domain's reservation is given whole when it is created, or the domain is refused;
/// later it may grow up to its maximum while the machine has room. No target ever changes.
/// </summary>
[Plugin("static-partition", PluginKind.MemoryPolicy, "1.0.0", Summary = "Gives each domain its whole reservation at creation, and more up to its maximum while there is room.")]
public sealed class StaticPartition : IMemoryPolicy
{
    /// <inheritdoc/>
    public long Admit(in MemoryRequest request, in MemoryBudget budget) =>
        request.Frames > 0 && request.Frames <= request.MaxFrames && request.Frames <= budget.FreeFrames ? request.Frames : 0;

    /// <inheritdoc/>
    public long Grant(in DomainMemoryFacts domain, long asked, in MemoryBudget budget) =>
        Math.Max(0, Math.Min(asked, Math.Min(domain.MaxFrames - domain.AssignedFrames, budget.FreeFrames)));
}
