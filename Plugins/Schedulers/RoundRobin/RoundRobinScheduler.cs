using Tessera.Sdk;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling;

namespace Tessera.Plugins.Schedulers.RoundRobin;

/// <summary>The options of <see cref="RoundRobinScheduler"/>.</summary>
public sealed record RoundRobinOptions
{
    [Option("How long a vCPU runs before the next in line.", Min = "10us", Max = "1 s")]
    public Nanoseconds Slice { get; init; } = Nanoseconds.FromMilliseconds(10);
}

/// <summary>
/// Round robin: one line for all physical CPUs; each takes the first that may run on it. Weights are ignored. The smallest
/// useful policy, the example to start from, and the fallback when another policy is ejected.
/// </summary>
[SchedulerProperties(StarvationBoundMs = 80, WakeLatencyBoundMs = 80)]
[Plugin("round-robin", PluginKind.Scheduler, "1.0.0", Summary = "One queue, equal turns; ignores weights.", Options = typeof(RoundRobinOptions))]
public sealed class RoundRobinScheduler(RoundRobinOptions options) : IScheduler
{
    private readonly LinkedList<SchedulableVcpu> _line = new();
    private ISchedulerMachine _machine = null!;

    public void Attach(ISchedulerMachine machine) => _machine = machine;

    public void Add(SchedulableVcpu vcpu, Nanoseconds now) => vcpu.PolicyData = new LinkedListNode<SchedulableVcpu>(vcpu);

    public void Remove(SchedulableVcpu vcpu, Nanoseconds now) => Leave(Place(vcpu));

    public void Wake(SchedulableVcpu vcpu, Nanoseconds now)
    {
        _line.AddLast(Place(vcpu));
        _machine.RequestIdle(vcpu.Affinity);
    }

    public void Sleep(SchedulableVcpu vcpu, Nanoseconds now) => Leave(Place(vcpu));

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
            _machine.RequestIdle(current.Affinity);
        return new(next?.Value, options.Slice);
    }

    public void Adjust(SchedulableVcpu vcpu, Nanoseconds now)
    {
        if (Place(vcpu).List is not null)
            _machine.RequestIdle(vcpu.Affinity);
    }

    public string Describe(SchedulableVcpu vcpu) => Place(vcpu).List is null ? "not in line" : $"in line with {_line.Count - 1} others";

    private static LinkedListNode<SchedulableVcpu> Place(SchedulableVcpu vcpu) => (LinkedListNode<SchedulableVcpu>)vcpu.PolicyData!;

    private static void Leave(LinkedListNode<SchedulableVcpu> place) => place.List?.Remove(place);
}
