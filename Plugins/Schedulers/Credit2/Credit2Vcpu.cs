using Tessera.Sdk.SchedulerParts;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;

namespace Tessera.Plugins.Schedulers.Credit2;

/// <summary>Credit2's record of a vCPU.</summary>
internal sealed class Credit2Vcpu : VcpuRecord<Credit2Vcpu>
{
    public readonly Credit2Domain Domain;

    /// <summary>Its place among the parked of its domain.</summary>
    public readonly LinkedListNode<Credit2Vcpu> ParkedPlace;

    public Credit2Vcpu(SchedulableVcpu vcpu, Credit2Domain domain)
        : base(vcpu, heaps: 1)
    {
        Domain = domain;
        ParkedPlace = new(this);
    }

    /// <summary>Credit less all that resets have given since the start, ns of the heaviest vCPU's CPU time: a reset changes no record.</summary>
    public Int128 Base { get; set; }

    /// <summary>The part of its domain's budget that it has taken, ns.</summary>
    public long Quota { get; set; }

    public Nanoseconds DispatchedAt { get; set; }

    public bool Queued => Places[0] >= 0;

    public bool Parked => ParkedPlace.List is not null;
}

/// <summary>A domain: the budget of its cap is one for all its vCPUs.</summary>
internal sealed class Credit2Domain : IHeapMember
{
    /// <summary>Xen's CSCHED2_BDGT_REPL_PERIOD.</summary>
    public const long ReplenishmentPeriod = 10_000_000;

    /// <summary>The least a vCPU takes of the budget at once; Xen's CSCHED2_MIN_TIMER.</summary>
    private const long LeastQuota = 500_000;

    /// <summary>More periods than this fill any budget.</summary>
    private const long ManyPeriods = 1_000;

    /// <summary>Those that found no budget left.</summary>
    public readonly LinkedList<Credit2Vcpu> Parked = new();

    private long _cap;

    /// <inheritdoc/>
    public int[] Places { get; } = [-1];

    public int Members { get; set; }

    public bool Capped => _cap > 0;

    public int CapPercent { get; private set; }

    /// <summary>What is left of the budget, ns; negative after an overrun.</summary>
    public long Budget { get; private set; }

    public Nanoseconds NextReplenishment { get; private set; }

    public void SetCap(int percent, Nanoseconds now)
    {
        if (percent == CapPercent)
            return;
        CapPercent = percent;
        _cap = percent * (ReplenishmentPeriod / 100);
        Budget = _cap;
        NextReplenishment = now + new Nanoseconds(ReplenishmentPeriod);
    }

    /// <summary>Adds what is due by now: at most a period's budget is saved.</summary>
    public void Replenish(Nanoseconds now)
    {
        if (now < NextReplenishment)
            return;
        long periods = ((now - NextReplenishment).Value / ReplenishmentPeriod) + 1;
        NextReplenishment += new Nanoseconds(periods * ReplenishmentPeriod);
        Budget = periods > ManyPeriods && Budget > -_cap * ManyPeriods ? _cap : Math.Min(_cap, Budget + (Math.Min(periods, ManyPeriods) * _cap));
    }

    /// <summary>A vCPU takes its part before it runs.</summary>
    /// <returns>Whether there was any.</returns>
    public bool Grab(Credit2Vcpu vcpu)
    {
        if (!Capped || vcpu.Quota > 0)
            return true;
        if (Budget <= 0)
            return false;
        vcpu.Quota = Math.Min(Budget, Math.Max(_cap / Members, LeastQuota));
        Budget -= vcpu.Quota;
        return true;
    }

    /// <summary>A vCPU gives back what it did not use, or owes what it used beyond.</summary>
    public void Return(Credit2Vcpu vcpu)
    {
        if (Capped)
            Budget = Math.Max(Math.Min(_cap, Budget + vcpu.Quota), -_cap * ManyPeriods);
        vcpu.Quota = 0;
    }
}
