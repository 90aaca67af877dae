using Tessera.Sdk;
using Tessera.Sdk.Scheduling;

namespace Tessera.Scheduling.Tests;

/// <summary>Physical CPUs moved by hand: a test does one thing at a time and then lets the machine settle.</summary>
internal sealed class HandMachine : ISchedulerHost
{
    /// <summary>More decisions than this at one instant mean that the policy and the core chase each other.</summary>
    private const int DecisionsPerInstant = 1_000;

    private readonly bool[] _kicked;
    private readonly Nanoseconds[] _until;

    public HandMachine(IScheduler policy, int pcpus, Func<SchedulerCoreOptions, SchedulerCoreOptions>? configure = null, Func<IScheduler>? fallback = null)
    {
        _kicked = new bool[pcpus];
        _until = new Nanoseconds[pcpus];
        Runs = new SchedulableVcpu?[pcpus];
        SchedulerCoreOptions options = new() { PcpuCount = pcpus };
        Core = new(policy, "under-test", fallback ?? Policies.RoundRobin, configure?.Invoke(options) ?? options, this);
    }

    public SchedulerCore Core { get; }

    public Nanoseconds Now { get; private set; }

    /// <summary>What each physical CPU runs.</summary>
    public SchedulableVcpu?[] Runs { get; }

    public List<Ejection> Ejected { get; } = [];

    public List<(int Thread, PcpuId? Deciding)> Hung { get; } = [];

    public void Kick(PcpuId pcpu) => _kicked[pcpu.Index] = true;

    public void Shorten(PcpuId pcpu, Nanoseconds until) => _until[pcpu.Index] = until;

    public void PolicyEjected(Ejection ejection) => Ejected.Add(ejection);

    public void PolicyHung(int managedThreadId, PcpuId? deciding) => Hung.Add((managedThreadId, deciding));

    public SchedulableVcpu Start(int domain, int weight = 256, CpuSet? affinity = null)
    {
        SchedulableVcpu vcpu = new(new(new DomainId((ushort)domain), 0), weight, affinity: affinity);
        Core.Add(vcpu, Now);
        Core.Wake(vcpu, Now);
        return vcpu;
    }

    public Dispatch Decide(int pcpu)
    {
        _kicked[pcpu] = false;
        Dispatch dispatch = Core.Schedule(new PcpuId(pcpu), Now);
        Runs[pcpu] = dispatch.Vcpu;
        _until[pcpu] = dispatch.Until;
        return dispatch;
    }

    /// <summary>Lets every physical CPU decide that was kicked or is due, until none is.</summary>
    public void Settle()
    {
        int left = DecisionsPerInstant;
        for (int pcpu = 0; pcpu < Runs.Length; pcpu++)
        {
            if (!_kicked[pcpu] && _until[pcpu] > Now)
                continue;
            if (left-- == 0)
                throw new InvalidOperationException($"no rest after {DecisionsPerInstant} decisions at {Now}");
            Decide(pcpu);
            pcpu = -1;
        }
    }

    /// <summary>Moves the clock without letting anybody decide.</summary>
    public void Jump(Nanoseconds length) => Now += length;

    /// <summary>Moves the clock on, stopping at each instant at which a physical CPU is due.</summary>
    public void Advance(Nanoseconds length)
    {
        Nanoseconds end = Now + length;
        Settle();
        while (true)
        {
            Nanoseconds due = _until.Min();
            Now = Nanoseconds.Max(Now, Nanoseconds.Min(due, end));
            Settle();
            if (due >= end)
                return;
        }
    }
}

/// <summary>A host clock that stands still unless moved.</summary>
internal sealed class HandClock : TimeProvider
{
    private long _now;

    public override long TimestampFrequency => 1_000_000_000;

    public override long GetTimestamp() => Volatile.Read(ref _now);

    public void Move(Nanoseconds length) => Interlocked.Add(ref _now, length.Value);
}
