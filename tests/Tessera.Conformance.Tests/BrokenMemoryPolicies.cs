using Tessera.Plugins.Memory.StaticPartition;
using Tessera.Sdk;
using Tessera.Sdk.Memory;

namespace Tessera.Conformance.Tests;

/// <summary>The static partition, from which each broken memory policy differs in one thing.</summary>
internal class HonestMemoryPolicy : IMemoryPolicy
{
    private readonly StaticPartition _inner = new();

    public virtual long Admit(in MemoryRequest request, in MemoryBudget budget) => _inner.Admit(request, budget);

    public virtual long Grant(in DomainMemoryFacts domain, long asked, in MemoryBudget budget) => _inner.Grant(domain, asked, budget);

    public virtual IReadOnlyList<MemoryTarget> Rebalance(
        Nanoseconds now, IReadOnlyList<DomainMemoryFacts> domains, in MemoryBudget budget) => [];
}

/// <summary>Gives what was asked for.</summary>
internal sealed class StartsAnything : HonestMemoryPolicy
{
    public override long Admit(in MemoryRequest request, in MemoryBudget budget) => Math.Max(0, request.Frames);
}

/// <summary>Lets domains grow beyond what they may ever have.</summary>
internal sealed class GrowsBeyondTheMaximum : HonestMemoryPolicy
{
    public override long Grant(in DomainMemoryFacts domain, long asked, in MemoryBudget budget) =>
        Math.Max(0, Math.Min(asked, budget.FreeFrames));
}

/// <summary>Counts what it gave at creation, and believes that nobody leaves or grows.</summary>
internal sealed class CountsByItself : HonestMemoryPolicy
{
    private long _given;

    public override long Admit(in MemoryRequest request, in MemoryBudget budget)
    {
        long given = base.Admit(request, new MemoryBudget(budget.TotalFrames, _given));
        _given += given;
        return given;
    }
}

/// <summary>Refuses everybody.</summary>
internal sealed class RefusesEverybody : HonestMemoryPolicy
{
    public override long Admit(in MemoryRequest request, in MemoryBudget budget) => 0;
}

/// <summary>Shares the whole machine out, whatever a domain may have.</summary>
internal sealed class TargetsTheWholeMachine : HonestMemoryPolicy
{
    public override IReadOnlyList<MemoryTarget> Rebalance(Nanoseconds now, IReadOnlyList<DomainMemoryFacts> domains, in MemoryBudget budget)
    {
        long each = budget.TotalFrames / Math.Max(1, domains.Count);
        return [.. domains.Select(domain => new MemoryTarget(domain.Domain, each))];
    }
}

/// <summary>Keeps a target for whoever has ever been there.</summary>
internal sealed class TargetsTheDead : HonestMemoryPolicy
{
    private readonly HashSet<DomainId> _seen = [];

    public override IReadOnlyList<MemoryTarget> Rebalance(Nanoseconds now, IReadOnlyList<DomainMemoryFacts> domains, in MemoryBudget budget)
    {
        _seen.UnionWith(domains.Select(static domain => domain.Domain));
        return [.. _seen.Select(static domain => new MemoryTarget(domain, 1))];
    }
}
