using Tessera.Sdk.SchedulerParts;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling;

namespace Tessera.Plugins.Schedulers.Credit;

/// <summary>Xen's credit scheduler (xen/common/sched/credit.c, E. Ackaouy, XenSource 2005/06; Xen's default from 3.0.3 to 4.11).</summary>
/// <remarks>
/// <para><b>Algorithm.</b> Running burns credits: 10 each millisecond. Every time slice, 30 ms, as many credits as all CPUs can burn in it
/// are dealt out to the active vCPUs by weight; a domain that may use less, by its cap or its number of vCPUs, leaves the rest to the
/// others. Credits left: priority UNDER; none: OVER. UNDER runs before OVER, and those of one priority take turns of a time slice. A
/// vCPU that wakes with credits left is BOOSTed before both until the next tick, 10 ms apart, finds it running. A vCPU whose account is
/// full, a slice's worth, is no longer active, and earns again when a tick finds it running. A capped domain's vCPU that is further in debt
/// than its cap's worth is parked until its credits are positive.</para>
/// <para><b>Several CPUs.</b> Each has its queue. A CPU that would run OVER or nothing looks into the others' queues first, and takes a vCPU
/// of higher priority. One that wakes goes to an idle CPU, else to the one it was on.</para>
/// <para><b>Deviations.</b> Credits are kept as nanoseconds of CPU time (Xen's are 100 µs, with a remainder). A queued vCPU whose priority
/// changes moves at once, not at its CPU's next tick. Xen's preference for cache-warm CPUs when stealing has no counterpart. One that
/// yields goes to the end of its line. All CPUs tick on one grid, and only while they run something. Who can use less than its weight says is dealt
/// credits first (Xen does so from the next accounting on, by moving it to the front of the list).</para>
/// <para><b>Accounting</b> looks only at those whose account may mean something else than before: who ran or was boosted since the last one, who turns
/// positive or full by what it is given now (a heap knows when), who has a cap, and who can use less than its weight says. What the rest is given
/// is one number for each unit of weight, read when an account is next looked at; sums are kept as it goes.</para>
/// <para><b>Invariants.</b> −slice ≤ credits ≤ slice after an accounting. A vCPU that is ready, not running, is in exactly one queue.
/// While one is queued that may run on an idle CPU, that CPU was asked to look.</para>
/// <para><b>Worst case.</b> Schedule O(p + log n), plus the vCPUs of other queues that may not run here; Wake O(p + log n); Sleep O(1); once in a
/// time slice O(p + domains with caps), plus O(log n) for each vCPU that ran in it or whose account turns. A BOOSTed vCPU waits for the rate limit and those
/// boosted before it; one that is OVER waits while others are UNDER.</para>
/// </remarks>
[Plugin(
    "credit",
    PluginKind.Scheduler,
    "1.0.0",
    Summary = "Xen's credit scheduler: shares by weight, caps, boost for those who wake.",
    Options = typeof(CreditOptions),
    DomainOptions = typeof(CreditDomainOptions))]
[SchedulerProperties(ShareErrorPercent = 5, StarvationBoundMs = 400, WakeLatencyBoundMs = 1, CapOption = nameof(CreditDomainOptions.Cap))]
public sealed partial class CreditScheduler(CreditOptions options) : IScheduler
{
    /// <summary>Xen's CSCHED_TICKS_PER_TSLICE.</summary>
    private const int TicksPerSlice = 3;

    private static readonly CreditDomainOptions NoCap = new();

    private readonly long _slice = options.Timeslice.Value;
    private readonly long _tick = options.Timeslice.Value / TicksPerSlice;
    private readonly Dictionary<DomainId, CreditDomain> _domains = [];
    private ISchedulerMachine _machine = null!;
    private PcpuTable<CreditVcpu> _pcpus = null!;
    private RunQueue[] _queues = [];
    private int _members;
    private Nanoseconds[] _nextTick = [];

    /// <summary>Whether a vCPU of higher priority came since the CPU last switched: a tick alone makes no switch.</summary>
    private bool[] _preempted = [];

    public void Attach(ISchedulerMachine machine)
    {
        _machine = machine;
        _pcpus = new(machine);
        _queues = [.. Enumerable.Range(0, machine.PcpuCount).Select(static pcpu => new RunQueue(pcpu))];
        _nextTick = new Nanoseconds[machine.PcpuCount];
        _preempted = new bool[machine.PcpuCount];
    }

