using Tessera.Sdk.Scheduling;

namespace Tessera.Sdk.Simulation;

/// <summary>The fallback of machines that were given none: one line, equal turns, needs nothing.</summary>
internal sealed class PlainScheduler : IScheduler
{
    private static readonly Nanoseconds Slice = Nanoseconds.FromMilliseconds(10);

    private readonly LinkedList<SchedulableVcpu> _line = new();
    private ISchedulerMachine _machine = null!;

    public void Attach(ISchedulerMachine machine) => _machine = machine;

    public void Add(SchedulableVcpu vcpu, Nanoseconds now) => vcpu.PolicyData = new LinkedListNode<SchedulableVcpu>(vcpu);

    public void Remove(SchedulableVcpu vcpu, Nanoseconds now) => Sleep(vcpu, now);

    public void Wake(SchedulableVcpu vcpu, Nanoseconds now)
    {
        _line.AddLast(Place(vcpu));
        _machine.RequestIdle(vcpu.Affinity);
    }

    public void Sleep(SchedulableVcpu vcpu, Nanoseconds now)
    {
        if (Place(vcpu).List is not null)
            _line.Remove(Place(vcpu));
    }

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
        return new(next?.Value, Slice);
    }

    public void Adjust(SchedulableVcpu vcpu, Nanoseconds now) => _machine.RequestIdle(vcpu.Affinity);

    public string Describe(SchedulableVcpu vcpu) => Place(vcpu).List is null ? "not in line" : "in line";

    private static LinkedListNode<SchedulableVcpu> Place(SchedulableVcpu vcpu) => (LinkedListNode<SchedulableVcpu>)vcpu.PolicyData!;
}
