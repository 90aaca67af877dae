using Tessera.Sdk;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling;

namespace PolicyNamespace;

/// <summary>What a configuration may set: "scheduler": { "name": ..., "options": { "slice": "5 ms" } }.</summary>
public sealed record PolicyClassOptions
{
    [Option("How long a vCPU of weight 256 runs before the next in line; others in proportion.", Min = "100 us", Max = "1 s")]
    public Nanoseconds Slice { get; init; } = Nanoseconds.FromMilliseconds(10);
}

/// <summary>
/// Weighted round robin: one line for all physical CPUs (pCPUs), turns as long as weights say. Where it falls short: who sleeps
/// loses its turn and gets nothing back, and who wakes waits for all turns before its own.
/// </summary>
// Promises: the conformance suite holds the policy to them. Take back what your policy does not keep, add what it does.
[SchedulerProperties(ShareErrorPercent = 2, StarvationBoundMs = 80, WakeLatencyBoundMs = 90)]
[Plugin("policy-plugin", PluginKind.Scheduler, "1.0.0", Summary = "Weighted round robin.", Options = typeof(PolicyClassOptions))]
public sealed class PolicyClassScheduler(PolicyClassOptions options) : IScheduler
{
    private const int DefaultWeight = 256;

    private readonly LinkedList<SchedulableVcpu> _line = new();
    private ISchedulerMachine _machine = null!;

    public void Attach(ISchedulerMachine machine) => _machine = machine;

    // PolicyData is the policy's own: here a vCPU's place in the line, made once, so that no decision allocates.
    public void Add(SchedulableVcpu vcpu, Nanoseconds now) => vcpu.PolicyData = new LinkedListNode<SchedulableVcpu>(vcpu);

    public void Remove(SchedulableVcpu vcpu, Nanoseconds now) => Leave(vcpu);

    public void Wake(SchedulableVcpu vcpu, Nanoseconds now)
    {
        _line.AddLast(Place(vcpu));
        _machine.RequestIdle(vcpu.Affinity);
    }

    public void Sleep(SchedulableVcpu vcpu, Nanoseconds now) => Leave(vcpu);

    // The heart: who runs now on point.Pcpu? Who ran until now (point.Current, for point.Ran) goes to the end of the line.
    public Decision Schedule(in SchedulingPoint point)
    {
        SchedulableVcpu? current = point.CurrentRunnable ? point.Current : null;
        if (current is not null)
            _line.AddLast(Place(current));
        LinkedListNode<SchedulableVcpu>? next = _line.First;
        while (next is not null && !next.Value.Affinity.Contains(point.Pcpu))
            next = next.Next;
        if (next is not null)
            _line.Remove(next);
        if (current is not null && current != next?.Value)
            _machine.RequestIdle(current.Affinity); // It may go on elsewhere.
        return next is null ? Decision.Idle : new(next.Value, SliceOf(next.Value));
    }

    private Nanoseconds SliceOf(SchedulableVcpu vcpu) => new(Math.Max(1_000, options.Slice.Value * vcpu.Domain.Weight / DefaultWeight));

    // Weight or affinity changed. Weights are read anew at each turn; a new affinity may fit an idle pCPU.
    public void Adjust(SchedulableVcpu vcpu, Nanoseconds now)
    {
        if (Place(vcpu).List is not null)
            _machine.RequestIdle(vcpu.Affinity);
    }

    // Shown in reports and with failures: say what would help you to debug.
    public string Describe(SchedulableVcpu vcpu) => Place(vcpu).List is null ? "not in line" : $"in line with {_line.Count - 1} others";

    private static LinkedListNode<SchedulableVcpu> Place(SchedulableVcpu vcpu) => (LinkedListNode<SchedulableVcpu>)vcpu.PolicyData!;

    private static void Leave(SchedulableVcpu vcpu) => Place(vcpu).List?.Remove(Place(vcpu));
}
