using Tessera.Sdk.SchedulerParts;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling;

namespace Tessera.Plugins.Schedulers.Rtds;

/// <summary>
/// Xen's real-time deferrable server scheduler (xen/common/sched/rt.c, S. Xi, M. Xu and others, since Xen 4.5), from RT-Xen: S. Xi, M. Xu,
/// C. Lu, L. Phan, C. Gill, O. Sokolsky and I. Lee, "Real-time multi-core virtual machine scheduling in Xen" (EMSOFT 2014).
/// </summary>
/// <remarks>
/// <para><b>Algorithm.</b> Each vCPU is a server with a budget in each period. Running uses the budget; sleep keeps what is left of it for
/// the rest of the period (deferrable); at the period's end the rest is lost and the budget is full again. The earliest deadlines, the
/// ends of the periods, run, on all CPUs together: preemptive global EDF. One whose budget is used up waits for its replenishment, or with
/// extra time goes on at the next lower level: it gets its budget anew, and runs after all of the levels above.</para>
/// <para><b>Deviations.</b> Of equal deadlines the one that ran longest ago goes first, so that servers of equal period take turns in an
/// overload (in Xen some would starve; like Xen's, this one admits whatever it is asked to). A turn is a budget's worth of CPU time, also when a
/// period ends in it: until then the running one goes before those of its deadline, and then after them. A vCPU's first period begins when it first
/// wakes, not on a grid. One that yields is passed over once. Weights mean nothing.</para>
/// <para><b>Invariants.</b> Without extra time a vCPU runs at most its budget in a period, and as a deferrable server at most two budgets
/// back to back. The running vCPUs precede the queued ones that may run in their place, or a CPU has been asked. With extra time, the
/// default, it is work-conserving; without, a CPU idles while depleted vCPUs wait.</para>
/// <para><b>Guarantee.</b> On one CPU every awake vCPU gets its budget in each period when budgets over periods add up to 1 at most (EDF's
/// utilisation bound) and nobody sleeps; on m CPUs when they add up to m − (m − 1)·u at most, u the greatest of them (Goossens, Funk
/// and Baruah, 2003).</para>
/// <para><b>Replenishment.</b> A server that waits with budget when its period ends has a later deadline and a full budget from then on, and its place
/// among those of its period is the same: nothing is done for it before it is looked at (<see cref="PhaseTree"/>). Only those that ran in the period
/// are in the replenishment queue, so an overload, in which many never run, costs nothing.</para>
/// <para><b>Worst case.</b> Schedule and Wake O(p + g + log n), plus O(log n) for each replenishment that is due; Sleep O(log n): g pairs of affinity and
/// period on the CPU. Nothing allocates after Add, except when a changed period begins.</para>
/// </remarks>
[Plugin(
    "rtds",
    PluginKind.Scheduler,
    "1.0.0",
    Summary = "Xen's real-time deferrable servers: a budget in each period, global EDF.",
    DomainOptions = typeof(RtdsDomainOptions))]
[SchedulerProperties(StarvationBoundMs = 20, PeriodOption = nameof(RtdsDomainOptions.Period), SliceOption = nameof(RtdsDomainOptions.Budget), VcpusPerPcpu = 2, DeadlineUtilisation = 1)]
public sealed class RtdsScheduler : IScheduler
{
    private static readonly RtdsDomainOptions Defaults = new();

    private readonly VcpuHeap<RtdsVcpu> _replenishments = new(RtdsVcpu.Replenishment);
    private PolicyTimer _timer = null!;
    private ServerQueues _queues = null!;
    private PcpuTable<RtdsVcpu> _pcpus = null!;
    private int _members;

    public void Attach(ISchedulerMachine machine)
    {
        _timer = new(machine);
        _queues = new(machine.PcpuCount);
        _pcpus = new(machine);
    }

    public void Add(SchedulableVcpu vcpu, Nanoseconds now)
    {
        RtdsVcpu record = new(vcpu);
        vcpu.PolicyData = record;
        TakeParameters(record);
        _queues.Join(record);
        _replenishments.Reserve(++_members);
    }

