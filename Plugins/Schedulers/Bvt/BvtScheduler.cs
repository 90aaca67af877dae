using Tessera.Sdk.SchedulerParts;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling;

namespace Tessera.Plugins.Schedulers.Bvt;

/// <summary>
/// Borrowed Virtual Time: K. J. Duda and D. R. Cheriton, "Borrowed-Virtual-Time (BVT) scheduling: supporting latency-sensitive
/// threads in a general-purpose scheduler" (SOSP 1999), with the parameters Xen gave it (xen/common/sched_bvt.c, to 2006).
/// </summary>
/// <remarks>
/// <para><b>Algorithm.</b> Each vCPU has an actual virtual time A that grows by its CPU time over its weight, charged in whole mcu.
/// The effective virtual time is E = A − W while it is warped, A otherwise; the least E runs. The running vCPU i is switched for j
/// when E_j ≤ E_i − C/w_i, so it runs C longer than strict order would have it; C is ignored when j just woke. The scheduler
/// virtual time SVT is the least A of all runnable ones; a waking vCPU gets A = max(A, SVT), so sleep saves nothing up. A waking
/// vCPU that may warp is warped; after CPU time L warped it is not, for the time U. Slice: (E_second − E_next)·w + C, the moment at
/// which the next vCPU has passed the second by C.</para>
/// <para><b>Several CPUs.</b> One virtual time for all of them. vCPUs of equal affinity share one queue (<see cref="AffinityGroup"/>);
/// each CPU takes the least E of the queues it belongs to. A woken vCPU takes an idle CPU, or else the one whose vCPU is furthest
/// behind in order. Weights that no number of CPUs can satisfy are capped (<see cref="WeightCap"/>). Where affinities overlap,
/// a waking vCPU's SVT is the greatest of its CPUs' local ones, so it cannot overrun the CPU that is ahead.</para>
/// <para><b>Deviations from the paper.</b> What is left below an mcu is carried over, not rounded up: rounding would charge short
/// runs more than long ones. L counts from one wake to the next, across preemptions (Xen starts it anew at each dispatch). A slice
/// is at most ten C, as Xen's for a lone vCPU: it bounds how old the accounts get. A vCPU that yields is passed over once. Virtual
/// time has 128 bits and never needs rebasing (<see cref="VirtualTime"/>). A change of weight, or of the cap, counts from the next charge on.</para>
/// <para><b>Invariants.</b> A never decreases, except that a change of affinity moves it into the new CPUs' virtual time. A queued vCPU
/// is in its group's heaps; a running one in none. While a vCPU is queued, no CPU of its affinity idles unrequested. On one CPU two
/// runnable, unwarped vCPUs differ in A by at most C/w plus an mcu each, beyond what L and W let the other borrow.</para>
/// <para><b>Worst case.</b> Schedule O(g + w + log n), Wake O(w + log n), Sleep O(log n): n vCPUs, g groups on the CPU, w distinct weights
/// among the affinity's (see <see cref="RunningIndex"/>); on few CPUs, or where affinities overlap, O(p) instead of O(w).
/// A woken vCPU i waits at most the sum over j of max(C + (E_i − E_j)·w_j, 0). Nothing allocates after Add.</para>
/// </remarks>
[SchedulerProperties(ShareErrorPercent = 1, StarvationBoundMs = 50, WakeLatencyBoundMs = 45)]
[Plugin(
    "bvt",
    PluginKind.Scheduler,
    "1.0.0",
    Summary = "Borrowed Virtual Time: weighted shares, low latency for those who wake, warp (SOSP 1999).",
    Options = typeof(BvtOptions),
    DomainOptions = typeof(BvtDomainOptions))]
public sealed partial class BvtScheduler : IScheduler
{
    /// <summary>The longest slice in units of C, from Xen: with nobody else to run, a wake ends the slice anyway.</summary>
    private const int LongestSliceAllowances = 10;

    private static readonly BvtDomainOptions NoWarp = new();

    private readonly long _mcu;
    private readonly Nanoseconds _allowance;
    private readonly List<AffinityGroup> _groups = [];
    private readonly VcpuHeap<BvtVcpu> _rewarps = new(BvtVcpu.ByRewarp);
    private ISchedulerMachine _machine = null!;
    private BvtVcpu?[] _running = [];

    /// <summary>Those that run nothing and were not asked to decide.</summary>
    private PcpuBits _idle = null!;

    /// <summary>Requested to reschedule and not come yet.</summary>
    private bool[] _requested = [];
    private Nanoseconds[] _until = [];
    private List<AffinityGroup>[] _groupsOf = [];
    private int _members;

    /// <summary>The SVT of a CPU on which nobody is runnable: no less than any SVT before.</summary>
    private Int128 _floor;

    public BvtScheduler(BvtOptions options)
    {
        if (options.ContextSwitchAllowance < options.MinimumChargingUnit)
        {
            throw new ArgumentException(
                $"The context-switch allowance ({options.ContextSwitchAllowance}) is shorter than the minimum charging unit ({options.MinimumChargingUnit}); it must be at least as long.",
                nameof(options));
        }

        _mcu = options.MinimumChargingUnit.Value;
        _allowance = options.ContextSwitchAllowance;
    }

    public void Attach(ISchedulerMachine machine)
    {
        _machine = machine;
        _running = new BvtVcpu?[machine.PcpuCount];
        _idle = new(machine.PcpuCount, Enumerable.Range(0, machine.PcpuCount));
        _requested = new bool[machine.PcpuCount];
        _until = new Nanoseconds[machine.PcpuCount];
        _groupsOf = [.. Enumerable.Range(0, machine.PcpuCount).Select(static _ => new List<AffinityGroup>())];
    }

