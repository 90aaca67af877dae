using Tessera.Sdk;

namespace Tessera.Plugins.Schedulers.Bvt;

/// <content>Virtual time: charging, the SVT, warping.</content>
public sealed partial class BvtScheduler
{
    private static long Weight8(BvtVcpu record) => record.Group.ChargedWeight8(record);

    private static void StartWarp(BvtVcpu record)
    {
        record.Warped = true;
        record.WarpedRan = Nanoseconds.Zero;
    }

    /// <summary>Charges a running vCPU for its stint so far, less what was charged before.</summary>
    private void Charge(BvtVcpu record, Nanoseconds ran, Nanoseconds now)
    {
        Nanoseconds open = Nanoseconds.Max(ran - record.StintCharged, Nanoseconds.Zero);
        record.StintCharged += open;
        Nanoseconds due = record.Remainder + open;
        record.Remainder = new(due.Value % _mcu);
        record.Actual += VirtualTime.Advance(due.Value - record.Remainder.Value, Weight8(record));
        if (!record.Warped)
            return;
        record.WarpedRan += open;
        if (record.WarpLimit <= Nanoseconds.Zero || record.WarpedRan < record.WarpLimit)
            return;
        record.Warped = false;
        if (record.UnwarpTime <= Nanoseconds.Zero)
            return;
        Nanoseconds again = now + record.UnwarpTime;
        _rewarps.Add(record, again.Value);
        _machine.RequestRescheduleAt(new PcpuId(record.Pcpu), again);
    }

    /// <summary>A of a running vCPU as of now, to the nanosecond.</summary>
    private static Int128 ActualNow(BvtVcpu running, Nanoseconds now)
    {
        Nanoseconds open = Nanoseconds.Max(now - running.StintStart - running.StintCharged, Nanoseconds.Zero) + running.Remainder;
        return running.Actual + VirtualTime.Advance(open.Value, Weight8(running));
    }

    /// <summary>Warps those again whose unwarp time is over.</summary>
    private void Rewarp(Nanoseconds now)
    {
        while (_rewarps.Top is { } record && _rewarps.TopKey <= now.Value)
        {
            _rewarps.Remove(record);
            bool queued = record.Queued;
            record.Group.Dequeue(record);
            StartWarp(record);
            if (record.Pcpu >= 0)
                record.RunningClass?.Moved(record);
            if (!queued)
                continue;
            record.JustWoke = true;
            record.Group.Enqueue(record);
            Place(record, now, fresh: true);
        }
    }

    /// <summary>The scheduler virtual time for a vCPU of this group.</summary>
    private Int128 SvtFor(AffinityGroup group, Nanoseconds now)
    {
        Int128? svt = group.Isolated ? LeastActualIn(group, now) : GreatestLocalSvt(group, now);
        if (svt is not { } value)
            return _floor;
        _floor = Int128.Max(_floor, value);
        return value;
    }

    private Int128? LeastActualIn(AffinityGroup group, Nanoseconds now)
    {
        Int128? least = group.LeastQueuedActual;
        if (group.Running is { } index)
        {
            for (int weight = 0; weight < index.ClassCount; weight++)
            {
                if (index.FurthestBehind(weight) is { } behind)
                    least = Least(least, ActualNow(behind, now));
            }

            return least;
        }

        foreach (int pcpu in group.Pcpus)
        {
            if (_running[pcpu] is { Runnable: true } running && running.Group == group)
                least = Least(least, ActualNow(running, now));
        }

        return least;
    }

    /// <summary>Each CPU of the group has a local SVT, the least A of those that may run there; the greatest of them.</summary>
    private Int128? GreatestLocalSvt(AffinityGroup group, Nanoseconds now)
    {
        foreach (AffinityGroup other in _groups)
            other.LeastActual = other.LeastQueuedActual;
        foreach (BvtVcpu? running in _running)
        {
            if (running is { Runnable: true })
                running.Group.LeastActual = Least(running.Group.LeastActual, ActualNow(running, now));
        }

        Int128? greatest = null;
        foreach (int pcpu in group.Pcpus)
        {
            Int128? local = null;
            foreach (AffinityGroup other in _groupsOf[pcpu])
            {
                if (other.LeastActual is { } actual)
                    local = Least(local, actual);
            }

            if (local is { } value && (greatest is not { } best || value > best))
                greatest = value;
        }

        return greatest;
    }

    private static Int128 Least(Int128? left, Int128 right) => left is { } value && value < right ? value : right;

    /// <summary>Takes weight and warp parameters from the handle. The vCPU is in no queue.</summary>
    private void TakeOptions(BvtVcpu record)
    {
        BvtDomainOptions options = record.Vcpu.Domain.OptionsOr(NoWarp);
        bool wasOn = record.WarpOn;
        record.Weight = record.Vcpu.Domain.Weight;
        record.WarpOn = options.Warp && options.WarpValue > Nanoseconds.Zero;
        record.WarpValue = VirtualTime.FromNanoseconds(options.WarpValue.Value);
        record.WarpLimit = options.WarpLimit;
        record.UnwarpTime = options.UnwarpTime;
        if (!record.WarpOn)
        {
            record.Warped = false;
            _rewarps.Remove(record);
        }
        else if (!wasOn)
        {
            StartWarp(record);
        }
    }
}
