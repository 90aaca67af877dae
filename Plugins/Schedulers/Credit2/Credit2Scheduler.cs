using Tessera.Sdk.SchedulerParts;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling;

namespace Tessera.Plugins.Schedulers.Credit2;

/// <summary>Xen's credit2 scheduler (xen/common/sched/credit2.c, G. Dunlap and D. Faggioli; Xen's default since 4.12).</summary>
/// <remarks>
/// <para><b>Algorithm.</b> Everybody starts with 10 ms of credit, and running burns it: the heaviest vCPU at the speed of time, a lighter
/// one faster by the ratio of the weights. The most credit runs. When even the next to run has none, a reset gives 10 ms to all, as often
/// over as it takes to lift that one above zero; nobody keeps more than 10.5 ms, so sleep saves little up. A vCPU that wakes preempts
/// whoever runs with the least credit, if that is less than its own. It runs until its credit meets the next one's, at least 500 µs and at
/// most 10 ms. A cap is a budget of the domain every 10 ms: its vCPUs take parts of it, and are parked when it is used up.</para>
/// <para><b>Several CPUs.</b> One runqueue for all (Xen: credit2_runqueue=all; its default is one for each socket with load balancing
/// between them), each CPU taking the most credit among those that may run on it.</para>
/// <para><b>Deviations.</b> A reset costs O(CPUs), not O(vCPUs): credit is kept less all that resets gave, and the upper bound is applied when a
/// record is next touched. Nothing resists migration between CPUs (Xen: 500 µs of credit), as there is one runqueue. One that yields is
/// passed over once, without Xen's bias.</para>
/// <para><b>Invariants.</b> Credit ≤ 10.5 ms. A ready vCPU that does not run is queued, or parked with its domain's budget used up. While
/// one is queued, no CPU of its affinity idles unasked. Work-conserving but for caps.</para>
/// <para><b>Worst case.</b> Schedule and Wake O(p + g + log n), plus O(log n) for each vCPU that a replenished budget lets go on; Sleep
/// O(log n). Nothing allocates after Add. A vCPU with credit waits for those with more, at most 10 ms each at equal weights.</para>
/// </remarks>
[Plugin(
    "credit2",
    PluginKind.Scheduler,
    "1.0.0",
    Summary = "Xen's credit2 scheduler: shares by weight, caps by budget, low latency for those who wake.",
    Options = typeof(Credit2Options),
    DomainOptions = typeof(Credit2DomainOptions))]
[SchedulerProperties(ShareErrorPercent = 1, StarvationBoundMs = 20, WakeLatencyBoundMs = 1, CapOption = nameof(Credit2DomainOptions.Cap))]
public sealed partial class Credit2Scheduler(Credit2Options options) : IScheduler
{
    private static readonly Credit2DomainOptions NoCap = new();

    private readonly VcpuHeap<Credit2Domain> _replenishments = new(0);
    private readonly Dictionary<DomainId, Credit2Domain> _domains = [];
    private PolicyTimer _timer = null!;
    private AffinityQueues<Credit2Vcpu> _queues = null!;
    private PcpuTable<Credit2Vcpu> _pcpus = null!;

    public void Attach(ISchedulerMachine machine)
    {
        _timer = new(machine);
        _queues = new(machine.PcpuCount, slots: 1);
        _pcpus = new(machine);
    }

    public void Add(SchedulableVcpu vcpu, Nanoseconds now)
    {
        if (!_domains.TryGetValue(vcpu.Id.Domain, out Credit2Domain? domain))
            _domains.Add(vcpu.Id.Domain, domain = new());
        domain.Members++;
        _replenishments.Reserve(_domains.Count);
        Credit2Vcpu record = new(vcpu, domain) { Base = InitialCredit - _given };
        vcpu.PolicyData = record;
        CountWeight(record.Weight, 1);
        TakeOptions(record, now);
        _queues.Join(record);
    }

    public void Remove(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Credit2Vcpu record = Of(vcpu);
        Burn(record, record.TakeOpenAt(now));
        Stop(record);
        _pcpus.Forget(record);
        _queues.Leave(record);
        CountWeight(record.Weight, -1);
        if (--record.Domain.Members > 0)
            return;
        _domains.Remove(vcpu.Id.Domain);
        _replenishments.Remove(record.Domain);
    }

    public void Wake(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Replenish(now);
        Credit2Vcpu record = Of(vcpu);
        record.Runnable = true;
        Clip(record);
        Enqueue(record);
        Place(record, now);
    }

    public void Sleep(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Credit2Vcpu record = Of(vcpu);
        Burn(record, record.TakeOpenAt(now));
        Stop(record);
    }

    public void Yield(SchedulableVcpu vcpu, Nanoseconds now) => Of(vcpu).Yielded = true;

    public Decision Schedule(in SchedulingPoint point)
    {
        Nanoseconds now = point.Now;
        int pcpu = point.Pcpu.Index;
        _pcpus.BeginDecision(pcpu);
        _timer.BeginDecision(pcpu);
        if (_pcpus[pcpu] is { } running)
            Burn(running, running.TakeOpen(point.Ran));
        Replenish(now);
        Credit2Vcpu? current = _pcpus.TakeOff(pcpu);
        if (current is { Runnable: false })
            current = null;
        if (current is { Quota: <= 0 } && current.Domain.Capped)
            current.Domain.Return(current);
        Credit2Vcpu? next = Choose(current, pcpu, now);
        if (next is not null)
            Dispatch(next, pcpu, now, next == current);
        if (current is not null && current != next)
            PutBack(current, now);
        _pcpus.RequestIdleFor(_queues, slot: 0, except: pcpu);
        _timer.EndDecision(pcpu, NextReplenishment);
        return next is null ? Decision.Idle : new(next.Vcpu, SliceOf(next, pcpu, now));
    }

