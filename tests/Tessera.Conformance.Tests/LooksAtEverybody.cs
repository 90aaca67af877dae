using Tessera.Plugins.Schedulers.RoundRobin;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;

namespace Tessera.Conformance.Tests;

/// <summary>Round robin, but for one thing: it adds up everybody's weight for each decision. It allocates nothing, and only its time tells.</summary>
internal sealed class LooksAtEverybody : IScheduler
{
    private readonly IScheduler _inner = new RoundRobinScheduler(new());
    private readonly List<SchedulableVcpu> _everybody = [];

    public long Total { get; private set; }

    public void Attach(ISchedulerMachine machine) => _inner.Attach(machine);

    public void Add(SchedulableVcpu vcpu, Nanoseconds now)
    {
        _everybody.Add(vcpu);
        _inner.Add(vcpu, now);
    }

    public void Remove(SchedulableVcpu vcpu, Nanoseconds now)
    {
        _everybody.Remove(vcpu);
        _inner.Remove(vcpu, now);
    }

    public void Wake(SchedulableVcpu vcpu, Nanoseconds now) => _inner.Wake(vcpu, now);

    public void Sleep(SchedulableVcpu vcpu, Nanoseconds now) => _inner.Sleep(vcpu, now);

    public void Yield(SchedulableVcpu vcpu, Nanoseconds now) => _inner.Yield(vcpu, now);

    public Decision Schedule(in SchedulingPoint point)
    {
        long total = 0;
        foreach (SchedulableVcpu vcpu in _everybody)
            total += vcpu.Domain.Weight;
        Total = total;
        return _inner.Schedule(in point);
    }

    public void Adjust(SchedulableVcpu vcpu, Nanoseconds now) => _inner.Adjust(vcpu, now);

    public string Describe(SchedulableVcpu vcpu) => _inner.Describe(vcpu);
}
