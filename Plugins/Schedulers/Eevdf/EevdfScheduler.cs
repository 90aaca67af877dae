using Tessera.Sdk.SchedulerParts;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling;

namespace Tessera.Plugins.Schedulers.Eevdf;

/// <summary>
/// Earliest Eligible Virtual Deadline First: I. Stoica and H. Abdel-Wahab, "Earliest eligible virtual deadline first: a flexible and
/// accurate mechanism for proportional share resource allocation" (Old Dominion University, TR-95-22, 1995), on a runqueue for each
/// CPU, as Linux has it since 6.6 (kernel/sched/fair.c).
/// </summary>
/// <remarks>
/// <para><b>Algorithm.</b> Virtual time V grows by CPU time over the weight of all who compete. A vCPU asks for CPU time in requests of
/// length r. A request is eligible from ve, the virtual time at which the vCPU is due no less than it has had, and has the deadline
/// vd = ve + r/w. The earliest deadline of the eligible requests runs. Lag, what a vCPU is due less what it has had, is kept over sleep
/// (the paper's first strategy): who slept joins at V − lag/w.</para>
/// <para><b>Several CPUs.</b> The paper has one. Each CPU has its own V. A vCPU that wakes goes to an idle CPU, else to the one with the
/// least weight; one that loses its CPU moves when that evens the weights out; an idle CPU takes from the heaviest queue that has
/// something for it. Lag goes along. Shares follow the weights on each CPU; between CPUs only as far as whole vCPUs can be evened out.</para>
/// <para><b>Deviations.</b> Lag over sleep is limited to one request either way (Linux limits it too), and what a sleeper owes it pays as V
/// passes the service it had, where the paper keeps the debt for ever (Linux lets it compete on until it is even). A decision is made after each
/// quantum, the machine's request length, even within a longer request. One that yields is passed over once.</para>
/// <para><b>Invariants.</b> While nobody comes or goes, −r &lt; lag &lt; max(r, q) for each vCPU of a CPU (theorem 1 of the paper), q the
/// quantum, r the longest request. While a vCPU is queued, no CPU of its affinity idles unasked.</para>
/// <para><b>Worst case.</b> Schedule, Wake and Sleep O(p + log n) for p CPUs and n vCPUs; an idle CPU that looks for work among n vCPUs
/// that may not run on it, O(n). Nothing allocates after Add. A woken vCPU with no lag runs within a quantum and the requests with
/// earlier deadlines, which are at most the sum of the others' requests.</para>
/// </remarks>
[Plugin(
    "eevdf",
    PluginKind.Scheduler,
    "1.0.0",
    Summary = "Earliest eligible virtual deadline first: shares by weight with bounded lag (Stoica and Abdel-Wahab, 1995; Linux).",
    Options = typeof(EevdfOptions),
    DomainOptions = typeof(EevdfDomainOptions))]
[SchedulerProperties(ShareErrorPercent = 3, StarvationBoundMs = 40, WakeLatencyBoundMs = 30)]
public sealed class EevdfScheduler(EevdfOptions options) : IScheduler
{
    private static readonly EevdfDomainOptions Defaults = new();

    private readonly long _quantum = options.RequestLength.Value;
    private PcpuTable<EevdfVcpu> _pcpus = null!;
    private RunQueue[] _queues = [];
    private int _members;

    public void Attach(ISchedulerMachine machine)
    {
        _pcpus = new(machine);
        _queues = [.. Enumerable.Range(0, machine.PcpuCount).Select(static pcpu => new RunQueue(pcpu))];
    }

    public void Add(SchedulableVcpu vcpu, Nanoseconds now)
    {
        EevdfVcpu record = new(vcpu);
        TakeParameters(record);
        vcpu.PolicyData = record;
        _members++;
        foreach (RunQueue queue in _queues)
            queue.Reserve(_members);
    }

