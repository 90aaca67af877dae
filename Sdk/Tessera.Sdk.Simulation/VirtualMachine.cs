using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Sdk.Simulation;

/// <summary>
/// A machine in virtual time: an event loop around the scheduler core of the real machine, with physical CPUs that run, idle and
/// are kicked, and vCPUs whose behaviour is a <see cref="Workload"/>. Single-threaded, and the same input gives the same run to
/// the bit, however the run is cut into calls of <see cref="RunUntil"/>.
/// </summary>
/// <remarks>
/// Model. A physical CPU asks the core at the instant the dispatch says, when kicked, and when the vCPU's burst is over: no
/// interrupt is late, no instruction is slower for a cold cache. What a switch and a wake cost is spent on the physical CPU before
/// the vCPU's own work goes on (<see cref="VirtualMachineOptions"/>), and counts as the vCPU's CPU time, as it does on the real
/// machine. A decision itself takes no virtual time.
/// </remarks>
public sealed class VirtualMachine : ISchedulerHost
{
    private readonly EventQueue _events = new();
    private readonly Pcpu[] _pcpus;
    private readonly Dictionary<SchedulableVcpu, Vcpu> _vcpus = [];
    private readonly VirtualMachineOptions _options;

    /// <summary>Makes the machine, without vCPUs.</summary>
    /// <param name="policy">The scheduling policy.</param>
    /// <param name="options">The parameters.</param>
    /// <param name="fallback">Makes the policy that takes over when this one is ejected; by default a plain round robin.</param>
    /// <exception cref="ArgumentException">
    /// No physical CPU, or more than <see cref="VirtualMachineOptions.MaxPcpus"/>, or a topology of another number of them.
    /// </exception>
    public VirtualMachine(IScheduler policy, VirtualMachineOptions options, Func<IScheduler>? fallback = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(options.PcpuCount, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.PcpuCount, VirtualMachineOptions.MaxPcpus);
        _options = options;
        _pcpus = new Pcpu[options.PcpuCount];
        for (int index = 0; index < _pcpus.Length; index++)
            _pcpus[index] = new(new PcpuId(index));
        SchedulerCoreOptions core = new()
        {
            PcpuCount = options.PcpuCount,
            Topology = options.Topology,
            StarvationLimit = options.StarvationLimit,
            HostClock = options.HostClock,
        };
        Core = new(policy, options.PolicyName, fallback ?? (static () => new PlainScheduler()), core, this);
    }

    /// <summary>Makes the machine with nothing but a number of physical CPUs to say.</summary>
    /// <param name="policy">The scheduling policy.</param>
    /// <param name="pcpus">How many physical CPUs there are.</param>
    public VirtualMachine(IScheduler policy, int pcpus = 1)
        : this(policy, new VirtualMachineOptions { PcpuCount = pcpus })
    {
    }

    /// <summary>The scheduler core: accounts, ejections, pauses, parameter changes, live swaps.</summary>
    public SchedulerCore Core { get; }

    /// <summary>Virtual time.</summary>
    public Nanoseconds Now { get; private set; }

    /// <summary>Time physical CPUs spent on switches and wakes instead of on the vCPUs' own work.</summary>
    public Nanoseconds Overhead { get; private set; }

    /// <summary>Called after each decision with the physical CPU, what it does and until when it may.</summary>
    public Action<PcpuId, Dispatch>? Decided { get; set; }

    /// <summary>Called when a policy was ejected.</summary>
    public Action<Ejection>? Ejected { get; set; }

    /// <summary>A vCPU joins and begins its workload.</summary>
    /// <param name="domain">Its domain.</param>
    /// <param name="index">Its index in the domain.</param>
    /// <param name="workload">What it does; one object for each vCPU.</param>
    /// <param name="affinity">Where it may run; null for everywhere.</param>
    /// <param name="after">How long it is there and asleep before its workload begins.</param>
    /// <exception cref="InvalidOperationException">There are <see cref="VirtualMachineOptions.MaxVcpus"/> already.</exception>
    public SchedulableVcpu Start(
        SchedulableDomain domain, int index, Workload workload, CpuSet? affinity = null, Nanoseconds after = default)
    {
        if (_vcpus.Count >= VirtualMachineOptions.MaxVcpus)
            throw new InvalidOperationException($"A virtual machine has at most {VirtualMachineOptions.MaxVcpus} vCPUs.");
        SchedulableVcpu handle = new(domain, index, affinity);
        Core.Add(handle, Now);
        Vcpu vcpu = new(handle, workload);
        _vcpus.Add(handle, vcpu);
        if (after > Nanoseconds.Zero)
            Arm(vcpu, Now + after);
        else
            Begin(vcpu, Now);
        return handle;
    }