    public void Adjust(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Credit2Vcpu record = Of(vcpu);
        Burn(record, record.TakeOpenAt(now));
        bool ready = record.Runnable && record.Pcpu < 0;
        _queues.Dequeue(record, slot: 0);
        _queues.Leave(record);
        CountWeight(record.Weight, -1);
        record.Weight = vcpu.Domain.Weight;
        CountWeight(record.Weight, 1);
        _queues.Join(record);
        record.Domain.Return(record);
        TakeOptions(record, now);
        if (record.Parked)
            Unpark(record);
        if (ready)
        {
            Enqueue(record);
            Place(record, now);
        }
        else if (record.Pcpu >= 0)
        {
            _pcpus.Request(record.Pcpu);
        }
    }

    public Entitlement EntitlementOf(SchedulableVcpu vcpu) => Of(vcpu).Domain is { Capped: true } domain
        ? new(vcpu.Domain.Weight, Reserved: 0, Math.Min(1, domain.CapPercent / 100.0), new(Credit2Domain.ReplenishmentPeriod))
        : Entitlement.ByWeight(vcpu.Domain.Weight);

    public string Describe(SchedulableVcpu vcpu)
    {
        Credit2Vcpu record = Of(vcpu);
        string where = record.Pcpu >= 0 ? $"runs on p{record.Pcpu}" : record.Parked ? "parked at its cap" : record.Queued ? "queued" : "asleep";
        string budget = record.Domain.Capped ? $", cap {record.Domain.CapPercent} % with {record.Domain.Budget + record.Quota} ns left" : "";
        return $"{where}, credit {Credit(record)} ns, weight {record.Weight} of at most {MaxWeight}{budget}, affinity {vcpu.Affinity}";
    }

    private static Credit2Vcpu Of(SchedulableVcpu vcpu) => (Credit2Vcpu)vcpu.PolicyData!;

    private Nanoseconds NextReplenishment => _replenishments.Count > 0 ? new((long)_replenishments.TopKey) : Nanoseconds.Never;

    /// <summary>The current vCPU if it goes on, or the queued one with the most credit that its domain's budget lets run.</summary>
    private Credit2Vcpu? Choose(Credit2Vcpu? current, int pcpu, Nanoseconds now)
    {
        if (current is not null && (!current.Vcpu.Affinity.Contains(new PcpuId(pcpu)) || !TryGrab(current, now)))
            current = null;
        bool limited = current is not null && !current.Yielded && now - current.DispatchedAt < options.Ratelimit;
        while (!limited && _queues.Head(pcpu, slot: 0) is { } first)
        {
            if (current is not null && !current.Yielded && Credit(current) >= Credit(first))
                return current;
            _queues.Dequeue(first, slot: 0);
            if (TryGrab(first, now))
                return first;
            Park(first);
        }

        return current;
    }

    private void Dispatch(Credit2Vcpu next, int pcpu, Nanoseconds now, bool goesOn)
    {
        if (!goesOn)
            next.DispatchedAt = now;
        _pcpus.Run(pcpu, next, now);
        Clip(next);
        if (Credit(next) <= 0)
            Reset(next, now);
    }

    private void PutBack(Credit2Vcpu record, Nanoseconds now)
    {
        record.Yielded = false;
        if (record.Quota <= 0 && !TryGrab(record, now))
        {
            Park(record);
            return;
        }

        record.Domain.Return(record);
        Enqueue(record);
        Place(record, now);
    }

    private Nanoseconds SliceOf(Credit2Vcpu next, int pcpu, Nanoseconds now)
    {
        long least = Math.Max(MinTimer, options.Ratelimit.Value - (now - next.DispatchedAt).Value);
        Int128 credit = Credit(next);
        if (_queues.Head(pcpu, slot: 0) is { } second && Credit(second) > 0)
            credit -= Credit(second);
        long slice = (long)Int128.Clamp(credit * next.Weight / MaxWeight, least, Math.Max(least, MaxTimer));
        return new(next.Domain.Capped ? Math.Min(slice, next.Quota) : slice);
    }

    /// <summary>Asks an idle CPU, or else the one that runs the least credit, if that is less.</summary>
    private void Place(Credit2Vcpu record, Nanoseconds now)
    {
        if (_pcpus.RequestIdle(record.Vcpu.Affinity))
            return;
        Credit2Vcpu? least = null;
        Int128 leastCredit = Credit(record);
        foreach (int pcpu in record.Group.Pcpus)
        {
            if (_pcpus.IsRequested(pcpu) || _pcpus[pcpu] is not { } running)
                continue;
            Burn(running, running.TakeOpenAt(now));
            if (Credit(running) < leastCredit)
                (least, leastCredit) = (running, Credit(running));
        }

        if (least is not null)
            _pcpus.Request(least.Pcpu);
    }

    private void Stop(Credit2Vcpu record)
    {
        record.Runnable = false;
        _queues.Dequeue(record, slot: 0);
        if (record.Parked)
            Unpark(record);
        record.Domain.Return(record);
    }

    private static void TakeOptions(Credit2Vcpu record, Nanoseconds now) => record.Domain.SetCap(record.Vcpu.Domain.OptionsOr(NoCap).Cap, now);
}