    public void Remove(SchedulableVcpu vcpu, Nanoseconds now)
    {
        EevdfVcpu record = Of(vcpu);
        if (record.Runnable)
            Stop(record, now);
        _pcpus.Forget(record);
        _members--;
    }

    public void Wake(SchedulableVcpu vcpu, Nanoseconds now)
    {
        EevdfVcpu record = Of(vcpu);
        record.Runnable = true;
        ChargeRunning(_queues[record.Home], now);
        _queues[record.Home].PayDebt(record);
        Place(record, now);
    }

    public void Sleep(SchedulableVcpu vcpu, Nanoseconds now) => Stop(Of(vcpu), now);

    public void Yield(SchedulableVcpu vcpu, Nanoseconds now) => Of(vcpu).Yielded = true;

    public Decision Schedule(in SchedulingPoint point)
    {
        Nanoseconds now = point.Now;
        RunQueue queue = _queues[point.Pcpu.Index];
        EevdfVcpu? current = _pcpus.TakeOff(queue.Pcpu);
        if (current is { Runnable: false })
            current = null;
        if (current is not null)
            queue.Charge(current, current.TakeOpen(point.Ran));
        if (current is not null && !current.Vcpu.Affinity.Contains(point.Pcpu))
        {
            queue.Leave(current);
            Place(current, now);
            current = null;
        }

        queue.Settle();
        EevdfVcpu? next = Choose(queue, current);
        if (next is null && TakeFromAnother(queue, now) is { } taken)
            next = taken;
        if (next is not null && next != current)
            queue.Dequeue(next);
        if (next is not null)
            _pcpus.Run(queue.Pcpu, next, now);
        if (current is not null && current != next)
            PutBack(current, queue, now);
        if (queue.Movable > 0 && _pcpus.IdleCount > 0)
            AskIdle(queue);
        return next is null ? Decision.Idle : new(next.Vcpu, new(Math.Min(next.Request - next.Used, _quantum)));
    }

    public void Adjust(SchedulableVcpu vcpu, Nanoseconds now)
    {
        EevdfVcpu record = Of(vcpu);
        bool queued = record.Queued;
        if (record.Runnable)
            Stop(record, now);
        bool running = record.Pcpu >= 0;
        TakeParameters(record);
        if (!queued && !running)
            return;
        record.Runnable = true;
        if (queued)
            Place(record, now);
        else
            _queues[record.Pcpu].Join(record);
    }

    public string Describe(SchedulableVcpu vcpu)
    {
        EevdfVcpu record = Of(vcpu);
        RunQueue queue = _queues[record.Home];
        string where = record.Pcpu >= 0 ? $"runs on p{record.Pcpu}" : record.Runnable ? $"queued on p{record.Home}" : "asleep";
        Int128 lag = record.Runnable ? (queue.VirtualTime - record.Served) * record.Weight : record.Lag;
        Int128 left = (record.Deadline - queue.VirtualTime) * record.Weight >> RunQueue.ScaleBits;
        return $"{where}, lag {lag >> RunQueue.ScaleBits:+0;-0;0} ns, request {record.Request} ns, deadline in {left} ns of its service, affinity {vcpu.Affinity}";
    }

    private static EevdfVcpu Of(SchedulableVcpu vcpu) => (EevdfVcpu)vcpu.PolicyData!;

    private static EevdfVcpu? Choose(RunQueue queue, EevdfVcpu? current)
    {
        EevdfVcpu? first = queue.EarliestEligible();
        if (current is null)
            return first ?? queue.NextEligible;
        if (current.Yielded)
            return first ?? queue.NextEligible ?? current;
        if (first is null)
            return current;
        return current.EligibleAt <= queue.VirtualTime && current.Deadline <= first.Deadline ? current : first;
    }

