using Tessera.Sdk.SchedulerParts;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling;

namespace Tessera.Plugins.Schedulers.Sedf;

/// <summary>
/// Xen's Simple EDF scheduler (xen/common/sched_sedf.c, S. Diestelhorst, 2004, on work by M. Williamson; Xen 3.0 to 4.5), with its
/// extra time by weight and by block penalty, and the latency hint of its Atropos-like mode.
/// </summary>
/// <remarks>
/// <para><b>Algorithm.</b> A vCPU has a slice in each period, and the earliest deadline, the period's end, runs. One whose slice is used up
/// waits for its next period. Time that no slice needs is extra time, given in quanta of 500 µs: first to those that lost a part of
/// their slice by a short sleep, the greatest loss by period first; then to all with extra time, by weight. After a sleep within a period
/// the rest of that period's slice is lost (and made up for in extra time); after a longer one a new period begins, with a latency hint
/// a shorter one of the same utilisation, which doubles each time its slice is used up until it is the full one again.</para>
/// <para><b>Several CPUs.</b> Xen binds a vCPU to a CPU and has queues for each; here deadlines and extra time are global over the CPUs of
/// an affinity, so no CPU idles while extra time is wanted. Affinities of one CPU each give Xen's arrangement.</para>
/// <para><b>Deviations.</b> Extra time is shared by the domain's weight (Xen: by an extra weight, or by utilisation), and is given up to the
/// last moment before a period begins (Xen idles for less than a quantum). The first period begins at the first wake. A running
/// reserved vCPU is preempted when one with an earlier deadline becomes ready, which EDF's bound needs. Of equal deadlines the one that ran longest
/// ago goes first, so in an overload those of equal period take turns. One that yields is passed over once.</para>
/// <para><b>Invariants.</b> A ready vCPU that does not run is in the queue of reserved ones, or waits for its period and is in the queues
/// of extra time it may have. Reserved goes before penalty, penalty before extra. With extra time, the default, it is work-conserving.</para>
/// <para><b>Guarantee.</b> On one CPU every vCPU that stays awake gets its slice in each period when slices over periods add up to 1 at most; on
/// m CPUs when they add up to m − (m − 1)·u at most, u the greatest. Admission is up to whoever configures it, as in Xen.</para>
/// <para><b>Worst case.</b> Schedule and Wake O(p + g + log n), plus O(log n) for each period that begins; Sleep O(log n). Nothing allocates
/// after Add. In extra time a vCPU of n equal ones waits n − 1 quanta, and while reserved ones run.</para>
/// </remarks>
[Plugin(
    "sedf",
    PluginKind.Scheduler,
    "1.0.0",
    Summary = "Xen's simple EDF: a slice in each period, extra time by weight.",
    DomainOptions = typeof(SedfDomainOptions))]
[SchedulerProperties(ShareErrorPercent = 1, StarvationBoundMs = 5, WakeLatencyBoundMs = 1, PeriodOption = nameof(SedfDomainOptions.Period), SliceOption = nameof(SedfDomainOptions.Slice), DeadlineUtilisation = 1)]
public sealed partial class SedfScheduler : IScheduler
{
    private static readonly SedfDomainOptions Defaults = new();

    private readonly VcpuHeap<SedfVcpu> _waiting = new(SedfVcpu.Waiting);
    private PolicyTimer _timer = null!;
    private AffinityQueues<SedfVcpu> _queues = null!;
    private PcpuTable<SedfVcpu> _pcpus = null!;
    private int _members;

    public void Attach(ISchedulerMachine machine)
    {
        _timer = new(machine);
        _queues = new(machine.PcpuCount, slots: 3);
        _pcpus = new(machine);
        _extraServed = new Int128[machine.PcpuCount];
    }

    public void Add(SchedulableVcpu vcpu, Nanoseconds now)
    {
        SedfVcpu record = new(vcpu);
        vcpu.PolicyData = record;
        TakeParameters(record);
        _queues.Join(record);
        _waiting.Reserve(++_members);
    }

