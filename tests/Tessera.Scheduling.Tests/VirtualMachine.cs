using Tessera.Scheduling;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;

namespace Tessera.Scheduling.Tests;

/// <summary>
/// A machine in virtual time around a <see cref="SchedulerCore"/>: an event loop with physical CPUs that run, are kicked and idle,
/// and vCPUs whose behaviour is a <see cref="Workload"/>. Deterministic; its clock refuses to go back.
/// </summary>
internal sealed class VirtualMachine : ISchedulerHost
{
    private readonly PriorityQueue<Event, (long At, long Order)> _events = new();
    private readonly Pcpu[] _pcpus;
    private readonly Dictionary<SchedulableVcpu, Workload> _workloads = [];
    private long _order;

    public VirtualMachine(IScheduler policy, int pcpus = 1, Func<SchedulerCoreOptions, SchedulerCoreOptions>? configure = null, Func<IScheduler>? fallback = null)
    {
        _pcpus = [.. Enumerable.Range(0, pcpus).Select(index => new Pcpu(new PcpuId(index)))];
        SchedulerCoreOptions options = new() { PcpuCount = pcpus };
        Core = new(policy, "under-test", fallback ?? Policies.RoundRobin, configure?.Invoke(options) ?? options, this);
    }

    public SchedulerCore Core { get; }

    public Nanoseconds Now { get; private set; }

    /// <summary>Called after each decision with the physical CPU, what it does and until when.</summary>
    public Action<PcpuId, Dispatch>? Decided { get; set; }

    public SchedulableVcpu Start(int domain, Workload workload, int weight = 256, object? options = null, CpuSet? affinity = null)
    {
        SchedulableVcpu vcpu = new(new(new DomainId((ushort)domain), 0), weight, options, affinity);
        _workloads[vcpu] = workload;
        Core.Add(vcpu, Now);
        Core.Wake(vcpu, Now);
        return vcpu;
    }

    public void Stop(SchedulableVcpu vcpu)
    {
        _workloads.Remove(vcpu);
        Core.Remove(vcpu, Now);
    }

    /// <summary>From its next burst on the vCPU never stops.</summary>
    public void BecomeHog(SchedulableVcpu vcpu) => _workloads[vcpu] = Workload.Hog();

    /// <summary>Does something at an instant, before the physical CPUs of that instant decide.</summary>
    public void At(Nanoseconds instant, Action action) => Push(instant, new(null, 0, action));

    public void RunFor(Nanoseconds length) => RunUntil(Now + length);

    public void RunUntil(Nanoseconds instant)
    {
        if (instant < Now)
            throw new InvalidOperationException($"The clock is at {Now} and does not go back to {instant}.");
        foreach (Pcpu pcpu in _pcpus)
            Push(Now, new(pcpu, pcpu.Generation, null));
        while (_events.TryPeek(out _, out (long At, long Order) key) && key.At <= instant.Value)
        {
            Event next = _events.Dequeue();
            Now = new(Math.Max(Now.Value, key.At));
            if (next.Action is { } action)
                action();
            else if (next.Pcpu is { } pcpu && pcpu.Generation == next.Generation)
                Decide(pcpu);
        }

        Now = instant;
    }

    public void Kick(PcpuId pcpu) => Again(_pcpus[pcpu.Index], Now);

    public void Shorten(PcpuId pcpu, Nanoseconds until) => Again(_pcpus[pcpu.Index], until);

    public double ShareOf(SchedulableVcpu vcpu, params SchedulableVcpu[] all) =>
        Core.AccountOf(vcpu, Now).CpuTime.Value / (double)all.Sum(other => Core.AccountOf(other, Now).CpuTime.Value);

    private void Again(Pcpu pcpu, Nanoseconds at)
    {
        if (at < pcpu.Until || at <= Now)
        {
            pcpu.Until = at;
            Push(Nanoseconds.Max(at, Now), new(pcpu, pcpu.Generation, null));
        }
    }

    private void Push(Nanoseconds at, Event what) => _events.Enqueue(what, (at.Value, _order++));

    private void Decide(Pcpu pcpu)
    {
        pcpu.Generation++;
        if (pcpu.Vcpu is { } ran && _workloads.TryGetValue(ran, out Workload? workload))
        {
            workload.Ran(Now - pcpu.Since);
            if (workload.Left <= Nanoseconds.Zero && ran.State == RunState.Running)
                Finish(ran, workload);
        }

        pcpu.Since = Now;
        Dispatch dispatch = Core.Schedule(pcpu.Id, Now);
        Decided?.Invoke(pcpu.Id, dispatch);
        pcpu.Vcpu = dispatch.Vcpu;
        pcpu.Until = dispatch.Until;
        if (dispatch.Vcpu is { } next)
            pcpu.Until = Nanoseconds.Min(pcpu.Until, Now + _workloads[next].Left);
        if (pcpu.Until != Nanoseconds.Never)
            Push(pcpu.Until, new(pcpu, pcpu.Generation, null));
    }

    /// <summary>The vCPU's burst is over: it blocks, and a timer wakes it for the next.</summary>
    private void Finish(SchedulableVcpu vcpu, Workload workload)
    {
        Core.PrepareToSleep(vcpu);
        Core.Sleep(vcpu, Now);
        if (workload.NextWake(Now) is { } wake)
        {
            At(wake, () =>
            {
                workload.Begin();
                Core.Wake(vcpu, Now);
            });
        }
    }

    private readonly record struct Event(Pcpu? Pcpu, long Generation, Action? Action);

    private sealed class Pcpu(PcpuId id)
    {
        public PcpuId Id { get; } = id;

        public SchedulableVcpu? Vcpu { get; set; }

        public Nanoseconds Since { get; set; }

        public Nanoseconds Until { get; set; } = Nanoseconds.Never;

        /// <summary>Grows with each decision: events for an earlier one are void.</summary>
        public long Generation { get; set; }
    }
}

/// <summary>What a vCPU does: bursts of CPU use, and when the next one begins.</summary>
internal sealed class Workload
{
    private readonly Nanoseconds _burst;
    private readonly Func<Nanoseconds, Nanoseconds?> _nextWake;

    private Workload(Nanoseconds burst, Func<Nanoseconds, Nanoseconds?> nextWake)
    {
        _burst = burst;
        _nextWake = nextWake;
        Left = burst;
    }

    /// <summary>CPU time left in this burst.</summary>
    public Nanoseconds Left { get; private set; }

    /// <summary>Never stops.</summary>
    public static Workload Hog() => new(Nanoseconds.Never, static _ => null);

    /// <summary>Runs once for so long, then waits for a wake from outside, which begins no new burst.</summary>
    public static Workload Once(Nanoseconds burst) => new(burst, static _ => null);

    /// <summary>Wakes at multiples of the period and runs for the burst.</summary>
    public static Workload Periodic(Nanoseconds burst, Nanoseconds period) =>
        new(burst, now => new Nanoseconds(((now.Value / period.Value) + 1) * period.Value));

    /// <summary>Runs for the burst, then sleeps for the pause.</summary>
    public static Workload OnOff(Nanoseconds burst, Nanoseconds pause) => new(burst, now => now + pause);

    public void Begin() => Left = _burst;

    public void Ran(Nanoseconds length)
    {
        if (Left != Nanoseconds.Never)
            Left -= length;
    }

    public Nanoseconds? NextWake(Nanoseconds now) => _nextWake(now);
}
