using Tessera.Sdk;
using Tessera.Sdk.Scheduling;

namespace Tessera;

/// <summary>The calls of a scheduler that may go wrong.</summary>
internal enum SchedulerCall
{
    None,
    Schedule,
    Add,
    Remove,
    Wake,
    Sleep,
    Yield,
    Adjust,
}

/// <summary>A policy around a good one: tests change what it does before a call, or what it answers.</summary>
/// <param name="good">Who does the work.</param>
internal abstract class WrappedScheduler(IScheduler good) : IScheduler
{
    public virtual void Attach(ISchedulerMachine machine) => good.Attach(machine);

    public void Add(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Before(SchedulerCall.Add, vcpu);
        good.Add(vcpu, now);
    }

    public void Remove(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Before(SchedulerCall.Remove, vcpu);
        good.Remove(vcpu, now);
    }

    public virtual void Wake(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Before(SchedulerCall.Wake, vcpu);
        good.Wake(vcpu, now);
    }

    public void Sleep(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Before(SchedulerCall.Sleep, vcpu);
        good.Sleep(vcpu, now);
    }

    public void Yield(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Before(SchedulerCall.Yield, vcpu);
        good.Yield(vcpu, now);
    }

    public void Adjust(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Before(SchedulerCall.Adjust, vcpu);
        good.Adjust(vcpu, now);
    }

    public virtual Decision Schedule(in SchedulingPoint point)
    {
        Before(SchedulerCall.Schedule, point.Current);
        return good.Schedule(point);
    }

    public virtual Entitlement EntitlementOf(SchedulableVcpu vcpu) => good.EntitlementOf(vcpu);

    public string Describe(SchedulableVcpu vcpu) => good.Describe(vcpu);

    /// <summary>A call has come.</summary>
    /// <param name="call">Which one.</param>
    /// <param name="vcpu">Of which vCPU; null for a decision on an idle physical CPU.</param>
    protected abstract void Before(SchedulerCall call, SchedulableVcpu? vcpu);
}
