using Tessera.Sdk.SchedulerParts;
using Tessera.Sdk;

namespace Tessera.Plugins.Schedulers.Rtds;

/// <summary>The servers of one affinity and one period that wait for a physical CPU.</summary>
/// <param name="pcpus">The physical CPUs they may run on, ascending.</param>
/// <param name="period">Their period, ns.</param>
internal sealed class ServerGroup(int[] pcpus, long period)
{
    public int[] Pcpus { get; } = pcpus;

    public long Period { get; } = period;

    public int Members { get; set; }

    /// <summary>Those with budget.</summary>
    public PhaseTree WithBudget { get; } = new();

    /// <summary>Those in extra time, by level and deadline.</summary>
    public VcpuHeap<RtdsVcpu> InExtraTime { get; } = new(RtdsVcpu.InExtraTime);
}

/// <summary>
/// The queues of all physical CPUs. A group for each affinity and period; a physical CPU looks at the first of the groups that include it. A server
/// whose period ends while it waits with budget is not touched: its new deadline and full budget are found when it is looked at.
/// </summary>
/// <param name="pcpuCount">The machine's physical CPUs.</param>
internal sealed class ServerQueues(int pcpuCount)
{
    private readonly List<ServerGroup> _groups = [];
    private readonly List<ServerGroup>[] _groupsOf = [.. Enumerable.Range(0, pcpuCount).Select(static _ => new List<ServerGroup>())];

    /// <summary>How many wait.</summary>
    public int Count { get; private set; }

    /// <summary>Finds or makes the group of its affinity and of the period it is in. It is in no group or queue.</summary>
    public void Join(RtdsVcpu record)
    {
        int[] pcpus = [.. Enumerable.Range(0, pcpuCount).Where(index => record.Vcpu.Affinity.Contains(new PcpuId(index)))];
        Join(record, pcpus);
    }

    /// <summary>It is in no queue.</summary>
    public void Leave(RtdsVcpu record)
    {
        ServerGroup group = record.Servers;
        if (--group.Members > 0)
            return;
        _groups.Remove(group);
        foreach (int pcpu in group.Pcpus)
            _groupsOf[pcpu].Remove(group);
    }

    /// <summary>Its period has another length from now on. It is in no queue.</summary>
    public void ChangePeriod(RtdsVcpu record)
    {
        Leave(record);
        Join(record, record.Servers.Pcpus);
    }

    /// <summary>Puts a server into the queue of its level.</summary>
    public void Enqueue(RtdsVcpu record)
    {
        Count++;
        if (record.Level == 0)
            record.Servers.WithBudget.Add(record, record.Deadline.Value % record.Servers.Period);
        else
            record.Servers.InExtraTime.Add(record, ((Int128)record.Level << 64) | (ulong)record.Deadline.Value);
    }

    /// <summary>Does nothing when it is in no queue.</summary>
    public void Dequeue(RtdsVcpu record)
    {
        if (!record.Queued)
            return;
        Count--;
        if (record.Node.Queued)
            record.Servers.WithBudget.Remove(record);
        else
            record.Servers.InExtraTime.Remove(record);
    }

    /// <summary>The first that may run on a physical CPU, with the deadline and the budget it has at this instant; or null.</summary>
    public RtdsVcpu? Head(int pcpu, Nanoseconds now)
    {
        RtdsVcpu? head = null;
        foreach (ServerGroup group in _groupsOf[pcpu])
        {
            if (group.WithBudget.FirstAfter(now.Value % group.Period) is not { } first)
                continue;
            first.Refresh(now);
            if (head is null || first.Deadline < head.Deadline || (first.Deadline == head.Deadline && first.LastRan < head.LastRan))
                head = first;
        }

        if (head is not null)
            return head;
        Int128 least = Int128.MaxValue;
        foreach (ServerGroup group in _groupsOf[pcpu])
        {
            if (group.InExtraTime.Top is not { } first)
                continue;
            Int128 key = group.InExtraTime.TopKey;
            if (head is null || key < least || (key == least && first.LastRan < head.LastRan))
                (head, least) = (first, key);
        }

        return head;
    }

    private void Join(RtdsVcpu record, int[] pcpus)
    {
        record.PeriodInForce = record.Period;
        ServerGroup? group = _groups.Find(candidate => candidate.Period == record.Period && candidate.Pcpus.AsSpan().SequenceEqual(pcpus));
        if (group is null)
        {
            group = new(pcpus, record.Period);
            _groups.Add(group);
            foreach (int pcpu in pcpus)
                _groupsOf[pcpu].Add(group);
        }

        record.Servers = group;
        group.Members++;
        group.InExtraTime.Reserve(group.Members);
    }
}
