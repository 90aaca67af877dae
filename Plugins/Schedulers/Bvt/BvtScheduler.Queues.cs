using Tessera.Sdk;

namespace Tessera.Plugins.Schedulers.Bvt;

/// <content>Who runs where: picking, giving way, slices, placement, groups.</content>
public sealed partial class BvtScheduler
{
    /// <summary>A slice is planned in whole nanoseconds and charged in whole units: two roundings down, a nanosecond each at most.</summary>
    private const int RoundingSlack = 2;

    private BvtVcpu? LeastEffective(int pcpu)
    {
        BvtVcpu? least = null;
        foreach (AffinityGroup group in _groupsOf[pcpu])
        {
            if (group.Head is not { } head)
                continue;
            if (least is null || head.GoesBefore(least))
                least = head;
        }

        return least;
    }

    /// <summary>Whether the current vCPU is switched for the next.</summary>
    private bool GivesWay(BvtVcpu current, BvtVcpu next)
    {
        if (current.Yielded)
            return true;
        Int128 lead = current.Effective - next.Effective;
        if (!next.JustWoke)
            return VirtualTime.CpuTime(lead, Weight8(current)) + RoundingSlack >= _allowance.Value;

        // Looked at once without the allowance; from now on it is one of the others.
        next.JustWoke = false;
        return lead > 0;
    }

    /// <summary>Notes that a vCPU runs here from now on, and says for how long.</summary>
    private Nanoseconds Dispatch(BvtVcpu next, int pcpu, Nanoseconds now)
    {
        _running[pcpu] = next;
        _idle.Remove(pcpu);
        next.Pcpu = pcpu;
        next.JustWoke = false;
        next.StintStart = now;
        next.StintCharged = Nanoseconds.Zero;
        long longest = LongestSliceAllowances * _allowance.Value;
        long slice = longest;
        if (LeastEffective(pcpu) is { } second)
        {
            long untilEqual = VirtualTime.CpuTime(second.Effective - next.Effective, Weight8(next));
            slice = Math.Clamp(untilEqual + _allowance.Value, _mcu, longest);
        }

        // Whole charging units, so that the charge at its end is what was planned.
        long left = (slice + next.Remainder.Value) % _mcu;
        if (left != 0)
            slice += _mcu - left;
        if (next.Warped && next.WarpLimit > Nanoseconds.Zero)
            slice = Math.Min(slice, next.WarpLimit.Value - next.WarpedRan.Value);
        _until[pcpu] = now + new Nanoseconds(slice);
        return new(slice);
    }

    /// <summary>
    /// Finds a CPU for a queued vCPU: an idle one; or, when it just woke, the one whose vCPU is furthest beyond it; or the one whose
    /// vCPU will be first to have passed it by the allowance, at that moment.
    /// </summary>
    /// <param name="record">The queued vCPU.</param>
    /// <param name="now">The instant.</param>
    /// <param name="fresh">Whether it just woke.</param>
    /// <param name="except">A CPU that has just decided with it in mind, or -1.</param>
    private void Place(BvtVcpu record, Nanoseconds now, bool fresh, int except = -1)
    {
        int idle = _idle.FirstOf(record.Group.Bits, except);
        if (idle >= 0)
        {
            Request(idle);
            return;
        }

        Victim victim = new(record.Effective, fresh, now);
        if (record.Group is { Isolated: true, Running: { } index })
        {
            for (int weight = 0; weight < index.ClassCount; weight++)
            {
                if (index.FurthestAhead(weight) is { } ahead)
                    Consider(ref victim, ahead);
            }
        }
        else
        {
            foreach (int pcpu in record.Group.Pcpus)
            {
                if (!_requested[pcpu] && pcpu != except && _running[pcpu] is { } running)
                    Consider(ref victim, running);
            }
        }

        if (victim.Pcpu < 0)
            return;
        if (victim.Due <= now)
        {
            Request(victim.Pcpu);
        }
        else if (victim.Due < _until[victim.Pcpu])
        {
            _until[victim.Pcpu] = victim.Due;
            _machine.RequestRescheduleAt(new PcpuId(victim.Pcpu), victim.Due);
        }
    }

    private void Consider(ref Victim victim, BvtVcpu running)
    {
        Int128 lead = ActualNow(running, victim.Now) - (running.Warped ? running.WarpValue : 0) - victim.Effective;
        Nanoseconds due = victim.Now;
        if (!victim.Fresh || lead <= 0)
            due = Nanoseconds.Max(due, due + _allowance + new Nanoseconds(VirtualTime.CpuTime(-lead, Weight8(running))));
        if (victim.Pcpu < 0 || due < victim.Due || (due == victim.Due && lead > victim.Lead))
            (victim.Pcpu, victim.Due, victim.Lead) = (running.Pcpu, due, lead);
    }

    /// <summary>
    /// Asks one idle CPU for each set of affinity in which somebody still waits: of several that woke at once, each may have counted on the CPU that
    /// took another.
    /// </summary>
    private void AskIdle(int except)
    {
        if (_groups.Count == 1 || _idle.Count == 0)
            return;
        foreach (AffinityGroup group in _groups)
        {
            if (group.Head is null)
                continue;
            int idle = _idle.FirstOf(group.Bits, except);
            if (idle >= 0)
                Request(idle);
        }
    }

    private void Request(int pcpu)
    {
        _requested[pcpu] = true;
        _idle.Remove(pcpu);
        if (_running[pcpu] is { RunningClass: { } weight } running)
            weight.Ahead.Remove(running);
        _machine.RequestReschedule(new PcpuId(pcpu));
    }

    /// <summary>A vCPU is no longer runnable.</summary>
    private void Stop(BvtVcpu record)
    {
        record.Group.Dequeue(record);
        record.JustWoke = false;
        record.Yielded = false;
        record.RunningClass?.Remove(record);
        if (!record.Runnable)
            return;
        record.Runnable = false;
        record.Group.Slept(record);
        if (record.Group.RunnableCount == 0)
            _floor = Int128.Max(_floor, record.Actual);
    }

    private void JoinGroup(BvtVcpu record)
    {
        int[] pcpus = AffinityGroup.PcpusOf(record.Vcpu.Affinity, _machine.PcpuCount);
        AffinityGroup? group = _groups.Find(candidate => candidate.Pcpus.AsSpan().SequenceEqual(pcpus));
        if (group is null)
        {
            group = new(pcpus, _machine.PcpuCount);
            _groups.Add(group);
            foreach (int pcpu in group.Pcpus)
                _groupsOf[pcpu].Add(group);
            FindIsolated();
        }

        record.Group = group;
        group.Join(record);
    }

    private void LeaveGroup(BvtVcpu record)
    {
        AffinityGroup group = record.Group;
        group.Leave(record);
        if (group.Members > 0)
            return;
        _groups.Remove(group);
        foreach (int pcpu in group.Pcpus)
            _groupsOf[pcpu].Remove(group);
        FindIsolated();
    }

    private void FindIsolated()
    {
        foreach (AffinityGroup group in _groups)
            group.Isolated = !_groups.Exists(other => other != group && other.Overlaps(group));
    }

    /// <summary>Whom a queued vCPU had best preempt, and when.</summary>
    private struct Victim(Int128 effective, bool fresh, Nanoseconds now)
    {
        public readonly Int128 Effective = effective;
        public readonly bool Fresh = fresh;
        public readonly Nanoseconds Now = now;
        public int Pcpu = -1;
        public Nanoseconds Due = Nanoseconds.Never;
        public Int128 Lead = 0;
    }
}
