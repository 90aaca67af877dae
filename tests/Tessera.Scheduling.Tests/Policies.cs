using Tessera.Plugins.Schedulers.Bvt;
using Tessera.Plugins.Schedulers.Credit;
using Tessera.Plugins.Schedulers.Credit2;
using Tessera.Plugins.Schedulers.Eevdf;
using Tessera.Plugins.Schedulers.Null;
using Tessera.Plugins.Schedulers.RoundRobin;
using Tessera.Plugins.Schedulers.Rtds;
using Tessera.Plugins.Schedulers.Sedf;
using Tessera.Plugins.Schedulers.Stride;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;

namespace Tessera.Scheduling.Tests;

/// <summary>The policies under test, made as the composition root would.</summary>
internal static class Policies
{
    public static IScheduler RoundRobin() => new RoundRobinScheduler(new());

    public static IScheduler Bvt(BvtOptions? options = null) => new BvtScheduler(options ?? new());

    public static IScheduler Stride(StrideOptions? options = null) => new StrideScheduler(options ?? new());

    public static IScheduler Null() => new NullScheduler();

    public static IScheduler Eevdf(EevdfOptions? options = null) => new EevdfScheduler(options ?? new());

    public static IScheduler Credit(CreditOptions? options = null) => new CreditScheduler(options ?? new());

    public static IScheduler Rtds() => new RtdsScheduler();

    public static IScheduler Sedf() => new SedfScheduler();

    public static IScheduler Credit2(Credit2Options? options = null) => new Credit2Scheduler(options ?? new());

    /// <summary>A policy with its defaults, by the name configurations use.</summary>
    public static IScheduler Named(string name) => name switch
    {
        "bvt" => Bvt(),
        "round-robin" => RoundRobin(),
        "stride" => Stride(),
        "null" => Null(),
        "eevdf" => Eevdf(),
        "credit" => Credit(),
        "rtds" => Rtds(),
        "sedf" => Sedf(),
        "credit2" => Credit2(),
        _ => throw new ArgumentException($"no policy {name}", nameof(name)),
    };
}

/// <summary>A policy that passes everything to another until a test bends one answer.</summary>
internal sealed class BentScheduler(IScheduler inner) : IScheduler
{
    public Action<ISchedulerMachine>? OnAttach { get; set; }

    public Action<SchedulableVcpu>? OnAdd { get; set; }

    public Action<SchedulableVcpu>? OnWake { get; set; }

    public Func<SchedulingPoint, Decision, Decision>? OnSchedule { get; set; }

    public Func<SchedulableVcpu, Entitlement>? OnEntitlement { get; set; }

    public List<string> Calls { get; } = [];

    public void Attach(ISchedulerMachine machine)
    {
        OnAttach?.Invoke(machine);
        inner.Attach(machine);
    }

    public void Add(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Calls.Add($"add {vcpu.Id}");
        OnAdd?.Invoke(vcpu);
        inner.Add(vcpu, now);
    }

    public void Remove(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Calls.Add($"remove {vcpu.Id}");
        inner.Remove(vcpu, now);
    }

    public void Wake(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Calls.Add($"wake {vcpu.Id}");
        OnWake?.Invoke(vcpu);
        inner.Wake(vcpu, now);
    }

    public void Sleep(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Calls.Add($"sleep {vcpu.Id}");
        inner.Sleep(vcpu, now);
    }

    public void Yield(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Calls.Add($"yield {vcpu.Id}");
        inner.Yield(vcpu, now);
    }

    public Decision Schedule(in SchedulingPoint point)
    {
        Decision decision = inner.Schedule(point);
        if (OnSchedule is { } bend)
            decision = bend(point, decision);
        Calls.Add($"{point.Pcpu}: {point.Current?.Id.ToString() ?? "idle"}{(point.Current is not null && !point.CurrentRunnable ? " (asleep)" : "")} -> {decision.Vcpu?.Id.ToString() ?? "idle"}");
        return decision;
    }

    public void Adjust(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Calls.Add($"adjust {vcpu.Id}");
        inner.Adjust(vcpu, now);
    }

    public Entitlement EntitlementOf(SchedulableVcpu vcpu) => OnEntitlement?.Invoke(vcpu) ?? inner.EntitlementOf(vcpu);

    public string Describe(SchedulableVcpu vcpu) => inner.Describe(vcpu);
}
