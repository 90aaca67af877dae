using System.Diagnostics;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Simulation.Bench;

/// <summary>Measures the host time inside a policy's calls: the policy's own time, without the core around it.</summary>
/// <param name="inner">The policy.</param>
/// <param name="evicted">Bytes to walk through before each decision, so that it finds its caches as after a guest that used its own memory; 0 for none.</param>
internal sealed class TimedScheduler(IScheduler inner, int evicted = 0) : IScheduler
{
    private const int CacheLine = 64;

    private readonly byte[] _others = new byte[evicted];

    /// <summary>Decisions.</summary>
    public LatencyHistogram Decisions { get; } = new();

    /// <summary>Wakes.</summary>
    public LatencyHistogram Wakes { get; } = new();

    public void Attach(ISchedulerMachine machine) => inner.Attach(machine);

    public void Add(SchedulableVcpu vcpu, Nanoseconds now) => inner.Add(vcpu, now);

    public void Remove(SchedulableVcpu vcpu, Nanoseconds now) => inner.Remove(vcpu, now);

    public void Wake(SchedulableVcpu vcpu, Nanoseconds now)
    {
        long started = Stopwatch.GetTimestamp();
        inner.Wake(vcpu, now);
        Wakes.Record(Since(started));
    }

    public void Sleep(SchedulableVcpu vcpu, Nanoseconds now) => inner.Sleep(vcpu, now);

    public void Yield(SchedulableVcpu vcpu, Nanoseconds now) => inner.Yield(vcpu, now);

    public Decision Schedule(in SchedulingPoint point)
    {
        for (int place = 0; place < _others.Length; place += CacheLine)
            _others[place]++;
        long started = Stopwatch.GetTimestamp();
        Decision decision = inner.Schedule(in point);
        Decisions.Record(Since(started));
        return decision;
    }

    public void Adjust(SchedulableVcpu vcpu, Nanoseconds now) => inner.Adjust(vcpu, now);

    public Entitlement EntitlementOf(SchedulableVcpu vcpu) => inner.EntitlementOf(vcpu);

    public string Describe(SchedulableVcpu vcpu) => inner.Describe(vcpu);

    private static Nanoseconds Since(long started) => new((long)((Stopwatch.GetTimestamp() - started) * (1e9 / Stopwatch.Frequency)));
}
