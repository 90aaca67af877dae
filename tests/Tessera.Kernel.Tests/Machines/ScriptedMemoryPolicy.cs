using Tessera.Sdk;
using Tessera.Sdk.Memory;

namespace Tessera.Kernel.Tests;

/// <summary>A memory policy that does as a test says, and as static-partition where it says nothing.</summary>
internal sealed class ScriptedMemoryPolicy : IMemoryPolicy
{
    private int _inside;

    /// <summary>In place of the rule for a new domain.</summary>
    public Func<MemoryRequest, MemoryBudget, long>? OnAdmit { get; init; }

    /// <summary>In place of the rule for one that asks for more.</summary>
    public Func<DomainMemoryFacts, long, MemoryBudget, long>? OnGrant { get; set; }

    /// <summary>Called with what came back.</summary>
    public Action<DomainId, long>? OnReleased { get; set; }

    /// <summary>Makes new targets.</summary>
    public Func<IReadOnlyList<DomainMemoryFacts>, IReadOnlyList<MemoryTarget>>? OnRebalance { get; set; }

    /// <summary>Every call, in order.</summary>
    public List<string> Calls { get; } = [];

    public Nanoseconds RebalancePeriod => OnPeriod?.Invoke() ?? Nanoseconds.Never;

    /// <summary>In place of never.</summary>
    public Func<Nanoseconds>? OnPeriod { get; init; }

    public long Admit(in MemoryRequest request, in MemoryBudget budget)
    {
        using Call call = new(this, $"admit {request.Domain} {request.Frames} {request.MaxFrames}");
        return OnAdmit?.Invoke(request, budget) ?? (request.Frames <= budget.FreeFrames ? request.Frames : 0);
    }

    public long Grant(in DomainMemoryFacts domain, long asked, in MemoryBudget budget)
    {
        using Call call = new(this, $"grant {domain.Domain} {domain.AssignedFrames}+{asked}");
        return OnGrant?.Invoke(domain, asked, budget) ?? Math.Min(asked, budget.FreeFrames);
    }

    public void Released(DomainId domain, long frames)
    {
        using Call call = new(this, $"released {domain} {frames}");
        OnReleased?.Invoke(domain, frames);
    }

    public IReadOnlyList<MemoryTarget> Rebalance(Nanoseconds now, IReadOnlyList<DomainMemoryFacts> domains, in MemoryBudget budget)
    {
        using Call call = new(this, null);
        return OnRebalance?.Invoke(domains) ?? [];
    }

    /// <summary>One call: no other may be under way.</summary>
    private readonly struct Call : IDisposable
    {
        private readonly ScriptedMemoryPolicy _policy;

        public Call(ScriptedMemoryPolicy policy, string? text)
        {
            _policy = policy;
            Assert.That(Interlocked.Increment(ref policy._inside), Is.EqualTo(1), "one call at a time");
            if (text is not null)
                policy.Calls.Add(text);
        }

        public void Dispose() => Interlocked.Decrement(ref _policy._inside);
    }
}
