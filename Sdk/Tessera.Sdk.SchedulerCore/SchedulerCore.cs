namespace Tessera.Sdk.Scheduling.Core;

/// <summary>
/// The one place that knows who runs where: keeps the run states and the accounts, calls the scheduling policy, checks what it
/// answers, and replaces it when it fails or on request. The real machine (a thread for each physical CPU) and the simulator
/// (one thread, virtual time) use this same class, so a policy sees the same calls in the same order in both.
/// </summary>
/// <remarks>
/// <para>One lock (the gate) covers everything. Its holder brings the core's state into order <i>before</i> each call into the
/// policy and commits the answer after it. Therefore a call that never comes back can be given up (<see cref="CheckHung"/>): the
/// state is taken over as it is, with a new gate, and the stuck thread finds on return that the call is no longer its own.</para>
/// <para>A vCPU that stops while it runs (block, pause) is told to the policy as a Sleep only when its physical CPU comes back to
/// <see cref="Schedule"/>: until then its context is on that CPU and nobody else may run it. A wake or resume that arrives in
/// between cancels the sleep without the policy hearing of either.</para>
/// <para>A policy that takes over finds every vCPU asleep. Those that wait are woken at once; those that run are woken when their
/// physical CPU, kicked, comes back.</para>
/// <para>Time is an argument. An instant that is earlier than one already seen (threads race to the lock) counts as that one.</para>
/// </remarks>
public sealed partial class SchedulerCore : ISchedulerMachine
{
    private static readonly Nanoseconds LeastSlice = Nanoseconds.FromMicroseconds(1);
    private static readonly Nanoseconds LongestSlice = Nanoseconds.FromSeconds(10);

    private readonly SchedulerCoreOptions _options;
    private readonly ISchedulerHost _host;
    private readonly Func<IScheduler> _fallback;
    private readonly PcpuRecord[] _pcpus;
    private readonly List<VcpuRecord> _vcpus = [];
    private Nanoseconds _now;

    /// <summary>vCPUs that are runnable and not running.</summary>
    private int _waiting;

    /// <summary>Makes the core and puts a policy in charge of a machine without vCPUs.</summary>
    /// <param name="policy">The first policy.</param>
    /// <param name="policyName">Its name in reports.</param>
    /// <param name="fallback">Makes the policy that takes over when one is ejected; must need nothing that can be missing then.</param>
    /// <param name="options">The fixed parameters.</param>
    /// <param name="host">The machine below.</param>
    /// <exception cref="ArgumentException">No physical CPU, or a topology of another number of them.</exception>
    public SchedulerCore(IScheduler policy, string policyName, Func<IScheduler> fallback, SchedulerCoreOptions options, ISchedulerHost host)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(options.PcpuCount, 1);
        Topology = options.Topology ?? MachineTopology.Flat(options.PcpuCount);
        if (Topology.PcpuCount != options.PcpuCount)
        {
            throw new ArgumentException(
                $"The topology has {Topology.PcpuCount} physical CPUs, and the machine {options.PcpuCount}.", nameof(options));
        }