    public void Add(SchedulableVcpu vcpu, Nanoseconds now)
    {
        if (_domains.Count == 0 && _nextAccounting <= now)
            _nextAccounting = now + options.Timeslice;
        if (!_domains.TryGetValue(vcpu.Id.Domain, out CreditDomain? domain))
            _domains.Add(vcpu.Id.Domain, domain = new());
        domain.Members++;
        _ran.EnsureCapacity(++_members);
        _rising.Reserve(_members);
        _dealt.EnsureCapacity(_domains.Count);
        CreditVcpu record = new(vcpu, domain);
        vcpu.PolicyData = record;
        TakeParameters(record);
        record.Home = FirstCpu(vcpu.Affinity);
    }

    public void Remove(SchedulableVcpu vcpu, Nanoseconds now)
    {
        CreditVcpu record = Of(vcpu);
        record.Runnable = false;
        if (record.Queued)
            _queues[record.Home].Remove(record);
        _members--;
        if (record.Active)
            Deactivate(record);
        if (record.Parked)
            _parked--;
        _pcpus.Forget(record);
        if (--record.Domain.Members > 0)
            return;
        _domains.Remove(vcpu.Id.Domain);
        LeaveClass(record.Domain);
    }

    public void Wake(SchedulableVcpu vcpu, Nanoseconds now)
    {
        AccountIfDue(now);
        CreditVcpu record = Of(vcpu);
        record.Runnable = true;
        if (record.Parked)
        {
            WatchParked(now);
            return;
        }

        if (record.Priority == Priority.Under)
        {
            record.Priority = Priority.Boost;
            if (record.Active)
                NoteRan(record);
        }

        Place(record);
    }

    public void Sleep(SchedulableVcpu vcpu, Nanoseconds now)
    {
        CreditVcpu record = Of(vcpu);
        record.Runnable = false;
        if (record.Queued)
            _queues[record.Home].Remove(record);
    }

    public void Yield(SchedulableVcpu vcpu, Nanoseconds now) => Of(vcpu).Yielded = true;

    public Decision Schedule(in SchedulingPoint point)
    {
        Nanoseconds now = point.Now;
        RunQueue queue = _queues[point.Pcpu.Index];
        _pcpus.BeginDecision(queue.Pcpu);
        AccountIfDue(now);
        CreditVcpu? current = _pcpus.TakeOff(queue.Pcpu);
        if (current is not null)
            SetCredit(current, current.Credit - current.TakeOpen(point.Ran));
        if (current is { Ready: false })
            current = null;
        Tick(queue.Pcpu, current, now);
        CreditVcpu? next = current is not null && GoesOn(current, queue, now) ? current : Switch(current, queue, now);
        if (next is not null)
        {
            _pcpus.Run(queue.Pcpu, next, now);
            NoteRan(next);
            next.Home = queue.Pcpu;
        }

        if (queue.Movable > 0 && _pcpus.IdleCount > 0)
            AskIdle(queue);
        if (next is not null)
            _machine.RequestRescheduleAt(point.Pcpu, Nanoseconds.Min(_nextTick[queue.Pcpu], _nextAccounting));
        else if (_parked > 0)
            _machine.RequestRescheduleAt(point.Pcpu, _nextAccounting);
        return next is null ? Decision.Idle : new(next.Vcpu, SliceOf(next, queue, now));
    }

    public void Adjust(SchedulableVcpu vcpu, Nanoseconds now)
    {
        CreditVcpu record = Of(vcpu);
        bool queued = record.Queued;
        if (queued)
            _queues[record.Home].Remove(record);
        TakeParameters(record);
        if (record.Parked && record.Domain.Cap == 0)
            Unpark(record);
        else if (queued)
            Place(record);
    }

    /// <summary>Nobody's debt is more than a time slice, and at a cap that is earned back in a time slice over the cap.</summary>
    public Entitlement EntitlementOf(SchedulableVcpu vcpu) => Of(vcpu).Domain.Cap is > 0 and var cap
        ? new(vcpu.Domain.Weight, Reserved: 0, Math.Min(1, cap / 100.0), new(_slice * 100 / cap))
        : Entitlement.ByWeight(vcpu.Domain.Weight);

    public string Describe(SchedulableVcpu vcpu)
    {
        CreditVcpu record = Of(vcpu);
        string where = record.Pcpu >= 0 ? $"runs on p{record.Pcpu}" : record.Queued ? $"queued on p{record.Home}" : record.Parked ? "parked at its cap" : "asleep";
        return $"{where}, {record.Priority.ToString().ToUpperInvariant()}, {CreditOf(record) / 100_000} credits, {(record.Active ? "active" : "not active")}, cap {record.Domain.Cap}, affinity {vcpu.Affinity}";
    }

    private static CreditVcpu Of(SchedulableVcpu vcpu) => (CreditVcpu)vcpu.PolicyData!;