    public void Remove(SchedulableVcpu vcpu, Nanoseconds now)
    {
        SedfVcpu record = Of(vcpu);
        record.Runnable = false;
        Withdraw(record);
        _pcpus.Forget(record);
        _queues.Leave(record);
        _members--;
    }

    public void Wake(SchedulableVcpu vcpu, Nanoseconds now)
    {
        BeginPeriods(now);
        SedfVcpu record = Of(vcpu);
        record.Runnable = true;
        Unblock(record, now);
        JoinExtraTime(record);
        if (File(record, now) is { } kind)
            Place(record, kind);
        _timer.NotLaterThan(NextPeriod);
    }

    public void Sleep(SchedulableVcpu vcpu, Nanoseconds now)
    {
        SedfVcpu record = Of(vcpu);
        record.Runnable = false;
        Withdraw(record);
    }

    public void Yield(SchedulableVcpu vcpu, Nanoseconds now) => Of(vcpu).Yielded = true;

    public Decision Schedule(in SchedulingPoint point)
    {
        Nanoseconds now = point.Now;
        int pcpu = point.Pcpu.Index;
        _pcpus.BeginDecision(pcpu);
        _timer.BeginDecision(pcpu);
        if (_pcpus[pcpu] is { } running)
        {
            Charge(running, running.TakeOpen(point.Ran));
            running.LastRan = now;
        }

        BeginPeriods(now);
        SedfVcpu? current = _pcpus.TakeOff(pcpu);
        if (current is { Runnable: false })
            current = null;
        bool passedOver = current is { Yielded: true } || (current is not null && !current.Vcpu.Affinity.Contains(point.Pcpu));
        TimeKind? ready = null;
        if (current is not null && !passedOver)
            Refile(current, now, out ready);
        SedfVcpu? next = Choose(pcpu, out TimeKind kind, now);
        if (next is null && current is { Yielded: true } && current.Vcpu.Affinity.Contains(point.Pcpu))
        {
            Refile(current, now, out ready);
            next = Choose(pcpu, out kind, now);
        }
        else if (current is not null && passedOver)
        {
            Refile(current, now, out ready);
        }

        if (next is not null)
            Dispatch(next, kind, pcpu, now);
        if (current is not null && current != next && ready is { } readyAs)
            Place(current, readyAs);
        for (TimeKind queue = TimeKind.Reserved; queue <= TimeKind.Extra; queue++)
            _pcpus.RequestIdleFor(_queues, (int)queue, pcpu);
        _timer.EndDecision(pcpu, NextPeriod);
        return next is null ? Decision.Idle : new(next.Vcpu, new(kind == TimeKind.Reserved ? LengthOf(next, pcpu) : ExtraQuantum));
    }

    public void Adjust(SchedulableVcpu vcpu, Nanoseconds now)
    {
        SedfVcpu record = Of(vcpu);
        Charge(record, record.TakeOpenAt(now));
        Withdraw(record);
        _queues.Leave(record);
        TakeParameters(record);
        _queues.Join(record);

        // The new period begins now, or when the old one's slice was to be had next, whichever is sooner.
        if (record.HasDeadline)
            record.Deadline = Nanoseconds.Min(record.Deadline, now + new Nanoseconds(record.Period));
        record.Lost = Math.Min(record.Lost, record.Slice);
        JoinExtraTime(record);
        if (record.Pcpu >= 0)
            _pcpus.Request(record.Pcpu);
        else if (record.Runnable && File(record, now) is { } kind)
            Place(record, kind);
        _timer.NotLaterThan(NextPeriod);
    }

    public Entitlement EntitlementOf(SchedulableVcpu vcpu)
    {
        SedfVcpu record = Of(vcpu);
        if (record.FullSlice == 0)
            return Entitlement.ByWeight(vcpu.Domain.Weight);
        double reserved = record.FullSlice / (double)record.FullPeriod;
        return new(record.ExtraTime ? vcpu.Domain.Weight : 0, reserved, record.ExtraTime ? 1 : reserved, new(record.FullPeriod));
    }

