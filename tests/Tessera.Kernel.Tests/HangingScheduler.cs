using Tessera.Plugins.Schedulers.RoundRobin;
using Tessera.Sdk.Scheduling;

namespace Tessera.Kernel.Tests;

/// <summary>Round robin that hangs once, in the call and for the domain it is told to, until it is let go.</summary>
internal sealed class HangingScheduler() : WrappedScheduler(new RoundRobinScheduler(new RoundRobinOptions()))
{
    private readonly ManualResetEventSlim _released = new();
    private readonly ManualResetEventSlim _entered = new();
    private volatile Thread? _stuck;
    private volatile Domain? _domain;
    private int _call;
    private volatile bool _goesOn;

    public void HangIn(SchedulerCall call, Domain? domain)
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

    protected override void Before(SchedulerCall call, SchedulableVcpu? vcpu)
    {
        if (Volatile.Read(ref _call) != (int)call || (_domain is { } domain && domain.Id != vcpu?.Id.Domain))
            return;
        _call = (int)SchedulerCall.None;
        _stuck = Thread.CurrentThread;
        _entered.Set();
        _released.Wait();
        if (!_goesOn)
            throw new OperationCanceledException("It was let go.");
    }
}