        _options = options;
        _host = host;
        _fallback = fallback;
        _pcpus = new PcpuRecord[options.PcpuCount];
        for (int index = 0; index < _pcpus.Length; index++)
            _pcpus[index] = new(new PcpuId(index));
        _requests = new ulong[(_pcpus.Length + 63) / 64];
        _hangClock = options.HangClock ?? options.HostClock;
        _watchStep = options.StarvationLimit.Value / StepsPerLimit;
        Lock gate = Enter();
        try
        {
            Install(policy, policyName, isFallback: false, Nanoseconds.Zero);
        }
        finally
        {
            gate.Exit();
        }
    }

    /// <inheritdoc/>
    public int PcpuCount => _pcpus.Length;

    /// <inheritdoc/>
    public MachineTopology Topology { get; }

    /// <summary>A vCPU joins, asleep; <see cref="Wake"/> starts it.</summary>
    /// <exception cref="ArgumentException">Its affinity has none of this machine's physical CPUs.</exception>
    /// <exception cref="InvalidOperationException">It has been added already, or was removed and its physical CPU has not let go yet.</exception>
    public void Add(SchedulableVcpu v, Nanoseconds now)
    {
        RequireAffinity(v.Id, v.Affinity);
        Lock gate = Enter();
        try
        {
            now = Advance(now);
            if (v.State != RunState.Offline || (v.CoreData is VcpuRecord old && IsOnAnyPcpu(old)))
                throw new InvalidOperationException($"vCPU {v.Id} is already scheduled (state {v.State}).");
            VcpuRecord record = new(this, v) { Index = _vcpus.Count };
            v.CoreData = record;
            v.PolicyData = null;
            v.State = RunState.Blocked;
            v.Domain.Vcpus = v.Domain.Vcpus.Add(v);
            _vcpus.Add(record);
            Tell(PolicyCall.Add, v, now);
        }
        finally
        {
            gate.Exit();
        }
    }

    /// <summary>A vCPU leaves for good, in whatever state. If it runs, its physical CPU is kicked and still owes the core a <see cref="Schedule"/>.</summary>
    /// <returns>False when the policy hung in this call and the calling thread was given up: a physical CPU's thread leaves without touching anything.</returns>
    public bool Remove(SchedulableVcpu v, Nanoseconds now)
    {
        Lock gate = Enter();
        try
        {
            now = Advance(now);
            if (Find(v) is not { } record)
            {
                Forget(v);
                return true;
            }

            if (v.State == RunState.Runnable)
                EndWait(record, now);
            bool running = v.State == RunState.Running;
            record.Removed = true;
            _log?.Add(now, ScheduleEventKind.Remove, v.Id);
            v.State = RunState.Offline;
            VcpuRecord last = _vcpus[^1];
            _vcpus[record.Index] = last;
            last.Index = record.Index;
            _vcpus.RemoveAt(_vcpus.Count - 1);
            v.Domain.Vcpus = v.Domain.Vcpus.Remove(v);
            if (running)
                _pcpus[v.Pcpu.Index].Known = null;
            if (Tell(PolicyCall.Remove, v, now) == CallOutcome.Lost)
                return false;
            Forget(v);
            if (running)
                KickNow(_pcpus[v.Pcpu.Index]);
            return true;
        }
        finally
        {
            gate.Exit();
        }
    }

    /// <summary>
    /// Ends a block; any thread. Does nothing to a vCPU that is not blocked, except that its next <see cref="Sleep"/> will not
    /// block: an event that arrives while the guest is about to block is never lost.
    /// </summary>
    /// <param name="v">The vCPU.</param>
    /// <param name="now">The instant.</param>
    /// <param name="due">When it was to wake, if the cause is a timer that was noticed late: latency counts from then on.</param>
    /// <returns>False when the policy hung in this call and the calling thread was given up: a physical CPU's thread leaves without touching anything.</returns>
    public bool Wake(SchedulableVcpu v, Nanoseconds now, Nanoseconds? due = null)
    {
        Lock gate = Enter();
        try
        {
            now = Advance(now);
            if (Find(v) is not { } record)
                return true;
            if (!record.Blocked)
            {
                record.WakeKept = true;
                return true;
            }

            record.Blocked = false;
            record.Wakes++;
            if (record.Pauses > 0)
                return true;

            // Nobody waits for a wake before it sleeps.
            record.LatencyOpen = true;
            record.WokenAt = due is { } instant ? Nanoseconds.Min(now, Nanoseconds.Max(instant, record.BlockedAt)) : now;
            _log?.Add(now, ScheduleEventKind.Wake, v.Id, late: now - record.WokenAt);
            return v.State != RunState.Blocked || MakeRunnable(record, now) != CallOutcome.Lost;
        }
        finally
        {
            gate.Exit();
        }
    }

    /// <summary>
    /// Forgets wakes that came while the vCPU was not blocked. Call it, then look for pending events, then <see cref="Sleep"/>:
    /// only a wake that came after the look keeps the vCPU from blocking. Without it a stale wake costs one needless round.
    /// </summary>
    public void PrepareToSleep(SchedulableVcpu v)
    {
        Lock gate = Enter();
        try
        {
            if (Find(v) is { } record)
                record.WakeKept = false;
        }
        finally
        {
            gate.Exit();
        }
    }

    /// <summary>
    /// The vCPU blocks until a <see cref="Wake"/>; called by the thread that runs it, which calls <see cref="Schedule"/> next
    /// (from any thread when it is not running).
    /// </summary>
    /// <returns>False when a wake came first: the vCPU goes on.</returns>
    public bool Sleep(SchedulableVcpu v, Nanoseconds now)
    {
        Lock gate = Enter();
        try
        {
            now = Advance(now);
            if (Find(v) is not { } record)
                return true;
            if (record.WakeKept)
            {
                record.WakeKept = false;
                return false;
            }

            record.Blocked = true;
            record.BlockedAt = now;
            _log?.Add(now, ScheduleEventKind.Sleep, v.Id);
            record.LatencyOpen = false;
            if (v.State == RunState.Runnable)
                StopWaiting(record, now);
            return true;
        }
        finally
        {
            gate.Exit();
        }
    }

    /// <summary>The running vCPU offers its physical CPU to others; the thread that runs it calls <see cref="Schedule"/> next.</summary>
    /// <returns>False when the policy hung in this call and the calling thread was given up: a physical CPU's thread leaves without touching anything.</returns>
    public bool Yield(SchedulableVcpu v, Nanoseconds now)
    {
        Lock gate = Enter();
        try
        {
            now = Advance(now);
            return Find(v) is not { Told: true } || v.State != RunState.Running || Tell(PolicyCall.Yield, v, now) != CallOutcome.Lost;
        }
        finally
        {
            gate.Exit();
        }
    }

    private VcpuRecord? Find(SchedulableVcpu v) => v.CoreData is VcpuRecord { Removed: false } record && record.Core == this ? record : null;

    /// <summary>Whoever keeps a removed vCPU for its figures does not keep a plugin in memory by it.</summary>
    private static void Forget(SchedulableVcpu v)
    {
        if (v.State != RunState.Offline)
            return;
        v.PolicyData = null;
        if (v.Domain.Vcpus.IsEmpty)
            v.Domain.Options = null;
    }

    private bool IsOnAnyPcpu(VcpuRecord record) => Array.Exists(_pcpus, pcpu => pcpu.Occupant == record);

    private void RequireAffinity(VcpuId id, CpuSet affinity)
    {
        for (int index = 0; index < _pcpus.Length; index++)
        {
            if (affinity.Contains(new PcpuId(index)))
                return;
        }

        throw new ArgumentException($"vCPU {id}: its affinity ({affinity}) has none of this machine's physical CPUs (0 to {_pcpus.Length - 1}).", nameof(affinity));
    }

    private CallOutcome MakeRunnable(VcpuRecord record, Nanoseconds now)
    {
        record.Vcpu.State = RunState.Runnable;
        BeginWait(record, now);
        record.Told = true;
        return Tell(PolicyCall.Wake, record.Vcpu, now);
    }

    private void StopWaiting(VcpuRecord record, Nanoseconds now)
    {
        EndWait(record, now);
        record.Vcpu.State = RunState.Blocked;
        record.Told = false;
        Tell(PolicyCall.Sleep, record.Vcpu, now);
    }

    private void BeginWait(VcpuRecord record, Nanoseconds now)
    {
        _waiting++;
        record.WaitSince = now;
        record.WaitWatched = _watched;
    }

    private void EndWait(VcpuRecord record, Nanoseconds now)
    {
        _waiting--;
        record.WaitTime += now - record.WaitSince;
    }
}