    /// <summary>A tick finds a vCPU running: its boost is over, and it earns from now on.</summary>
    private void Tick(int pcpu, CreditVcpu? running, Nanoseconds now)
    {
        if (now < _nextTick[pcpu])
            return;
        _nextTick[pcpu] = new(((now.Value / _tick) + 1) * _tick);

        // One just dispatched is met by the next tick, as the tick's timer is not the decision in Xen.
        if (running is null || running.DispatchedAt == now)
            return;
        if (running.Priority == Priority.Boost)
            running.Priority = Priority.Under;
        if (!running.Active)
            Activate(running);
    }

    /// <summary>Whether the running vCPU keeps its CPU without a switch being considered.</summary>
    private bool GoesOn(CreditVcpu current, RunQueue queue, Nanoseconds now)
    {
        if (current.Yielded || !current.Vcpu.Affinity.Contains(new PcpuId(queue.Pcpu)))
            return false;
        Nanoseconds ran = now - current.DispatchedAt;
        if (ran < options.Ratelimit)
            return true;
        return ran < options.Timeslice && !_preempted[queue.Pcpu];
    }

    private CreditVcpu? Switch(CreditVcpu? current, RunQueue queue, Nanoseconds now)
    {
        if (current is not null && current.Vcpu.Affinity.Contains(new PcpuId(queue.Pcpu)))
            queue.Add(current);
        else if (current is not null)
            Place(current);
        _preempted[queue.Pcpu] = false;
        CreditVcpu? next = queue.First;
        if (next is null || next.Priority == Priority.Over)
            next = Steal(queue, next is null ? Priority.Over : Priority.Under) ?? next;
        if (next is null)
            return null;
        _queues[next.Home].Remove(next);
        next.DispatchedAt = now;
        return next;
    }

    private CreditVcpu? Steal(RunQueue queue, Priority least)
    {
        for (int step = 1; step < _queues.Length; step++)
        {
            if (_queues[(queue.Pcpu + step) % _queues.Length].FindFor(new PcpuId(queue.Pcpu), least) is { } found)
                return found;
        }

        return null;
    }

    /// <summary>Queues a ready vCPU, and asks the CPU to decide if it should run at once.</summary>
    private void Place(CreditVcpu record)
    {
        int home = record.Vcpu.Affinity.Contains(new PcpuId(record.Home)) ? record.Home : FirstCpu(record.Vcpu.Affinity);
        for (int step = 0; step < _queues.Length && _pcpus.IdleCount > 0; step++)
        {
            int pcpu = (home + step) % _queues.Length;
            if (_pcpus[pcpu] is not null || _pcpus.IsRequested(pcpu) || !record.Vcpu.Affinity.Contains(new PcpuId(pcpu)))
                continue;
            _queues[pcpu].Add(record);
            _pcpus.Request(pcpu);
            return;
        }

        _queues[home].Add(record);
        if (_pcpus[home] is { } running && record.Priority <= running.Priority)
            return;
        _preempted[home] = true;
        _pcpus.Request(home);
    }

    private void AskIdle(RunQueue queue)
    {
        for (int pcpu = 0; pcpu < _pcpus.Count; pcpu++)
        {
            if (pcpu != queue.Pcpu && _pcpus[pcpu] is null && !_pcpus.IsRequested(pcpu) && queue.FindFor(new PcpuId(pcpu), Priority.Over) is not null)
                _pcpus.Request(pcpu);
        }
    }

    /// <summary>Sees to it that credits are given out while everybody is parked or asleep.</summary>
    private void WatchParked(Nanoseconds now) => _machine.RequestRescheduleAt(new PcpuId(0), Nanoseconds.Max(_nextAccounting, now));

    private Nanoseconds SliceOf(CreditVcpu vcpu, RunQueue queue, Nanoseconds now)
    {
        Nanoseconds ran = now - vcpu.DispatchedAt;
        Nanoseconds end = ran < options.Ratelimit && _preempted[queue.Pcpu] ? options.Ratelimit : options.Timeslice;
        return ran < end ? end - ran : options.Timeslice;
    }

    private int FirstCpu(CpuSet affinity)
    {
        int pcpu = 0;
        while (pcpu < _queues.Length - 1 && !affinity.Contains(new PcpuId(pcpu)))
            pcpu++;
        return pcpu;
    }

    private void TakeParameters(CreditVcpu record)
    {
        SetParameters(record.Domain, record.Vcpu.Domain.Weight, record.Vcpu.Domain.OptionsOr(NoCap).Cap);
        int allowed = 0;
        for (int pcpu = 0; pcpu < _queues.Length; pcpu++)
            allowed += record.Vcpu.Affinity.Contains(new PcpuId(pcpu)) ? 1 : 0;
        record.Movable = allowed > 1;
    }
}
