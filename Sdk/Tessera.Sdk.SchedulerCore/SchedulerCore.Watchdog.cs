namespace Tessera.Sdk.Scheduling.Core;

/// <content>The watchdog: time, starvation and hangs.</content>
public sealed partial class SchedulerCore
{
    /// <summary>A vCPU entitled to less than this part of the runnable weight is given proportionally more time before it counts as starved.</summary>
    private const long SmallestUnstretchedShare = 512;

    /// <summary>The watchdog's clock moves by at most this part of the limit at once, so that only many decisions add up to starvation.</summary>
    private const int StepsPerLimit = 64;

    /// <summary>A look at everybody costs O(n), so it is taken rarely.</summary>
    private const int ChecksPerLimit = 4;

    /// <summary>The furthest the watchdog's clock moves at once: a jump of the machine's clock is nobody's starvation.</summary>
    private readonly long _watchStep;

    /// <summary>What hangs are measured with.</summary>
    private readonly TimeProvider? _hangClock;

    /// <summary>Calls that are being given up, until the host was told.</summary>
    private readonly HashSet<long> _givenUp = [];

    /// <summary>The watchdog's clock, ns: machine time with every jump cut to <see cref="_watchStep"/>.</summary>
    private long _watched;
    private long _nextWatch;

    /// <summary>
    /// Looks whether a call into the policy has been running for longer than the hang limit; if so gives it up, ejects the policy
    /// and tells the host. Call it a few times a second from a thread of its own that is not a physical CPU.
    /// </summary>
    /// <returns>Whether a hung call was found.</returns>
    public bool CheckHung(Nanoseconds now)
    {
        long call = Volatile.Read(ref _call);
        long started = Volatile.Read(ref _callStarted);
        if (call == 0 || _hangClock is not { } clock || _options.HangLimit <= Nanoseconds.Zero)
            return false;
        Nanoseconds took = Elapsed(clock, started);
        if (took < _options.HangLimit)
            return false;
        lock (_givenUp)
        {
            if (!_givenUp.Add(call))
                return false;
        }

        try
        {
            return GiveUp(call, took, now);
        }
        finally
        {
            lock (_givenUp)
            {
                _ = _givenUp.Remove(call);
                Monitor.PulseAll(_givenUp);
            }
        }
    }

    private bool GiveUp(long call, Nanoseconds took, Nanoseconds now)
    {
        Lock gate = new();
        gate.Enter();
        int thread;
        PcpuId? decidingId;
        try
        {
            // From here on the stuck thread cannot commit, and everybody else waits at the old gate, which it still holds.
            if (Interlocked.CompareExchange(ref _call, 0, call) != call)
                return false;
            _gate = gate;
            thread = _callThread;
            PcpuRecord? deciding = _deciding;
            decidingId = deciding?.Id;
            _deciding = null;
            now = Advance(now);
            if (deciding?.Occupant is { } stranded)
                Strand(deciding, stranded, now);
            _failure = new(EjectionReason.Hung, $"its {CallName()} has not come back for {took} (limit {_options.HangLimit})");
            Eject(now);
        }
        finally
        {
            gate.Exit();
        }

        _host.PolicyHung(thread, decidingId);
        return true;
    }

    /// <summary>A call that was given up goes no further before the host knows: what it says of the stuck thread would be about what that thread does next.</summary>
    private void AwaitGivenUp(long call)
    {
        lock (_givenUp)
        {
            while (_givenUp.Contains(call))
                Monitor.Wait(_givenUp);
        }
    }

    /// <summary>Not <see cref="TimeProvider.GetElapsedTime(long)"/>: its 100 ns are too coarse for decisions of that length.</summary>
    private static Nanoseconds Elapsed(TimeProvider clock, long started)
    {
        long passed = clock.GetTimestamp() - started;
        return new(clock.TimestampFrequency == 1_000_000_000 ? passed : (long)(passed * (1e9 / clock.TimestampFrequency)));
    }

    /// <summary>Takes a vCPU off a physical CPU whose thread is stuck in its decision, its context saved.</summary>
    private void Strand(PcpuRecord pcpu, VcpuRecord record, Nanoseconds now)
    {
        pcpu.Occupant = null;
        if (record.Removed)
            return;
        if (!record.WantsRun)
        {
            record.Vcpu.State = RunState.Blocked;
        }
        else if (record.Vcpu.State == RunState.Running)
        {
            record.Vcpu.State = RunState.Runnable;
            BeginWait(record, now);
        }
    }

