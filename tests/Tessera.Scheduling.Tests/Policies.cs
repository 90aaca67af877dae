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
internal sealed class BentScheduler(IScheduler good) : WrappedScheduler(good)
{
    public Action<ISchedulerMachine>? OnAttach { get; set; }

    public Action<SchedulableVcpu>? OnAdd { get; set; }

    public Action<SchedulableVcpu>? OnWake { get; set; }

    public Func<SchedulingPoint, Decision, Decision>? OnSchedule { get; set; }

    public Func<SchedulableVcpu, Entitlement>? OnEntitlement { get; set; }

    public List<string> Calls { get; } = [];

    public override void Attach(ISchedulerMachine machine)
    {
        OnAttach?.Invoke(machine);
        base.Attach(machine);
    }

    public override Decision Schedule(in SchedulingPoint point)
    {
        Decision decision = base.Schedule(point);
        if (OnSchedule is { } bend)
            decision = bend(point, decision);
        Calls.Add($"{point.Pcpu}: {point.Current?.Id.ToString() ?? "idle"}{(point.Current is not null && !point.CurrentRunnable ? " (asleep)" : "")} -> {decision.Vcpu?.Id.ToString() ?? "idle"}");
        return decision;
    }

    public override Entitlement EntitlementOf(SchedulableVcpu vcpu) => OnEntitlement?.Invoke(vcpu) ?? base.EntitlementOf(vcpu);

    protected override void Before(SchedulerCall call, SchedulableVcpu? vcpu)
    {
        if (call == SchedulerCall.Schedule)
            return;
        Calls.Add($"{call.ToString().ToLowerInvariant()} {vcpu!.Id}");
        if (call == SchedulerCall.Add)
            OnAdd?.Invoke(vcpu);
        else if (call == SchedulerCall.Wake)
            OnWake?.Invoke(vcpu);
    }
}