    public string Describe(SchedulableVcpu vcpu)
    {
        SedfVcpu record = Of(vcpu);
        string where = record.Pcpu >= 0 ? $"runs on p{record.Pcpu} ({record.RunsAs})" : record.Runnable ? "ready" : "asleep";
        return $"{where}, slice {new Nanoseconds(record.Slice)} in {new Nanoseconds(record.Period)} ({record.Used} ns used), deadline {record.Deadline}, lost {record.Lost} ns, extra time {(record.ExtraTime ? "yes" : "no")}, affinity {vcpu.Affinity}";
    }

    private static SedfVcpu Of(SchedulableVcpu vcpu) => (SedfVcpu)vcpu.PolicyData!;

    private Nanoseconds NextPeriod => _waiting.Count > 0 ? new((long)_waiting.TopKey) : Nanoseconds.Never;

    private void Refile(SedfVcpu record, Nanoseconds now, out TimeKind? ready)
    {
        Withdraw(record);
        ready = File(record, now, ahead: true);
    }

    /// <summary>The rest of its slice; at most the rest of its turn while another of its deadline waits.</summary>
    private long LengthOf(SedfVcpu record, int pcpu)
    {
        long left = record.Slice - record.Used;
        bool inTurns = _queues.Head(pcpu, (int)TimeKind.Reserved) is { } second && second.Deadline == record.Deadline;
        return inTurns ? Math.Min(left, record.TurnLeft) : left;
    }

    private SedfVcpu? Choose(int pcpu, out TimeKind kind, Nanoseconds now)
    {
        // Whoever has missed its deadline in the queue goes on to its next period; each at most once, as that lies ahead.
        while (_queues.Head(pcpu, (int)TimeKind.Reserved) is { } first)
        {
            kind = TimeKind.Reserved;
            if (first.Deadline > now)
                return first;
            Withdraw(first);
            File(first, now);
        }

        kind = TimeKind.Penalty;
        if (_queues.Head(pcpu, (int)TimeKind.Penalty) is { } lost)
            return lost;
        kind = TimeKind.Extra;
        return _queues.Head(pcpu, (int)TimeKind.Extra);
    }

    private void Dispatch(SedfVcpu record, TimeKind kind, int pcpu, Nanoseconds now)
    {
        Withdraw(record);
        if (kind != TimeKind.Reserved && record.Slice > 0)
            _waiting.Add(record, record.PeriodBegin.Value);
        if (kind == TimeKind.Extra)
            _extraServed[pcpu] = Int128.Max(_extraServed[pcpu], record.ExtraPass);
        record.RunsAs = kind;
        if (record.TurnLeft <= 0)
            record.TurnLeft = record.Slice;
        _pcpus.Run(pcpu, record, now);
    }

    /// <summary>Asks an idle CPU, or else the one that runs the last of those it precedes.</summary>
    private void Place(SedfVcpu record, TimeKind kind)
    {
        if (_pcpus.RequestIdle(record.Vcpu.Affinity))
            return;
        SedfVcpu? last = null;
        foreach (int pcpu in record.Group.Pcpus)
        {
            if (!_pcpus.IsRequested(pcpu) && _pcpus[pcpu] is { } running && record.Precedes(running, kind) && (last is null || last.Precedes(running, last.RunsAs)))
                last = running;
        }

        if (last is not null)
            _pcpus.Request(last.Pcpu);
    }

    private static void TakeParameters(SedfVcpu record)
    {
        SedfDomainOptions own = record.Vcpu.Domain.OptionsOr(Defaults);
        record.Weight = record.Vcpu.Domain.Weight;
        record.FullPeriod = own.Period.Value;
        record.FullSlice = Math.Min(own.Slice.Value, own.Period.Value);
        record.Latency = own.Latency;
        record.ExtraTime = own.ExtraTime || record.FullSlice == 0;
        RestorePeriod(record);
    }
}
