using Tessera.Plugins.Memory.StaticPartition;
using Tessera.Sdk.Memory;

namespace Tessera.Conformance.Tests;

/// <summary>The static partition, from which each broken memory policy differs in one thing.</summary>
internal class HonestMemoryPolicy : IMemoryPolicy
{
    private readonly StaticPartition _inner = new();

    public virtual long FramesAtCreation(in MemoryRequest request, in MemoryBudget budget) => _inner.FramesAtCreation(request, budget);

    public virtual long FramesToGrant(in MemoryRequest request, long assigned, long asked, in MemoryBudget budget) =>
        _inner.FramesToGrant(request, assigned, asked, budget);
}

/// <summary>Gives what was asked for.</summary>
internal sealed class StartsAnything : HonestMemoryPolicy
{
    public override long FramesAtCreation(in MemoryRequest request, in MemoryBudget budget) => Math.Max(0, request.Frames);
}

/// <summary>Lets domains grow beyond what they may ever have.</summary>
internal sealed class GrowsBeyondTheMaximum : HonestMemoryPolicy
{
    public override long FramesToGrant(in MemoryRequest request, long assigned, long asked, in MemoryBudget budget) =>
        Math.Max(0, Math.Min(asked, budget.TotalFrames - budget.AssignedFrames));
}

/// <summary>Counts what it gave at creation, and believes that nobody leaves or grows.</summary>
internal sealed class CountsByItself : HonestMemoryPolicy
{
    private long _given;

    public override long FramesAtCreation(in MemoryRequest request, in MemoryBudget budget)
    {
        long given = base.FramesAtCreation(request, new MemoryBudget(budget.TotalFrames, _given));
        _given += given;
        return given;
    }
}

/// <summary>Refuses everybody.</summary>
internal sealed class RefusesEverybody : HonestMemoryPolicy
{
    public override long FramesAtCreation(in MemoryRequest request, in MemoryBudget budget) => 0;
}
