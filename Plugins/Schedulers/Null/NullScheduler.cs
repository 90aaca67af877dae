using Tessera.Sdk;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling;

namespace Tessera.Plugins.Schedulers.Null;

/// <summary>
/// Xen's null scheduler (xen/common/sched/null.c, D. Faggioli, since Xen 4.9): each vCPU has a physical CPU of its own, and nothing is
/// ever scheduled.
/// </summary>
/// <remarks>
/// <para><b>Algorithm.</b> A vCPU that joins is assigned the first free CPU of its affinity and keeps it, awake or asleep, until it
/// leaves or its affinity no longer has that CPU. One for which no CPU is free waits in the wait queue and does not run. A CPU that
/// becomes free goes to the first in the wait queue whose affinity has it. No timer, no preemption, no accounts; weights mean nothing.</para>
/// <para><b>Deviations.</b> Xen prefers CPUs of the soft affinity; there is only one affinity here.</para>
/// <para><b>Invariants.</b> At most one vCPU to a CPU and one CPU to a vCPU. While a vCPU waits, no CPU of its affinity is free. Not
/// work-conserving: a CPU idles while its vCPU sleeps, whoever waits.</para>
/// <para><b>Worst case.</b> Schedule, Wake and Sleep O(1); Add, Remove and Adjust O(CPUs + waiting). A vCPU in the wait queue waits for
/// ever: for more vCPUs than CPUs this is the wrong policy, and the core's watchdog will say so.</para>
/// </remarks>
[Plugin("null", PluginKind.Scheduler, "1.0.0", Summary = "One vCPU to a CPU, pinned, no scheduling at all (Xen's null).")]
[SchedulerProperties(WorkConserving = false, VcpusPerPcpu = 1)]
public sealed class NullScheduler : IScheduler
{
    private readonly LinkedList<NullVcpu> _waiting = new();
    private ISchedulerMachine _machine = null!;
    private NullVcpu?[] _assigned = [];

    /// <summary>What runs where: differs from the assignment while a changed one takes effect.</summary>
    private NullVcpu?[] _running = [];

    public void Attach(ISchedulerMachine machine)
    {
        _machine = machine;
        _assigned = new NullVcpu?[machine.PcpuCount];
        _running = new NullVcpu?[machine.PcpuCount];
    }

    public void Add(SchedulableVcpu vcpu, Nanoseconds now)
    {
        NullVcpu record = new(vcpu);
        vcpu.PolicyData = record;
        Assign(record);
    }

    public void Remove(SchedulableVcpu vcpu, Nanoseconds now)
    {
        NullVcpu record = Of(vcpu);
        record.Runnable = false;
        if (record.RunsOn >= 0)
            _running[record.RunsOn] = null;
        record.RunsOn = -1;
        if (record.Place.List is not null)
            _waiting.Remove(record.Place);
        Free(record);
    }

    public void Wake(SchedulableVcpu vcpu, Nanoseconds now)
    {
        NullVcpu record = Of(vcpu);
        record.Runnable = true;
        Ask(record.Pcpu);
    }

    public void Sleep(SchedulableVcpu vcpu, Nanoseconds now) => Of(vcpu).Runnable = false;

    public Decision Schedule(in SchedulingPoint point)
    {
        int pcpu = point.Pcpu.Index;
        if (_running[pcpu] is { } current)
        {
            _running[pcpu] = null;
            current.RunsOn = -1;
            if (current.Pcpu != pcpu)
                Ask(current.Pcpu);
        }

        // One whose assignment changed may still be on its old CPU, which asks this one again when it lets go.
        if (_assigned[pcpu] is not { Runnable: true, RunsOn: < 0 } next)
            return Decision.Idle;
        _running[pcpu] = next;
        next.RunsOn = pcpu;
        return new(next.Vcpu, Nanoseconds.Never);
    }

    public void Adjust(SchedulableVcpu vcpu, Nanoseconds now)
    {
        NullVcpu record = Of(vcpu);
        if (record.Pcpu >= 0 && vcpu.Affinity.Contains(new PcpuId(record.Pcpu)))
            return;
        if (record.Place.List is not null)
            _waiting.Remove(record.Place);
        Free(record);
        Assign(record);
    }

    public string Describe(SchedulableVcpu vcpu)
    {
        NullVcpu record = Of(vcpu);
        string where = record.Pcpu >= 0 ? $"assigned p{record.Pcpu}" : $"waits for a CPU of its own, with {_waiting.Count - 1} others";
        return $"{where}, {(record.Runnable ? "awake" : "asleep")}, affinity {vcpu.Affinity}";
    }

    private static NullVcpu Of(SchedulableVcpu vcpu) => (NullVcpu)vcpu.PolicyData!;

    private void Assign(NullVcpu record)
    {
        for (int pcpu = 0; pcpu < _assigned.Length; pcpu++)
        {
            if (_assigned[pcpu] is null && record.Vcpu.Affinity.Contains(new PcpuId(pcpu)))
            {
                Give(pcpu, record);
                return;
            }
        }

        _waiting.AddLast(record.Place);
    }

    /// <summary>Takes a vCPU's CPU away, and gives it to the first that waits for it.</summary>
    private void Free(NullVcpu record)
    {
        int pcpu = record.Pcpu;
        if (pcpu < 0)
            return;
        _assigned[pcpu] = null;
        record.Pcpu = -1;
        for (LinkedListNode<NullVcpu>? place = _waiting.First; place is not null; place = place.Next)
        {
            if (!place.Value.Vcpu.Affinity.Contains(new PcpuId(pcpu)))
                continue;
            _waiting.Remove(place);
            Give(pcpu, place.Value);
            return;
        }

        Ask(pcpu);
    }

    private void Give(int pcpu, NullVcpu record)
    {
        _assigned[pcpu] = record;
        record.Pcpu = pcpu;
        Ask(pcpu);
    }

    private void Ask(int pcpu)
    {
        if (pcpu >= 0)
            _machine.RequestReschedule(new PcpuId(pcpu));
    }

    private sealed class NullVcpu
    {
        public readonly SchedulableVcpu Vcpu;

        /// <summary>Its place in the wait queue.</summary>
        public readonly LinkedListNode<NullVcpu> Place;

        public NullVcpu(SchedulableVcpu vcpu)
        {
            Vcpu = vcpu;
            Place = new(this);
        }

        /// <summary>The CPU assigned to it, or -1.</summary>
        public int Pcpu { get; set; } = -1;

        /// <summary>The CPU it runs on, or -1.</summary>
        public int RunsOn { get; set; } = -1;

        public bool Runnable { get; set; }
    }
}