    /// <summary>Moves the machine's clock on and returns it: never back.</summary>
    private Nanoseconds Advance(Nanoseconds now)
    {
        if (now <= _now)
            return _now;
        _watched += Math.Min(now.Value - _now.Value, _watchStep);
        _now = now;
        return now;
    }

    /// <summary>Every quarter of the limit, looks for a vCPU that waited too long; ejects the policy if there is one.</summary>
    private CallOutcome CheckStarvation(Nanoseconds now)
    {
        if (_watchStep == 0 || _watched < _nextWatch)
            return CallOutcome.Done;
        _nextWatch = _watched + (_options.StarvationLimit.Value / ChecksPerLimit);
        if (_waiting == 0)
            return CallOutcome.Done;
        Demand byWeight = default;
        Demand bySaying = default;
        foreach (VcpuRecord record in _vcpus)
        {
            if (!record.WantsRun)
                continue;
            byWeight.Add(Entitlement.ByWeight(record.Vcpu.Domain.Weight));
            bySaying.Add(record.Owed);
        }

        foreach (VcpuRecord record in _vcpus)
        {
            if (record.Vcpu.State != RunState.Runnable)
                continue;
            long waited = _watched - record.WaitWatched;
            double limit = LongestWait(record, byWeight, bySaying);
            if (waited > limit && PassedOver(record) is { } pcpu)
                return EjectForStarvation(record, pcpu, waited, limit, now);
        }

        return CallOutcome.Done;
    }

    /// <summary>
    /// How long a vCPU may wait, ns: by its weight, and beyond that by what the policy says it owes it, as far as the excuse reaches. The
    /// policy's saying counts as a rate and a period and not as an instant, so it cannot put the end off from one look to the next.
    /// </summary>
    private double LongestWait(VcpuRecord record, in Demand byWeight, in Demand bySaying)
    {
        double plain = LongestWait(record, Entitlement.ByWeight(record.Vcpu.Domain.Weight), byWeight);
        double said = LongestWait(record, record.Owed, bySaying);
        return plain + Math.Clamp(said - plain, 0, _options.LongestExcuse.Value);
    }

    /// <summary>
    /// The same of one that is owed this. Who ran for long at once, by an overrun or a jump of the clock, may have to wait until the others
    /// had as much, or until it is owed something again.
    /// </summary>
    private double LongestWait(VcpuRecord record, in Entitlement owed, in Demand demand)
    {
        double kept = demand.Reserved > _pcpus.Length ? _pcpus.Length / demand.Reserved : 1;
        double free = Math.Max(0, 1 - (demand.Reserved / _pcpus.Length));
        double rate = Math.Min(owed.Limit, (owed.Reserved * kept) + (owed.Weight > 0 ? free * owed.Weight / demand.Weight : 0));
        if (rate <= 0)
            return double.PositiveInfinity;
        double others = 1 / rate;
        double unstretched = _options.StarvationLimit.Value * Math.Max(1.0, others / SmallestUnstretchedShare);
        return unstretched + (record.LastStint.Value * others) + (2.0 * owed.Period.Value);
    }

    /// <summary>A physical CPU that could have run this vCPU since it began to wait, or null.</summary>
    private PcpuRecord? PassedOver(VcpuRecord record)
    {
        foreach (PcpuRecord pcpu in _pcpus)
        {
            if (pcpu.Started && record.Vcpu.Affinity.Contains(pcpu.Id) && !pcpu.Kicked
                && (pcpu.Occupant is null || pcpu.DecidedWatched > record.WaitWatched))
                return pcpu;
        }

        return null;
    }

    private CallOutcome EjectForStarvation(VcpuRecord record, PcpuRecord pcpu, long waited, double limit, Nanoseconds now)
    {
        CallOutcome outcome = TryDescribe(record.Vcpu, out string description);
        if (outcome == CallOutcome.Lost)
            return outcome;
        string doing = pcpu.Occupant is { } occupant ? $"ran {occupant.Vcpu.Id}" : "idled";
        string view = description.Length > 0 ? $"; its own view: {description}" : "";
        _failure = new(
            EjectionReason.Starved,
            $"it left {record.Vcpu} runnable for {new Nanoseconds(waited)} (limit {new Nanoseconds((long)limit)}) while {pcpu.Id} {doing}{view}");
        return Eject(now);
    }

    /// <summary>What all who want to run are owed together.</summary>
    private struct Demand
    {
        public double Weight;

        /// <summary>In physical CPUs.</summary>
        public double Reserved;

        public void Add(in Entitlement owed)
        {
            Weight += owed.Weight;
            Reserved += owed.Reserved;
        }
    }
}
