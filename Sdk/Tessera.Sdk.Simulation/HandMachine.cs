using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Sdk.Simulation;

/// <summary>Physical CPUs moved by hand: a test does one thing at a time and then lets the machine settle.</summary>
public sealed class HandMachine : ISchedulerHost
{
    /// <summary>More decisions than this for each physical CPU at one instant mean that the policy and the core chase each other.</summary>
    private const int DecisionsPerInstant = 1_000;

    private readonly bool[] _kicked;
    private readonly Nanoseconds[] _until;
    private readonly SchedulableVcpu?[] _runs;
    private readonly List<Ejection> _ejected = [];
    private readonly List<(int Thread, PcpuId? Deciding)> _hung = [];

    /// <summary>Makes the machine, without vCPUs.</summary>
    /// <param name="policy">The scheduling policy.</param>
    /// <param name="pcpus">How many physical CPUs there are.</param>
    /// <param name="configure">Changes the core's options.</param>
    /// <param name="fallback">Makes the policy that takes over when this one is ejected; by default a plain round robin.</param>
    public HandMachine(IScheduler policy, int pcpus, Func<SchedulerCoreOptions, SchedulerCoreOptions>? configure = null, Func<IScheduler>? fallback = null)
    {
        _kicked = new bool[pcpus];
        _until = new Nanoseconds[pcpus];
        _runs = new SchedulableVcpu?[pcpus];
        SchedulerCoreOptions options = new() { PcpuCount = pcpus };
        Core = new(policy, "under-test", fallback ?? (static () => new PlainScheduler()), configure?.Invoke(options) ?? options, this);
    }

    /// <summary>The scheduler core.</summary>
    public SchedulerCore Core { get; }

    /// <summary>Virtual time.</summary>
    public Nanoseconds Now { get; private set; }

    /// <summary>What each physical CPU runs.</summary>
    public IReadOnlyList<SchedulableVcpu?> Runs => _runs;

    /// <summary>Policies ejected so far.</summary>
    public IReadOnlyList<Ejection> Ejected => _ejected;

    /// <summary>Threads found stuck in a policy so far.</summary>
    public IReadOnlyList<(int Thread, PcpuId? Deciding)> Hung => _hung;

    /// <summary>Called after each decision with the physical CPU, what it does and until when it may.</summary>
    public Action<PcpuId, Dispatch>? Decided { get; set; }

    /// <summary>The first vCPU of a domain joins and wakes.</summary>
    /// <param name="domain">The domain's number.</param>
    /// <param name="weight">Its share weight.</param>
    /// <param name="affinity">Where it may run; null for everywhere.</param>
    public SchedulableVcpu Start(int domain, int weight = 256, CpuSet? affinity = null)
    {
        SchedulableVcpu vcpu = new(new SchedulableDomain(new DomainId((ushort)domain), weight), affinity: affinity);
        Core.Add(vcpu, Now);
        Core.Wake(vcpu, Now);
        return vcpu;
    }

    /// <summary>Lets one physical CPU decide now.</summary>
    public Dispatch Decide(int pcpu)
    {
        _kicked[pcpu] = false;
        Dispatch dispatch = Core.Schedule(new PcpuId(pcpu), Now);
        _runs[pcpu] = dispatch.Vcpu;
        _until[pcpu] = dispatch.Until;
        Decided?.Invoke(new PcpuId(pcpu), dispatch);
        return dispatch;
    }

    /// <summary>Lets every physical CPU decide that was kicked or is due, until none is.</summary>
    /// <exception cref="InvalidOperationException">They never come to rest.</exception>
    public void Settle()
    {
        int left = DecisionsPerInstant * _runs.Length;
        for (int pcpu = 0; pcpu < _runs.Length; pcpu++)
        {
            if (!_kicked[pcpu] && _until[pcpu] > Now)
                continue;
            if (left-- == 0)
                throw new InvalidOperationException($"no rest after {DecisionsPerInstant * _runs.Length} decisions at {Now}");
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

    /// <inheritdoc/>
    void ISchedulerHost.Kick(PcpuId pcpu) => _kicked[pcpu.Index] = true;

    /// <inheritdoc/>
    void ISchedulerHost.Shorten(PcpuId pcpu, Nanoseconds until) => _until[pcpu.Index] = until;

    /// <inheritdoc/>
    void ISchedulerHost.PolicyEjected(Ejection ejection) => _ejected.Add(ejection);

    /// <inheritdoc/>
    void ISchedulerHost.PolicyHung(int managedThreadId, PcpuId? deciding) => _hung.Add((managedThreadId, deciding));
}