    public void Add(SchedulableVcpu vcpu, Nanoseconds now)
    {
        BvtVcpu record = new(vcpu);
        vcpu.PolicyData = record;
        _rewarps.Reserve(++_members);
        TakeOptions(record);
        JoinGroup(record);
        record.Actual = SvtFor(record.Group, now);
    }

    public void Remove(SchedulableVcpu vcpu, Nanoseconds now)
    {
        BvtVcpu record = Of(vcpu);
        if (record.Pcpu >= 0)
            Charge(record, now - record.StintStart, now);
        Stop(record);
        if (record.Pcpu >= 0)
        {
            _running[record.Pcpu] = null;
            if (!_requested[record.Pcpu])
                _idle.Add(record.Pcpu);
        }

        _rewarps.Remove(record);
        LeaveGroup(record);
        _members--;
    }

    public void Wake(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Rewarp(now);
        BvtVcpu record = Of(vcpu);
        record.Actual = Int128.Max(record.Actual, SvtFor(record.Group, now));
        record.Runnable = true;
        record.JustWoke = true;
        record.Group.Woke(record);
        if (record.WarpOn && !record.Unwarping)
            StartWarp(record);
        record.Group.Enqueue(record);
        Place(record, now, fresh: true);
    }

    public void Sleep(SchedulableVcpu vcpu, Nanoseconds now)
    {
        BvtVcpu record = Of(vcpu);
        if (record.Pcpu >= 0)
            Charge(record, now - record.StintStart, now);
        Stop(record);
    }

    public void Yield(SchedulableVcpu vcpu, Nanoseconds now) => Of(vcpu).Yielded = true;

    public Decision Schedule(in SchedulingPoint point)
    {
        Nanoseconds now = point.Now;
        int pcpu = point.Pcpu.Index;

        // This CPU looks right now: nobody warped again need ask it.
        _requested[pcpu] = true;
        _idle.Remove(pcpu);
        BvtVcpu? current = _running[pcpu];
        current?.RunningClass?.Remove(current);
        Rewarp(now);
        _requested[pcpu] = false;
        _running[pcpu] = null;
        if (current is not null)
        {
            Charge(current, point.Ran, now);
            current.Pcpu = -1;
            if (!current.Runnable)
                current = null;
        }

        BvtVcpu? next = LeastEffective(pcpu);
        BvtVcpu? outgoing = null;
        if (current is not null && current.Vcpu.Affinity.Contains(point.Pcpu) && (next is null || !GivesWay(current, next)))
        {
            next = current;
        }
        else
        {
            next?.Group.Dequeue(next);
            outgoing = current;
            outgoing?.Group.Enqueue(outgoing);
        }

        if (current is not null)
            current.Yielded = false;
        Nanoseconds slice = next is null ? Nanoseconds.Zero : Dispatch(next, pcpu, now);
        if (outgoing is not null)
            Place(outgoing, now, fresh: false, except: pcpu);
        next?.RunningClass?.Add(next, preemptible: true);
        AskIdle(pcpu);
        if (next is null)
            _idle.Add(pcpu);
        if (_rewarps.Count > 0)
            _machine.RequestRescheduleAt(point.Pcpu, new((long)_rewarps.TopKey));
        return new(next?.Vcpu, slice);
    }

    public void Adjust(SchedulableVcpu vcpu, Nanoseconds now)
    {
        BvtVcpu record = Of(vcpu);
        bool queued = record.Queued;
        bool runnable = record.Runnable;
        if (record.Pcpu >= 0)
            Charge(record, now - record.StintStart, now);
        if (runnable)
            record.Group.Slept(record);
        record.Group.Dequeue(record);
        record.RunningClass?.Remove(record);

        // In no queue and not runnable, so that it does not count in the SVTs it is compared with.
        record.Runnable = false;
        int[] before = record.Group.Pcpus;
        Int128 lead = record.Actual - SvtFor(record.Group, now);
        LeaveGroup(record);
        TakeOptions(record);
        JoinGroup(record);

        // Other CPUs, another virtual time: it keeps its lead there, as far as an allowance.
        if (!record.Group.Pcpus.AsSpan().SequenceEqual(before))
            record.Actual = SvtFor(record.Group, now) + Int128.Clamp(lead, 0, VirtualTime.Advance(_allowance.Value, Weight8(record)));
        record.Runnable = runnable;
        if (runnable)
            record.Group.Woke(record);
        if (queued)
        {
            record.Group.Enqueue(record);
            Place(record, now, fresh: false);
        }
        else if (record.Pcpu >= 0)
        {
            if (runnable)
                record.RunningClass?.Add(record, preemptible: false);
            Request(record.Pcpu);
        }
    }

    public string Describe(SchedulableVcpu vcpu)
    {
        BvtVcpu record = Of(vcpu);
        Int128 ahead = (record.Actual - _floor) >> VirtualTime.TimeBits;
        string where = record.Pcpu >= 0 ? $"runs on p{record.Pcpu}" : record.Queued ? "queued" : "asleep";
        string warp = record.Warped ? $"warped by {record.WarpValue >> VirtualTime.TimeBits} ns" : record.Unwarping ? "unwarped at its limit" : "not warped";
        return $"{where}, A = {record.Actual >> VirtualTime.TimeBits} ns ({ahead:+0;-0;0} from the floor), {warp}, charged at weight {Weight8(record) / 256.0:0.##}, affinity {record.Vcpu.Affinity}";
    }

    private static BvtVcpu Of(SchedulableVcpu vcpu) => (BvtVcpu)vcpu.PolicyData!;
}
