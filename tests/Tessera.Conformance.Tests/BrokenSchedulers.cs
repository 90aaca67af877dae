using Tessera.Sdk;
using Tessera.Sdk.Scheduling;

namespace Tessera.Conformance.Tests;

/// <summary>Leaves a vCPU that blocks in its queue.</summary>
internal sealed class RunsBlocked : HonestScheduler
{
    public override void Sleep(SchedulableVcpu vcpu, Nanoseconds now)
    {
    }
}

/// <summary>Leaves a vCPU that is gone in its queue.</summary>
internal sealed class RunsRemoved : HonestScheduler
{
    public override void Remove(SchedulableVcpu vcpu, Nanoseconds now)
    {
    }
}

/// <summary>Leaves the vCPU it chose in its queue, where another physical CPU finds it.</summary>
internal sealed class RunsTwice : HonestScheduler
{
    protected override void Enqueue(SchedulableVcpu vcpu, bool first)
    {
        if (!Queue.Contains(vcpu))
            base.Enqueue(vcpu, first);
    }

    protected override void Take(SchedulableVcpu vcpu)
    {
    }
}

/// <summary>Runs everybody everywhere.</summary>
internal sealed class IgnoresAffinity : HonestScheduler
{
    protected override bool MayRun(SchedulableVcpu vcpu, PcpuId pcpu) => true;
}

/// <summary>Rests at every fifth decision.</summary>
internal sealed class Rests : HonestScheduler
{
    private int _decisions;

    protected override SchedulableVcpu? Choose(in SchedulingPoint point)
    {
        if (++_decisions % 5 != 0)
            return base.Choose(point);
        Machine.RequestRescheduleAt(point.Pcpu, point.Now + Nanoseconds.FromMilliseconds(1));
        return null;
    }

    public override void Adjust(SchedulableVcpu vcpu, Nanoseconds now)
    {
    }
}

/// <summary>Queues a vCPU that wakes and tells no physical CPU.</summary>
internal sealed class WakesNobody : HonestScheduler
{
    protected override void AskForCpu(SchedulableVcpu vcpu)
    {
    }
}

/// <summary>Takes it for granted that a vCPU that leaves does not run.</summary>
internal sealed class ThrowsOnRemoveWhileRunning : HonestScheduler
{
    public override void Remove(SchedulableVcpu vcpu, Nanoseconds now)
    {
        for (int index = 0; index < Machine.PcpuCount; index++)
        {
            if (Machine.Running(new PcpuId(index)) is { PolicyData: null })
                throw new InvalidOperationException("a vCPU runs that I do not know");
        }

        if (!Queue.Contains(vcpu) && _ran == vcpu)
            throw new InvalidOperationException($"{vcpu.Id} is in no queue");
        base.Remove(vcpu, now);
    }

    private SchedulableVcpu? _ran;

    protected override void Take(SchedulableVcpu vcpu)
    {
        _ran = vcpu;
        base.Take(vcpu);
    }
}

/// <summary>Asks to be asked again at each decision, as long as anybody is queued.</summary>
internal sealed class NeverRests : HonestScheduler
{
    public override Decision Schedule(in SchedulingPoint point)
    {
        if (Queue.Count > 0)
            Machine.RequestReschedule(point.Pcpu);
        return base.Schedule(point);
    }
}

/// <summary>Forgets one of the others when a vCPU leaves.</summary>
internal sealed class ForgetsOnRemove : HonestScheduler
{
    public override void Remove(SchedulableVcpu vcpu, Nanoseconds now)
    {
        base.Remove(vcpu, now);
        if (Queue.Count > 0)
            Queue.RemoveAt(Queue.Count - 1);
    }
}

/// <summary>Takes a vCPU whose parameters change out of the queue, and forgets to put it back.</summary>
internal sealed class ForgetsOnAdjust : HonestScheduler
{
    public override void Adjust(SchedulableVcpu vcpu, Nanoseconds now) => Queue.Remove(vcpu);
}