    /// <summary>Charges what runs on a CPU up to now, so that its virtual time is exact.</summary>
    private void ChargeRunning(RunQueue queue, Nanoseconds now)
    {
        if (_pcpus[queue.Pcpu] is { Runnable: true } running)
            queue.Charge(running, running.TakeOpenAt(now));
        queue.Settle();
    }

    /// <summary>Finds a CPU for a vCPU that is in no queue, and asks it to decide if that would change anything.</summary>
    private void Place(EevdfVcpu record, Nanoseconds now)
    {
        RunQueue? best = null;
        bool bestIdle = false;
        for (int pcpu = 0; pcpu < _queues.Length; pcpu++)
        {
            if (!record.Vcpu.Affinity.Contains(new PcpuId(pcpu)))
                continue;
            bool idle = _pcpus[pcpu] is null && !_pcpus.IsRequested(pcpu);
            bool better = best is null || (idle != bestIdle ? idle : _queues[pcpu].Weight < best.Weight);
            if (better)
                (best, bestIdle) = (_queues[pcpu], idle);
        }

        // The core refuses an affinity without a CPU of this machine.
        RunQueue queue = best!;
        ChargeRunning(queue, now);
        queue.Join(record);
        queue.Enqueue(record);
        if (_pcpus[queue.Pcpu] is not { } running || (record.EligibleAt <= queue.VirtualTime && record.Deadline < running.Deadline))
            _pcpus.Request(queue.Pcpu);
    }

    /// <summary>A vCPU that lost its CPU queues here, or where it evens the weights out.</summary>
    private void PutBack(EevdfVcpu record, RunQueue queue, Nanoseconds now)
    {
        RunQueue lightest = queue;
        if (record.Movable)
        {
            foreach (RunQueue other in _queues)
            {
                if (other.Weight < lightest.Weight && record.Vcpu.Affinity.Contains(new PcpuId(other.Pcpu)))
                    lightest = other;
            }
        }

        if (lightest.Weight + record.Weight >= queue.Weight)
        {
            queue.Enqueue(record);
            return;
        }

        queue.Leave(record);
        Place(record, now);
    }

    private EevdfVcpu? TakeFromAnother(RunQueue queue, Nanoseconds now)
    {
        EevdfVcpu? found = null;
        RunQueue? from = null;
        foreach (RunQueue other in _queues)
        {
            if (other != queue && (from is null || other.Weight > from.Weight) && other.FindFor(new PcpuId(queue.Pcpu)) is { } candidate)
                (found, from) = (candidate, other);
        }

        if (found is null)
            return null;
        ChargeRunning(from!, now);
        from!.Dequeue(found);
        from.Leave(found);
        queue.Join(found);
        queue.Enqueue(found);
        return found;
    }

    private void AskIdle(RunQueue queue)
    {
        for (int pcpu = 0; pcpu < _pcpus.Count; pcpu++)
        {
            if (_pcpus[pcpu] is null && pcpu != queue.Pcpu && !_pcpus.IsRequested(pcpu) && queue.FindFor(new PcpuId(pcpu)) is not null)
                _pcpus.Request(pcpu);
        }
    }

    private void Stop(EevdfVcpu record, Nanoseconds now)
    {
        RunQueue queue = _queues[record.Home];
        if (record.Queued)
            queue.Dequeue(record);
        ChargeRunning(queue, now);
        queue.Leave(record);
        record.Runnable = false;
    }

    private void TakeParameters(EevdfVcpu record)
    {
        EevdfDomainOptions own = record.Vcpu.Domain.OptionsOr(Defaults);
        record.Weight = record.Vcpu.Domain.Weight;
        record.Request = own.RequestLength > Nanoseconds.Zero ? own.RequestLength.Value : _quantum;
        int allowed = 0;
        for (int pcpu = 0; pcpu < _pcpus.Count; pcpu++)
            allowed += record.Vcpu.Affinity.Contains(new PcpuId(pcpu)) ? 1 : 0;
        record.Movable = allowed > 1;
    }
}