    public void Remove(SchedulableVcpu vcpu, Nanoseconds now)
    {
        RtdsVcpu record = Of(vcpu);
        record.Runnable = false;
        _queues.Dequeue(record);
        _replenishments.Remove(record);
        _pcpus.Forget(record);
        _queues.Leave(record);
        _members--;
    }

    public void Wake(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Replenish(now);
        RtdsVcpu record = Of(vcpu);
        record.Runnable = true;
        if (!record.HasPeriod || record.Deadline <= now)
            BeginPeriod(record, now);
        if (!record.Depleted)
        {
            _queues.Enqueue(record);
            Place(record);
        }

        Watch(record);
        _timer.NotLaterThan(NextReplenishment);
    }

    public void Sleep(SchedulableVcpu vcpu, Nanoseconds now)
    {
        RtdsVcpu record = Of(vcpu);
        record.Runnable = false;
        _queues.Dequeue(record);
        _replenishments.Remove(record);
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
            Burn(running, running.TakeOpen(point.Ran));
            running.LastRan = now;
        }

        Replenish(now);
        RtdsVcpu? current = _pcpus.TakeOff(pcpu);
        if (current is not null)
            Watch(current);
        if (current is { Runnable: false } or { Depleted: true })
            current = null;
        RtdsVcpu? next = _queues.Head(pcpu, now);
        if (current is not null && current.Vcpu.Affinity.Contains(point.Pcpu) && (next is null || !(current.Yielded || next.GoesBefore(current))))
        {
            next = current;
            current = null;
        }
        else if (next is not null)
        {
            _queues.Dequeue(next);
        }

        if (next is not null)
        {
            if (next.TurnLeft <= 0)
                next.TurnLeft = next.Budget;
            _pcpus.Run(pcpu, next, now);
            Watch(next);
        }

        if (current is not null)
        {
            current.Yielded = false;
            _queues.Enqueue(current);
            Place(current);
        }

