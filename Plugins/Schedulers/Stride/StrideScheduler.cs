using Tessera.Sdk.SchedulerParts;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling;

namespace Tessera.Plugins.Schedulers.Stride;

/// <summary>The options of <see cref="StrideScheduler"/>.</summary>
public sealed record StrideOptions
{
    [Option("How long a vCPU runs before the one with the least pass is chosen anew.", Min = "10us", Max = "1 s")]
    public Nanoseconds Quantum { get; init; } = Nanoseconds.FromMilliseconds(10);
}

/// <summary>
/// Stride scheduling: C. A. Waldspurger and W. E. Weihl, "Stride scheduling: deterministic proportional-share resource management"
/// (MIT/LCS/TM-528, 1995), with the dynamic operations of its section on joining, leaving and changing tickets.
/// </summary>
/// <remarks>
/// <para><b>Algorithm.</b> A vCPU has tickets (its weight), a stride = stride1 / tickets and a pass. The least pass runs for a quantum,
/// and pass grows by a stride for it, or by the used part of one. The global pass grows by stride1 / (all tickets) for each quantum of
/// CPU given out. Who sleeps leaves with remain = pass − global pass and joins again with pass = global pass + remain; a newcomer's
/// remain is one stride. A change of tickets leaves, scales remain by new stride / old stride, and joins.</para>
/// <para><b>Several CPUs.</b> The paper has one. Here all share one pass; each takes the least of those that may run on it. Affinities,
/// and weights that entitle to more than one CPU, let passes drift apart for good; so with several CPUs a vCPU that joins does not
/// start below where any of its CPUs serves, and remain is at most a stride either way.</para>
/// <para><b>Deviations.</b> Pass is kept times the quantum in nanoseconds and with 8 fraction bits, so that no stride is rounded to an
/// integer (the paper's strides are integers, coarse for many tickets). One that yields is passed over once. A wake does not preempt,
/// as in the paper.</para>
/// <para><b>Invariants.</b> A runnable vCPU is queued or runs. While one is queued, no CPU of its affinity idles unasked. On one CPU
/// the relative error of any two hogs is below one quantum.</para>
/// <para><b>Worst case.</b> Schedule O(g + log n), plus O(p) while CPUs idle; Wake, Sleep and Yield O(p + log n): n vCPUs, p CPUs, g
/// distinct affinities. A woken vCPU waits for the quanta of those with less pass, at most n − 1 of them when all have equal weight.
/// Nothing allocates after Add.</para>
/// </remarks>
[Plugin(
    "stride",
    PluginKind.Scheduler,
    "1.0.0",
    Summary = "Stride scheduling: proportional shares, exact to a quantum (Waldspurger and Weihl, 1995).",
    Options = typeof(StrideOptions))]
[SchedulerProperties(ShareErrorPercent = 3, StarvationBoundMs = 90, WakeLatencyBoundMs = 90)]
public sealed class StrideScheduler(StrideOptions options) : IScheduler
{
    /// <summary>The stride of a single ticket, as in the paper: large, so that strides of few tickets differ clearly.</summary>
    private const int Stride1Bits = 20;

    /// <summary>
    /// Fraction bits of a pass. No overflow: machine time is below 2^63 ns, so a pass is below 2^63 · 2^28 · CPUs = 2^107 for 2^16 CPUs,
    /// and is kept in 128 bits.
    /// </summary>
    private const int FractionBits = 8;

    private const int ScaleBits = Stride1Bits + FractionBits;

    /// <summary>Below this many nanoseconds (34 s) a charge fits 64-bit arithmetic.</summary>
    private const long Narrow = 1L << 35;

    private readonly long _quantum = options.Quantum.Value;
    private AffinityQueues<StrideVcpu> _queues = null!;
    private PcpuTable<StrideVcpu> _pcpus = null!;

    /// <summary>The greatest pass each CPU has served.</summary>
    private Int128[] _served = [];
    private Int128 _globalPass;
    private Nanoseconds _globalUpdated;

    /// <summary>The tickets of all runnable vCPUs.</summary>
    private long _tickets;

    public void Attach(ISchedulerMachine machine)
    {
        _queues = new(machine.PcpuCount, slots: 1);
        _pcpus = new(machine);
        _served = new Int128[machine.PcpuCount];
    }

    public void Add(SchedulableVcpu vcpu, Nanoseconds now)
    {
        StrideVcpu record = new(vcpu);
        record.Remain = Advance(_quantum, record.Weight);
        vcpu.PolicyData = record;
        _queues.Join(record);
    }

    public void Remove(SchedulableVcpu vcpu, Nanoseconds now)
    {
        StrideVcpu record = Of(vcpu);
        if (record.Runnable)
            Leave(record, now);
        _queues.Dequeue(record, slot: 0);
        _pcpus.Forget(record);
        _queues.Leave(record);
    }

    public void Wake(SchedulableVcpu vcpu, Nanoseconds now)
    {
        StrideVcpu record = Of(vcpu);
        Join(record, now);
        _queues.Enqueue(record, 0, record.Pass);
        _pcpus.RequestIdle(vcpu.Affinity);
    }

