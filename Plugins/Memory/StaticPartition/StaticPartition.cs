using Tessera.Sdk.Memory;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Memory.StaticPartition;

/// <summary>
/// The paper's memory policy (section 3.3.4): a domain's reservation is given whole when it is created, or the domain is refused;
/// later it may grow up to its maximum while the machine has room.
/// </summary>
[Plugin("static-partition", PluginKind.MemoryPolicy, "1.0.0", Summary = "Gives each domain its whole reservation at creation, and more up to its maximum while there is room.")]
public sealed class StaticPartition : IMemoryPolicy
{
    /// <inheritdoc/>
    public long FramesAtCreation(in MemoryRequest request, in MemoryBudget budget) =>
        request.Frames > 0 && request.Frames <= request.MaxFrames && request.Frames <= Room(budget) ? request.Frames : 0;

    /// <inheritdoc/>
    public long FramesToGrant(in MemoryRequest request, long assigned, long asked, in MemoryBudget budget) =>
        Math.Max(0, Math.Min(asked, Math.Min(request.MaxFrames - assigned, Room(budget))));

    private static long Room(in MemoryBudget budget) => budget.TotalFrames - budget.AssignedFrames;
}