        RequestIdle(pcpu, now);
        _timer.EndDecision(pcpu, NextReplenishment);
        if (next is null)
            return Decision.Idle;
        bool inTurns = _queues.Head(pcpu, now) is { } second && second.Ties(next);
        return new(next.Vcpu, new(inTurns ? Math.Min(next.Left, next.TurnLeft) : next.Left));
    }

    public void Adjust(SchedulableVcpu vcpu, Nanoseconds now)
    {
        RtdsVcpu record = Of(vcpu);
        Burn(record, record.TakeOpenAt(now));
        bool ready = record.Runnable && record.Pcpu < 0;
        _queues.Dequeue(record);
        if (ready && record.Deadline <= now)
            BeginPeriod(record, now);
        _queues.Leave(record);
        long inForce = record.PeriodInForce;
        TakeParameters(record);
        long next = record.Period;

        // New parameters count from the next period on; only a budget that has shrunk is cut at once, and extra time begins or ends at once.
        if (record.HasPeriod)
            record.Period = inForce;
        _queues.Join(record);
        record.Period = next;
        record.Left = Math.Min(record.Left, record.Budget);
        record.TurnLeft = Math.Min(record.TurnLeft, record.Budget);
        if (record.Depleted && record.ExtraTime && record.HasPeriod)
            ToNextLevel(record);
        if (record.Level > 0 && !record.ExtraTime)
            record.Left = 0;
        if (ready && !record.Depleted)
        {
            _queues.Enqueue(record);
            Place(record);
        }
        else if (record.Pcpu >= 0)
        {
            _pcpus.Request(record.Pcpu);
        }

        Watch(record);
        _timer.NotLaterThan(NextReplenishment);
    }

    /// <summary>Extra time goes by levels, a budget to each in a period: in proportion to the budgets over their periods.</summary>
    public Entitlement EntitlementOf(SchedulableVcpu vcpu)
    {
        RtdsVcpu record = Of(vcpu);
        double reserved = record.Budget / (double)record.Period;
        return record.ExtraTime ? new(reserved, reserved, Limit: 1, new(record.Period)) : new(Weight: 0, reserved, reserved, new(record.Period));
    }

    public string Describe(SchedulableVcpu vcpu)
    {
        RtdsVcpu record = Of(vcpu);
        string where = record.Pcpu >= 0 ? $"runs on p{record.Pcpu}" : !record.Runnable ? "asleep" : record.Depleted ? "depleted" : "queued";
        return $"{where}, {record.Left} ns left of {new Nanoseconds(record.Budget)} in {new Nanoseconds(record.Period)}, deadline {record.Deadline}, level {record.Level}, affinity {vcpu.Affinity}";
    }

    private static RtdsVcpu Of(SchedulableVcpu vcpu) => (RtdsVcpu)vcpu.PolicyData!;

    private Nanoseconds NextReplenishment => _replenishments.Count > 0 ? new((long)_replenishments.TopKey) : Nanoseconds.Never;

    /// <summary>Charges its budget; at its end it is depleted, or one level lower.</summary>
    private static void Burn(RtdsVcpu record, long ran)
    {
        if (ran == 0)
            return;
        record.Left = Math.Max(0, record.Left - ran);
        record.TurnLeft -= ran;
        if (record.Depleted && record.ExtraTime)
            ToNextLevel(record);
    }

    private static void ToNextLevel(RtdsVcpu record)
    {
        record.Level++;
        record.Left = record.Budget;
    }

    /// <summary>Moves on to the period that contains this instant. It is in no queue.</summary>
    private void BeginPeriod(RtdsVcpu record, Nanoseconds now)
    {
        record.BeginPeriod(now);
        if (record.PeriodInForce != record.Period)
            _queues.ChangePeriod(record);
    }

    /// <summary>
    /// Notes when the period of a server ends, if that is a matter for a decision: while it runs, waits for budget or in extra time, or is about to
    /// have another period. Who waits with budget goes on to wait with budget.
    /// </summary>
    private void Watch(RtdsVcpu record)
    {
        _replenishments.Remove(record);
        if (record.Runnable && (record.Pcpu >= 0 || record.Depleted || record.Level > 0 || record.PeriodInForce != record.Period))
            _replenishments.Add(record, record.Deadline.Value);
    }

    /// <summary>Gives their budgets to all whose period is over and who did not wait with budget.</summary>
    private void Replenish(Nanoseconds now)
    {
        while (_replenishments.Top is { } record && _replenishments.TopKey <= now.Value)
        {
            Burn(record, record.TakeOpenAt(now));
            _queues.Dequeue(record);
            BeginPeriod(record, now);
            Watch(record);
            if (record.Pcpu < 0)
            {
                _queues.Enqueue(record);
                Place(record);
            }
            else if (_queues.Head(record.Pcpu, now) is { } head && head.GoesBefore(record))
            {
                _pcpus.Request(record.Pcpu);
            }
        }
    }

    /// <summary>Asks every idle CPU for which somebody waits: after a decision took what another was asked for.</summary>
    private void RequestIdle(int except, Nanoseconds now)
    {
        if (_queues.Count == 0 || _pcpus.IdleCount == 0)
            return;
        for (int pcpu = 0; pcpu < _pcpus.Count; pcpu++)
        {
            if (pcpu != except && _pcpus[pcpu] is null && !_pcpus.IsRequested(pcpu) && _queues.Head(pcpu, now) is not null)
                _pcpus.Request(pcpu);
        }
    }

    /// <summary>Asks an idle CPU, or else the one that runs the last of those it precedes.</summary>
    private void Place(RtdsVcpu record)
    {
        if (_pcpus.RequestIdle(record.Vcpu.Affinity))
            return;
        RtdsVcpu? last = null;
        foreach (int pcpu in record.Servers.Pcpus)
        {
            if (!_pcpus.IsRequested(pcpu) && _pcpus[pcpu] is { } running && record.GoesBefore(running) && (last is null || last.Precedes(running)))
                last = running;
        }

        if (last is not null)
            _pcpus.Request(last.Pcpu);
    }

    private static void TakeParameters(RtdsVcpu record)
    {
        RtdsDomainOptions own = record.Vcpu.Domain.OptionsOr(Defaults);
        record.Period = own.Period.Value;
        record.Budget = Math.Min(own.Budget.Value, own.Period.Value);
        record.ExtraTime = own.ExtraTime;
    }
}
