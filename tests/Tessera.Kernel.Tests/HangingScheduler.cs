using Tessera.Plugins.Schedulers.RoundRobin;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;

namespace Tessera.Kernel.Tests;

/// <summary>The calls that can hang.</summary>
public enum HangingCall
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

/// <summary>Round robin that hangs once, in the call and for the domain it is told to, until it is let go.</summary>
internal sealed class HangingScheduler : IScheduler
{
    private readonly ManualResetEventSlim _released = new();
    private readonly ManualResetEventSlim _entered = new();
    private volatile Thread? _stuck;
    private readonly RoundRobinScheduler _good = new(new RoundRobinOptions());
    private volatile Domain? _domain;
    private int _call;
    private volatile bool _goesOn;

    public void HangIn(HangingCall call, Domain? domain)
    {
        _domain = domain;
        Volatile.Write(ref _call, (int)call);
    }

    /// <summary>Waits until a call hangs.</summary>
    public void WaitForHang() => Assert.That(_entered.Wait(Hang.Limit), Is.True, "nothing has called it");

    /// <summary>Ends a hang that was given up, and waits for the end of its thread, which goes through the machine's code on its way.</summary>
    public void End()
    {
        Assert.That(_stuck, Is.Not.Null, "nothing hung");
        LetGo();
        Assert.That(_stuck.Join(Hang.Limit), Is.True, "the thread that was given up does not end");
    }

    /// <summary>Ends the hang.</summary>
    /// <param name="goOn">Whether the call does its work then: not where another policy is in charge, whose data it would change.</param>
    public void LetGo(bool goOn = false)
    {
        _goesOn = goOn;
        _released.Set();
    }

    public void Attach(ISchedulerMachine machine) => _good.Attach(machine);

    public void Add(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Perhaps(HangingCall.Add, vcpu);
        _good.Add(vcpu, now);
    }

    public void Remove(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Perhaps(HangingCall.Remove, vcpu);
        _good.Remove(vcpu, now);
    }

    public void Wake(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Perhaps(HangingCall.Wake, vcpu);
        _good.Wake(vcpu, now);
    }

    public void Sleep(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Perhaps(HangingCall.Sleep, vcpu);
        _good.Sleep(vcpu, now);
    }

    public void Yield(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Perhaps(HangingCall.Yield, vcpu);
        _good.Yield(vcpu, now);
    }

    public void Adjust(SchedulableVcpu vcpu, Nanoseconds now)
    {
        Perhaps(HangingCall.Adjust, vcpu);
        _good.Adjust(vcpu, now);
    }

    public Decision Schedule(in SchedulingPoint point)
    {
        Perhaps(HangingCall.Schedule, point.Current);
        return _good.Schedule(point);
    }

    public string Describe(SchedulableVcpu vcpu) => _good.Describe(vcpu);

    private void Perhaps(HangingCall call, SchedulableVcpu? vcpu)
    {
        if (Volatile.Read(ref _call) != (int)call || (_domain is { } domain && domain.Id != vcpu?.Id.Domain))
            return;
        _call = (int)HangingCall.None;
        _stuck = Thread.CurrentThread;
        _entered.Set();
        _released.Wait();
        if (!_goesOn)
            throw new OperationCanceledException("It was let go.");
    }
}