/// <summary>Cannot bear that a weight changes while the vCPU runs.</summary>
internal sealed class ThrowsOnAdjustWhileRunning : HonestScheduler
{
    public override void Adjust(SchedulableVcpu vcpu, Nanoseconds now)
    {
        if (vcpu.State == RunState.Running)
            throw new InvalidOperationException("the queue is out of order");
        base.Adjust(vcpu, now);
    }
}

/// <summary>Keeps microseconds in 32 bits: 35 minutes.</summary>
internal sealed class OverflowsOnClockJump : HonestScheduler
{
    public override Decision Schedule(in SchedulingPoint point)
    {
        _ = checked((int)(point.Now.Value / 1000));
        return base.Schedule(point);
    }
}

/// <summary>Never comes back after a jump of the clock: it counts the periods one by one, and there are too many.</summary>
internal sealed class HangsOnClockJump : HonestScheduler
{
    private Nanoseconds _last;

    public override Decision Schedule(in SchedulingPoint point)
    {
        if (point.Now - _last > Nanoseconds.FromSeconds(3600))
            Thread.Sleep(Timeout.Infinite);
        _last = point.Now;
        return base.Schedule(point);
    }
}

/// <summary>Believes that nobody ever runs for longer than its slice.</summary>
internal sealed class ThrowsOnOverrun : HonestScheduler
{
    private readonly Dictionary<PcpuId, Nanoseconds> _until = [];

    public override Decision Schedule(in SchedulingPoint point)
    {
        if (point.Current is not null && _until.TryGetValue(point.Pcpu, out Nanoseconds until) && point.Now > until)
            throw new InvalidOperationException("the slice was over before");
        Decision decision = base.Schedule(point);
        _until[point.Pcpu] = point.Now + decision.Slice;
        return decision;
    }
}

/// <summary>Tosses a coin.</summary>
internal sealed class TossesCoins : HonestScheduler
{
    protected override Nanoseconds SliceOf(SchedulableVcpu? next, in SchedulingPoint point) => Nanoseconds.FromMicroseconds(4_000 + Random.Shared.Next(1_000));
}

/// <summary>The oldest domain first, always.</summary>
internal sealed class StarvesTheLast : HonestScheduler
{
    protected override SchedulableVcpu? Choose(in SchedulingPoint point)
    {
        PcpuId pcpu = point.Pcpu;
        return Queue.Where(vcpu => MayRun(vcpu, pcpu)).MinBy(static vcpu => vcpu.Id.Domain);
    }
}

/// <summary>Equal turns for all weights.</summary>
internal sealed class IgnoresWeights : HonestScheduler
{
    protected override int WeightOf(SchedulableVcpu vcpu) => 256;
}

/// <summary>Has an option for caps that does nothing.</summary>
internal sealed class IgnoresCaps : HonestScheduler
{
    protected override int CapOf(SchedulableVcpu vcpu) => 0;
}

/// <summary>Has options for reservations that do nothing.</summary>
internal sealed class IgnoresReservations : HonestScheduler
{
    protected override HonestOptions? ReservationOf(SchedulableVcpu vcpu) => null;
}

/// <summary>Keeps reservations, but in order of arrival.</summary>
internal sealed class IgnoresDeadlines : HonestScheduler
{
    protected override Nanoseconds DeadlineOf(SchedulableVcpu vcpu) => Nanoseconds.Zero;
}

/// <summary>Lets a vCPU that wakes wait until everybody else had two slices.</summary>
internal sealed class WakesLate : HonestScheduler
{
    public override void Wake(SchedulableVcpu vcpu, Nanoseconds now)
    {
        base.Wake(vcpu, now);
        Of(vcpu).Served += (Int128)Nanoseconds.FromMilliseconds(10).Value * 1024;
    }
}

/// <summary>Sorts a copy of its queue for each decision.</summary>
internal sealed class CopiesItsQueue : HonestScheduler
{
    protected override SchedulableVcpu? Choose(in SchedulingPoint point)
    {
        SchedulableVcpu? first = base.Choose(point);
        return Queue.ToList().Find(vcpu => vcpu == first);
    }
}