    /// <summary>A domain of one vCPU joins and begins its workload.</summary>
    /// <param name="domain">The domain's number.</param>
    /// <param name="workload">What it does; one object for each vCPU.</param>
    /// <param name="weight">Its share weight.</param>
    /// <param name="options">The policy's per-domain options; null for its defaults.</param>
    /// <param name="affinity">Where it may run; null for everywhere.</param>
    public SchedulableVcpu Start(int domain, Workload workload, int weight = 256, object? options = null, CpuSet? affinity = null) =>
        Start(new SchedulableDomain(new DomainId((ushort)domain), weight, options), 0, workload, affinity);

    /// <summary>A vCPU leaves for good. Its account stays readable.</summary>
    public void Stop(SchedulableVcpu vcpu)
    {
        if (_vcpus.Remove(vcpu, out Vcpu? stopped))
            stopped.Timer++;
        Core.Remove(vcpu, Now);
    }

    /// <summary>Gives a vCPU another workload, which is asked for its first step when the vCPU next runs, or now if it sleeps.</summary>
    public void Change(SchedulableVcpu vcpu, Workload workload)
    {
        Vcpu changed = _vcpus[vcpu];
        changed.Workload = workload;
        changed.Left = Nanoseconds.Zero;
        changed.BusyUntil = Nanoseconds.Zero;
        changed.Timer++;
        if (vcpu.State == RunState.Blocked)
            Begin(changed, Now);
        else if (vcpu.State == RunState.Running)
            Kick(vcpu.Pcpu);
    }

    /// <summary>Does something at an instant, before physical CPUs that have not been asked to decide yet decide.</summary>
    /// <param name="instant">When; now or later.</param>
    /// <param name="action">What.</param>
    public void At(Nanoseconds instant, Action action) => _events.Add(Math.Max(instant.Value, Now.Value), action, 0);

    /// <summary>Lets so much virtual time pass.</summary>
    public void RunFor(Nanoseconds length) => RunUntil(Now + length);

    /// <summary>Lets virtual time pass up to an instant; what is due at that instant happens.</summary>
    /// <exception cref="InvalidOperationException">The instant is past.</exception>
    public void RunUntil(Nanoseconds instant)
    {
        if (instant < Now)
            throw new InvalidOperationException($"The clock is at {Now} and does not go back to {instant}.");
        while (!_events.IsEmpty && _events.NextAt <= instant.Value)
        {
            SimulationEvent next = _events.Take();
            if (next.Target is Pcpu pcpu)
            {
                if (pcpu.Generation != next.Generation)
                    continue;
                Now = new(next.At);
                Decide(pcpu);
            }
            else if (next.Target is Vcpu vcpu)
            {
                if (vcpu.Timer != next.Generation)
                    continue;
                Now = new(next.At);
                Begin(vcpu, Now);
            }
            else
            {
                Now = new(next.At);
                ((Action)next.Target)();
            }
        }

        Now = instant;
    }

    /// <summary>The part of the CPU time of some vCPUs that one of them had, up to now.</summary>
    /// <param name="vcpu">Whose part.</param>
    /// <param name="all">All of them, itself included.</param>
    public double ShareOf(SchedulableVcpu vcpu, params IEnumerable<SchedulableVcpu> all) =>
        Core.AccountOf(vcpu, Now).CpuTime.Value / (double)all.Sum(other => Core.AccountOf(other, Now).CpuTime.Value);

    /// <summary>CPU time that one vCPU spent on switches and wakes instead of on its own work.</summary>
    public Nanoseconds OverheadOf(SchedulableVcpu vcpu) => _vcpus.TryGetValue(vcpu, out Vcpu? record) ? record.Spent : Nanoseconds.Zero;

    /// <inheritdoc/>
    void ISchedulerHost.Kick(PcpuId pcpu) => Kick(pcpu);

    /// <inheritdoc/>
    void ISchedulerHost.Shorten(PcpuId pcpu, Nanoseconds until) => Again(_pcpus[pcpu.Index], until);

    /// <inheritdoc/>
    void ISchedulerHost.PolicyEjected(Ejection ejection) => Ejected?.Invoke(ejection);

    private void Kick(PcpuId pcpu) => Again(_pcpus[pcpu.Index], Now);

    private void Again(Pcpu pcpu, Nanoseconds at)
    {
        if (at >= pcpu.Until && at > Now)
            return;
        pcpu.Until = at;
        _events.Add(Math.Max(at.Value, Now.Value), pcpu, pcpu.Generation);
    }