    public void Sleep(SchedulableVcpu vcpu, Nanoseconds now)
    {
        StrideVcpu record = Of(vcpu);
        Leave(record, now);
        _queues.Dequeue(record, slot: 0);
    }

    public void Yield(SchedulableVcpu vcpu, Nanoseconds now) => Of(vcpu).Yielded = true;

    public Decision Schedule(in SchedulingPoint point)
    {
        Nanoseconds now = point.Now;
        int pcpu = point.Pcpu.Index;
        UpdateGlobalPass(now);
        StrideVcpu? current = _pcpus.TakeOff(pcpu);
        if (current is not null)
        {
            current.Pass += Advance(current.TakeOpen(point.Ran), current.Weight);
            if (!current.Runnable)
                current = null;
        }

        StrideVcpu? next = _queues.Head(pcpu, slot: 0, out Int128 least);
        bool stays = current is not null && current.Vcpu.Affinity.Contains(point.Pcpu) && (next is null || (current.Pass <= least && !current.Yielded));
        if (stays)
        {
            next = current;
        }
        else
        {
            if (next is not null)
                _queues.Dequeue(next, slot: 0);
            if (current is not null)
                _queues.Enqueue(current, 0, current.Pass);
        }

        if (next is not null)
        {
            _pcpus.Run(pcpu, next, now);
            _served[pcpu] = Int128.Max(_served[pcpu], next.Pass);
        }

        _pcpus.RequestIdleFor(_queues, slot: 0, except: pcpu);
        return new(next?.Vcpu, options.Quantum);
    }

    public void Adjust(SchedulableVcpu vcpu, Nanoseconds now)
    {
        StrideVcpu record = Of(vcpu);
        bool runnable = record.Runnable;
        bool queued = record.Places[0] >= 0;
        if (runnable)
            Leave(record, now);
        _queues.Dequeue(record, slot: 0);
        _queues.Leave(record);

        // remain is CPU time owed or owing, in strides: the same time in the new ones.
        record.Remain = record.Remain * record.Weight / vcpu.Domain.Weight;
        record.Weight = vcpu.Domain.Weight;
        _queues.Join(record);
        if (runnable)
            Join(record, now);
        if (!queued)
            return;
        _queues.Enqueue(record, 0, record.Pass);
        _pcpus.RequestIdle(vcpu.Affinity);
    }

    public string Describe(SchedulableVcpu vcpu)
    {
        StrideVcpu record = Of(vcpu);
        string where = record.Pcpu >= 0 ? $"runs on p{record.Pcpu}" : record.Runnable ? "queued" : "asleep";
        Int128 ahead = record.Runnable ? record.Pass - _globalPass : record.Remain;
        return $"{where}, {record.Weight} tickets, pass {(double)ahead / (double)Advance(_quantum, record.Weight):+0.##;-0.##;0} strides from the global pass, affinity {vcpu.Affinity}";
    }

    private static StrideVcpu Of(SchedulableVcpu vcpu) => (StrideVcpu)vcpu.PolicyData!;

    /// <summary>How far CPU time moves a pass on.</summary>
    private static Int128 Advance(long cpuTime, long tickets) =>
        cpuTime < Narrow ? (Int128)((ulong)(cpuTime << ScaleBits) / (ulong)tickets) : ((Int128)cpuTime << ScaleBits) / tickets;

    private void UpdateGlobalPass(Nanoseconds now)
    {
        long elapsed = (now - _globalUpdated).Value;
        _globalUpdated = now;
        int busy = _pcpus.Count - _pcpus.IdleCount;
        if (elapsed > 0 && busy > 0 && _tickets > 0)
            _globalPass += ((Int128)elapsed * busy << ScaleBits) / _tickets;
    }

    private void Join(StrideVcpu record, Nanoseconds now)
    {
        UpdateGlobalPass(now);
        record.Pass = _globalPass + record.Remain;
        if (_pcpus.Count > 1)
        {
            foreach (int pcpu in record.Group.Pcpus)
                record.Pass = Int128.Max(record.Pass, _served[pcpu]);
        }

        record.Runnable = true;
        _tickets += record.Weight;
    }

    private void Leave(StrideVcpu record, Nanoseconds now)
    {
        UpdateGlobalPass(now);
        record.Pass += Advance(record.TakeOpenAt(now), record.Weight);
        record.Remain = record.Pass - _globalPass;
        if (_pcpus.Count > 1)
        {
            Int128 stride = Advance(_quantum, record.Weight);
            record.Remain = Int128.Clamp(record.Remain, -stride, stride);
        }

        record.Runnable = false;
        _tickets -= record.Weight;
    }

    private sealed class StrideVcpu(SchedulableVcpu vcpu) : VcpuRecord<StrideVcpu>(vcpu, heaps: 1)
    {
        public Int128 Pass;

        /// <summary>While it sleeps: its pass less the global pass when it left.</summary>
        public Int128 Remain;
    }
}