    private void Decide(Pcpu pcpu)
    {
        pcpu.Generation++;
        if (pcpu.Runs is { } ran)
            Settle(ran, Now - pcpu.Since);
        pcpu.Since = Now;
        Dispatch dispatch = Core.Schedule(pcpu.Id, Now);
        Decided?.Invoke(pcpu.Id, dispatch);
        pcpu.Until = dispatch.Until;
        if (dispatch.Vcpu is not { } handle)
        {
            pcpu.Runs = null;
        }
        else
        {
            Vcpu next = pcpu.Last?.Handle == handle ? pcpu.Last : _vcpus[handle];
            if (pcpu.Last != next)
                next.Overhead += _options.ContextSwitchCost;
            if (next.Woken)
            {
                next.Woken = false;
                next.Overhead += _options.WakeCost;
                next.Workload.WakeLatency.Record(Now + next.Overhead - next.DueAt);
            }

            pcpu.Last = next;
            pcpu.Runs = next;
            pcpu.Until = Nanoseconds.Min(pcpu.Until, Nanoseconds.Max(Now + next.Overhead + next.Left, next.BusyUntil));
        }

        if (pcpu.Until != Nanoseconds.Never)
            _events.Add(Math.Max(pcpu.Until.Value, Now.Value), pcpu, pcpu.Generation);
    }

    /// <summary>Books what a vCPU did on its physical CPU; when its burst is over, asks what it does next.</summary>
    private void Settle(Vcpu vcpu, Nanoseconds length)
    {
        Nanoseconds overhead = Nanoseconds.Min(vcpu.Overhead, length);
        vcpu.Overhead -= overhead;
        vcpu.Spent += overhead;
        Overhead += overhead;
        if (vcpu.Left != Nanoseconds.Never)
            vcpu.Left = Nanoseconds.Max(vcpu.Left - (length - overhead), Nanoseconds.Zero);
        if (vcpu.Left > Nanoseconds.Zero || vcpu.Overhead > Nanoseconds.Zero || Now < vcpu.BusyUntil || vcpu.Handle.State != RunState.Running)
            return;
        WorkloadStep step = vcpu.Workload.Next(Now);
        if (Demand(vcpu, step))
            return;
        Core.PrepareToSleep(vcpu.Handle);
        Core.Sleep(vcpu.Handle, Now);
        Arm(vcpu, step.Time);
    }

    /// <summary>A vCPU's sleep is over, or its workload begins.</summary>
    private void Begin(Vcpu vcpu, Nanoseconds due)
    {
        WorkloadStep step = vcpu.Workload.Next(Now);
        if (!Demand(vcpu, step))
        {
            Arm(vcpu, step.Time);
            return;
        }

        vcpu.Woken = true;
        vcpu.DueAt = due;
        Core.Wake(vcpu.Handle, Now);
    }

    /// <summary>Notes what a step wants of the CPU; false when it wants none.</summary>
    private static bool Demand(Vcpu vcpu, WorkloadStep step)
    {
        vcpu.Left = step.Kind == WorkloadStepKind.Run ? step.Time : Nanoseconds.Zero;
        vcpu.BusyUntil = step.Kind == WorkloadStepKind.RunUntil ? step.Time : Nanoseconds.Zero;
        return step.Kind != WorkloadStepKind.Sleep;
    }

    private void Arm(Vcpu vcpu, Nanoseconds at)
    {
        vcpu.Timer++;
        if (at != Nanoseconds.Never)
            _events.Add(Math.Max(at.Value, Now.Value), vcpu, vcpu.Timer);
    }

    private sealed class Pcpu(PcpuId id)
    {
        public readonly PcpuId Id = id;
        public Vcpu? Runs;

        /// <summary>Whose context is still loaded.</summary>
        public Vcpu? Last;

        public Nanoseconds Since;
        public Nanoseconds Until = Nanoseconds.Never;

        /// <summary>Grows with each decision: events for an earlier one are void.</summary>
        public long Generation;
    }

    private sealed class Vcpu(SchedulableVcpu handle, Workload workload)
    {
        public readonly SchedulableVcpu Handle = handle;
        public Workload Workload = workload;

        /// <summary>CPU time left in this burst.</summary>
        public Nanoseconds Left;

        /// <summary>It is busy until this instant whatever CPU time it gets; zero when its burst is <see cref="Left"/>.</summary>
        public Nanoseconds BusyUntil;

        /// <summary>Switch and wake costs still to spend.</summary>
        public Nanoseconds Overhead;

        /// <summary>Switch and wake costs spent.</summary>
        public Nanoseconds Spent;

        public bool Woken;
        public Nanoseconds DueAt;

        /// <summary>Grows when the timer is set anew: earlier expiries are void.</summary>
        public long Timer;
    }
}
